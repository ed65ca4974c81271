/* prserv: finds the command and runs it. */
#include "cli/cli.h"
#include "version.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SERVER "127.0.0.1:8585"

static int print_help(void)
{
    (void)printf("Usage: prserv [--server ADDRESS] [--json] COMMAND [ARGUMENT]...\n"
                 "Asks a PR server for revisions, moves them and looks after them.\n\n");
    for (int i = 0; cli_commands[i]; i++)
        (void)printf("  %-8s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    (void)printf(
        "\n"
        "      --server ADDRESS  HOST:PORT, [IPv6]:PORT or unix:///PATH [$PRSERV_HOST, or\n"
        "                        " DEFAULT_SERVER "]\n"
        "      --json            print one JSON value, for scripts\n"
        "      --version         print the version\n"
        "  -h, --help            print this; after a command: what it does\n"
        "\n"
        "Exit status: 0 done, 1 the server said no or nothing was found, 2 the command\n"
        "line or a file that it names can't be used, 3 no connection.\n");
    return CLI_DONE;
}

static const struct cli_command *find_command(const char *name)
{
    for (int i = 0; cli_commands[i]; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    }
    return NULL;
}

/* Options before the command. Returns where the command stands, or -1 with *status. */
static int read_options(struct cli *cli, int argc, char **argv, int *status)
{
    int at = 1;

    *status = CLI_DONE;
    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--") == 0)
            return at + 1;
        if (strcmp(argv[at], "--json") == 0) {
            cli->json = true;
        } else if (strncmp(argv[at], "--server=", strlen("--server=")) == 0) {
            cli->server = argv[at] + strlen("--server=");
        } else if (strcmp(argv[at], "--server") == 0 && at + 1 < argc) {
            cli->server = argv[++at];
        } else if (strcmp(argv[at], "--version") == 0) {
            (void)printf("prserv %s\n", PRSERVD_VERSION);
            return -1;
        } else if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            *status = print_help();
            return -1;
        } else {
            *status = cli_misused(cli, "unknown option %s, or one without its value", argv[at]);
            return -1;
        }
    }
    return at;
}

/* Where standard input, output or error is closed, what is opened next would take its
 * place: a connection, to which output then went. */
static void fill_standard_files(void)
{
    while (true) {
        int descriptor = open("/dev/null", O_RDONLY);

        if (descriptor < 0 || descriptor > STDERR_FILENO) {
            if (descriptor >= 0)
                (void)close(descriptor);
            return;
        }
    }
}

static int run(struct cli *cli, int argc, char **argv)
{
    int status;
    int at = read_options(cli, argc, argv, &status);

    if (at < 0)
        return status;
    if (at == argc)
        return cli_misused(cli, "no command was given");
    cli->command = find_command(argv[at]);
    if (!cli->command)
        return cli_misused(cli, "there is no command '%s'", argv[at]);
    return cli->command->run(cli, argc - at, argv + at);
}

int main(int argc, char **argv)
{
    const char *host = getenv("PRSERV_HOST");
    struct cli cli = {.server = host && host[0] ? host : DEFAULT_SERVER};
    int status;

    fill_standard_files();
    status = run(&cli, argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("prserv: standard output");
        return status == CLI_DONE ? CLI_NO : status;
    }
    return status;
}

/* prserv: asks a PR server from the shell. */
#include "client/prserv.h"
#include "version.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_SERVER "127.0.0.1:8585"
#define TIMEOUT_MS 30000

enum { EXIT_DONE, EXIT_NO, EXIT_USAGE, EXIT_NO_CONNECTION };

static const char help[] =
    "Usage: prserv [--server HOST:PORT] COMMAND [ARGUMENT]...\n"
    "Asks a PR server.\n"
    "\n"
    "  ping                                      does it answer, and how fast\n"
    "  get VERSION PKGARCH CHECKSUM [--history]  the revision of this content; a new one is\n"
    "                                            stored\n"
    "  test VERSION PKGARCH [CHECKSUM] [--history]\n"
    "                                            what is known; nothing is stored\n"
    "  max VERSION PKGARCH                       the greatest revision of the package\n"
    "\n"
    "      --server ADDRESS  HOST:PORT, [IPv6]:PORT or unix:///PATH [$PRSERV_HOST, or\n"
    "                        " DEFAULT_SERVER "]\n"
    "      --history         a checksum that is known has its first revision, not its latest\n"
    "      --version         print the version\n"
    "  -h, --help            print this\n"
    "\n"
    "Exit status: 0 done, 1 the server said no or nothing was found, 2 the command line can't\n"
    "be used, 3 no connection.\n";

static int failed(const struct prserv_error *error)
{
    (void)fprintf(stderr, "prserv: %s\n", error->text);
    if (error->code == PRSERV_ERROR_ARGUMENT)
        return EXIT_USAGE;
    return error->code == PRSERV_ERROR_REFUSED ? EXIT_NO : EXIT_NO_CONNECTION;
}

static int print_revision(char *revision)
{
    if (!revision) {
        (void)fprintf(stderr, "prserv: nothing is known of it\n");
        return EXIT_NO;
    }
    (void)printf("%s\n", revision);
    free(revision);
    return EXIT_DONE;
}

static double now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* ---- the commands: what follows the name, and --history ---- */

static int ping(struct prserv *server, const struct prserv_text *words, bool history)
{
    struct prserv_error error;
    double before = now_us();

    (void)words;
    (void)history;
    if (prserv_ping(server, &error) != 0)
        return failed(&error);
    (void)printf("alive, %.0f us\n", now_us() - before);
    return EXIT_DONE;
}

static int get(struct prserv *server, const struct prserv_text *words, bool history)
{
    struct prserv_error error;
    char *revision;

    if (prserv_get_pr(server, words[0], words[1], words[2], history, &revision, &error) != 0)
        return failed(&error);
    return print_revision(revision);
}

static int test(struct prserv *server, const struct prserv_text *words, bool history)
{
    struct prserv_error error;
    char *revision;

    if (prserv_test_pr(server, words[0], words[1], words[2], history, &revision, &error) != 0)
        return failed(&error);
    return print_revision(revision);
}

static int test_package(struct prserv *server, const struct prserv_text *words, bool history)
{
    struct prserv_error error;
    bool known;

    (void)history;
    if (prserv_test_package(server, words[0], words[1], &known, &error) != 0)
        return failed(&error);
    (void)printf("%s\n", known ? "known" : "unknown");
    return known ? EXIT_DONE : EXIT_NO;
}

static int max(struct prserv *server, const struct prserv_text *words, bool history)
{
    struct prserv_error error;
    char *revision;

    (void)history;
    if (prserv_max_package_pr(server, words[0], words[1], &revision, &error) != 0)
        return failed(&error);
    return print_revision(revision);
}

static const struct command {
    const char *name;
    int words;
    int (*run)(struct prserv *server, const struct prserv_text *words, bool history);
} commands[] = {
    {"ping", 0, ping},
    {"get", 3, get},
    {"test", 3, test},
    {"test", 2, test_package},
    {"max", 2, max},
};

static const struct command *find_command(const char *name, int words)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(name, commands[i].name) == 0 && words == commands[i].words)
            return &commands[i];
    }
    return NULL;
}

static int run(const struct command *command, const char *address, char **words, bool history)
{
    struct prserv_text texts[3];
    struct prserv_error error;
    struct prserv *server;
    int status;

    for (int i = 0; i < command->words; i++)
        texts[i] = prserv_text(words[i]);
    if (prserv_connect(&server, address, TIMEOUT_MS, &error) != 0)
        return failed(&error);
    status = command->run(server, texts, history);
    prserv_close(server);
    return status;
}

static int misused(const char *what)
{
    (void)fprintf(stderr, "prserv: %s; see prserv --help\n", what);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"server", required_argument, NULL, 's'},
        {"history", no_argument, NULL, 'H'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *server = getenv("PRSERV_HOST");
    const struct command *command;
    bool history = false;
    int found;

    opterr = 0;
    while ((found = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (found == 's') {
            server = optarg;
        } else if (found == 'H') {
            history = true;
        } else if (found == 'V') {
            (void)printf("prserv %s\n", PRSERVD_VERSION);
            return EXIT_DONE;
        } else if (found == 'h') {
            (void)fputs(help, stdout);
            return EXIT_DONE;
        } else {
            return misused("unknown option, or an option without its value");
        }
    }
    if (optind == argc)
        return misused("no command was given");
    command = find_command(argv[optind], argc - optind - 1);
    if (!command)
        return misused("unknown command, or the wrong number of arguments");
    return run(command, server && server[0] ? server : DEFAULT_SERVER, argv + optind + 1, history);
}

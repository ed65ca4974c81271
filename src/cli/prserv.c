/* prserv: asks a PR server from the shell. */
#include "client/client.h"
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

static int complain(const struct error *error, int status)
{
    (void)fprintf(stderr, "prserv: %s\n", error->text);
    return status;
}

static int failed(const struct error *error, int result)
{
    return complain(error, result == ERROR_INPUT ? EXIT_NO : EXIT_NO_CONNECTION);
}

static double now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int ping(struct client *client, const struct request *request)
{
    struct error error;
    bool alive = false;
    double before = now_us();
    int result = client_ask_flag(client, request, &alive, &error);

    if (result != 0)
        return failed(&error, result);
    (void)printf("alive, %.0f us\n", now_us() - before);
    return alive ? EXIT_DONE : EXIT_NO;
}

static int print_revision(struct client *client, const struct request *request)
{
    struct error error;
    char *revision;
    int result = client_ask_revision(client, request, &revision, &error);

    if (result != 0)
        return failed(&error, result);
    if (!revision) {
        (void)fprintf(stderr, "prserv: nothing is known of it\n");
        return EXIT_NO;
    }
    (void)printf("%s\n", revision);
    free(revision);
    return EXIT_DONE;
}

static int print_known(struct client *client, const struct request *request)
{
    struct error error;
    bool known = false;
    int result = client_ask_flag(client, request, &known, &error);

    if (result != 0)
        return failed(&error, result);
    (void)printf("%s\n", known ? "known" : "unknown");
    return known ? EXIT_DONE : EXIT_NO;
}

static const struct command {
    const char *name;
    int least; /* arguments */
    int most;
    enum request_kind kind;
    int (*run)(struct client *client, const struct request *request);
} commands[] = {
    {"ping", 0, 0, REQUEST_PING, ping},
    {"get", 3, 3, REQUEST_GET_PR, print_revision},
    {"test", 3, 3, REQUEST_TEST_PR, print_revision},
    {"test", 2, 2, REQUEST_TEST_PACKAGE, print_known},
    {"max", 2, 2, REQUEST_MAX_PACKAGE_PR, print_revision},
};

static const struct command *find_command(const char *name, int arguments)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(name, commands[i].name) == 0 && arguments >= commands[i].least &&
            arguments <= commands[i].most)
            return &commands[i];
    }
    return NULL;
}

static int run(const struct command *command, const char *server, char **arguments, bool history)
{
    struct request request = {.kind = command->kind, .history = history};
    struct text *const places[] = {&request.version, &request.pkgarch, &request.checksum};
    struct address address;
    struct client *client;
    struct error error;
    int status;

    for (int i = 0; i < command->most; i++)
        *places[i] = text_of(arguments[i]);
    if (address_parse(&address, server, &error) != 0)
        return complain(&error, EXIT_USAGE);
    if (client_open(&client, &address, TIMEOUT_MS, &error) != 0)
        return complain(&error, EXIT_NO_CONNECTION);
    status = command->run(client, &request);
    client_close(client);
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

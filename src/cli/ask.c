/* SPDX-License-Identifier: MIT */
/* ping, get, test, max: one request, one answer. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/connect.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* Prints a JSON value and releases it. */
static int ask_print_json(json_t *value)
{
    int result = value ? json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT) : -1;

    json_decref(value);
    (void)putchar('\n');
    return result == 0 ? CLI_OK : CLI_FAILED;
}

/* ---- ping ---- */

/* Asks for a package that nobody has: the server has to read from its database to answer. */
static int ask_check_database(struct prserv *server, struct prserv_error *error)
{
    char *revision = NULL;
    const int result =
        prserv_max_package_pr(server, prserv_text(""), prserv_text(""), &revision, error);

    free(revision);
    return result;
}

static int ask_print_ping(const struct cli *cli, bool has_database, uint64_t round_trip_us)
{
    json_t *answer;

    if (!cli->json) {
        (void)printf("alive%s, %" PRIu64 " us\n", has_database ? ", and so is its database" : "",
            round_trip_us);
        return CLI_OK;
    }
    answer = json_pack("{s:b, s:I}", "alive", 1, "round_trip_us", (json_int_t)round_trip_us);
    if (has_database && json_object_set_new(answer, "database", json_true()) != 0) {
        json_decref(answer);
        answer = NULL;
    }
    return ask_print_json(answer);
}

static int ask_run_ping(struct cli *cli, int argc, char **argv)
{
    bool asks_database = false;
    const struct cli_option options[] = {{"database", &asks_database, NULL}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {.options = options, .max_arguments = 0};
    struct cli_arguments arguments;
    struct prserv_error error;
    struct prserv *server;
    uint64_t start_us;
    uint64_t round_trip_us;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    status = cli_connect(cli, &server);
    if (status != CLI_OK)
        return status;
    start_us = clock_us();
    if ((asks_database ? ask_check_database(server, &error) : prserv_ping(server, &error)) != 0)
        status = cli_report_error(&error);
    round_trip_us = clock_us() - start_us;
    prserv_close(server);
    return status == CLI_OK ? ask_print_ping(cli, asks_database, round_trip_us) : status;
}

/* ---- get, test, max ---- */

/* A request about a package or a checksum, from the command line to its answer. */
struct ask {
    struct prserv *server;
    struct prserv_text version;
    struct prserv_text pkgarch;
    struct prserv_text checksum; /* bytes NULL: not given */
    bool history;
    char *revision; /* the answer; NULL: not found */
    struct prserv_error error;
};

/* Reads the arguments of a request and connects. Returns an enum cli_status; ask->server is NULL
 * if the command has to end with it. */
static int ask_prepare(
    struct ask *ask, struct cli *cli, int argc, char **argv, const struct cli_syntax *syntax)
{
    struct cli_arguments arguments;

    if (!cli_parse(cli, argc, argv, syntax, &arguments))
        return arguments.status;
    ask->version = prserv_text(arguments.items[0]);
    ask->pkgarch = prserv_text(arguments.items[1]);
    if (arguments.n > 2)
        ask->checksum = prserv_text(arguments.items[2]);
    else if (ask->history)
        return cli_usage_error(cli, "--history needs a CHECKSUM");
    return cli_connect(cli, &ask->server);
}

/* Prints the answer to a request for a revision and closes the connection. */
static int ask_finish(struct ask *ask, const struct cli *cli, int result)
{
    int status = ask->revision ? CLI_OK : CLI_FAILED;

    prserv_close(ask->server);
    if (result != 0)
        return cli_report_error(&ask->error);
    if (cli->json)
        (void)ask_print_json(json_pack("{s:s?}", "value", ask->revision));
    else if (ask->revision)
        (void)printf("%s\n", ask->revision);
    else
        (void)fprintf(stderr, "prserv: not found\n");
    free(ask->revision);
    return status;
}

static int ask_print_known(const struct cli *cli, bool known)
{
    if (cli->json)
        (void)ask_print_json(json_pack("{s:b}", "value", known));
    else
        (void)printf("%s\n", known ? "known" : "unknown");
    return known ? CLI_OK : CLI_FAILED;
}

/* Reads annotations, "NAME=VALUE", and sends them from now on. Returns an enum cli_status. */
static int ask_annotate(struct ask *ask, const struct cli *cli, const char *annotation)
{
    const char *equals = strchr(annotation, '=');
    char name[32];

    if (!equals || equals == annotation || (size_t)(equals - annotation) >= sizeof name)
        return cli_usage_error(cli, "--annotate takes NAME=VALUE, such as build-name=nightly-7");
    (void)snprintf(name, sizeof name, "%.*s", (int)(equals - annotation), annotation);
    if (prserv_annotate(ask->server, name, equals + 1, &ask->error) == 0)
        return CLI_OK;
    return cli_report_error(&ask->error);
}

static int ask_run_get(struct cli *cli, int argc, char **argv)
{
    struct ask ask = {.server = NULL};
    const char *annotations = NULL;
    const struct cli_option options[] = {
        {"history", &ask.history, NULL}, {"annotate", NULL, &annotations}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {.options = options, .min_arguments = 3, .max_arguments = 3};
    int status = ask_prepare(&ask, cli, argc, argv, &syntax);

    if (ask.server && annotations)
        status = ask_annotate(&ask, cli, annotations);
    if (status != CLI_OK)
        prserv_close(ask.server);
    if (!ask.server || status != CLI_OK)
        return status;
    return ask_finish(&ask, cli,
        prserv_get_pr(ask.server, ask.version, ask.pkgarch, ask.checksum, ask.history,
            &ask.revision, &ask.error));
}

static int ask_run_test(struct cli *cli, int argc, char **argv)
{
    struct ask ask = {.server = NULL};
    const struct cli_option options[] = {{"history", &ask.history, NULL}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {.options = options, .min_arguments = 2, .max_arguments = 3};
    int status = ask_prepare(&ask, cli, argc, argv, &syntax);
    bool known = false;
    int result;

    if (!ask.server)
        return status;
    if (ask.checksum.bytes)
        return ask_finish(&ask, cli,
            prserv_test_pr(ask.server, ask.version, ask.pkgarch, ask.checksum, ask.history,
                &ask.revision, &ask.error));
    result = prserv_test_package(ask.server, ask.version, ask.pkgarch, &known, &ask.error);
    prserv_close(ask.server);
    return result == 0 ? ask_print_known(cli, known) : cli_report_error(&ask.error);
}

static int ask_run_max(struct cli *cli, int argc, char **argv)
{
    const struct cli_syntax syntax = {.min_arguments = 2, .max_arguments = 2};
    struct ask ask = {.server = NULL};
    int status = ask_prepare(&ask, cli, argc, argv, &syntax);

    if (!ask.server)
        return status;
    return ask_finish(&ask, cli,
        prserv_max_package_pr(ask.server, ask.version, ask.pkgarch, &ask.revision, &ask.error));
}

static const char history_help[] =
    "      --history   for a known checksum: its first revision instead of its latest\n";

static const char get_help[] =
    "      --history   for a known checksum: its first revision instead of its latest\n"
    "      --annotate NAME=VALUE  for the server's audit log: build-host, build-name, machine,\n"
    "                             distro or layers\n";

const struct cli_command command_ping = {
    .name = "ping",
    .arguments = "[--database]",
    .summary = "check that the server answers, and how fast",
    .help = "      --database   check that it can read from its database, too\n",
    .timeout_ms = CLI_CHECK_TIMEOUT_MS,
    .run = ask_run_ping,
};

const struct cli_command command_get = {
    .name = "get",
    .arguments = "VERSION PKGARCH CHECKSUM [--history] [--annotate NAME=VALUE]",
    .summary = "print the revision for a checksum; store a new one if needed",
    .help = get_help,
    .run = ask_run_get,
};

const struct cli_command command_test = {
    .name = "test",
    .arguments = "VERSION PKGARCH [CHECKSUM] [--history]",
    .summary = "look up a package or a checksum without storing anything",
    .help = history_help,
    .run = ask_run_test,
};

const struct cli_command command_max = {
    .name = "max",
    .arguments = "VERSION PKGARCH",
    .summary = "print the greatest revision of a package",
    .run = ask_run_max,
};

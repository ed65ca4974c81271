/* ping, get, test, max: one question, one answer. */
#include "base/clock.h"
#include "cli/commands.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const struct cli_option no_options[] = {{NULL, NULL, NULL}};

/* Prints one JSON value, and takes it over. */
static int print_json(json_t *value)
{
    int result = value ? json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT) : -1;

    json_decref(value);
    (void)putchar('\n');
    return result == 0 ? CLI_DONE : CLI_NO;
}

/* ---- ping ---- */

static int run_ping(struct cli *cli, int argc, char **argv)
{
    struct prserv_error error;
    struct prserv *server;
    uint64_t began_us;
    uint64_t took_us;
    char **words;
    int n_words;
    int status;

    if (!cli_parse(cli, argc, argv, no_options, 0, 0, &words, &n_words, &status))
        return status;
    status = cli_connect(cli, &server);
    if (status != CLI_DONE)
        return status;
    began_us = clock_us();
    if (prserv_ping(server, &error) != 0)
        status = cli_failed(&error);
    took_us = clock_us() - began_us;
    prserv_close(server);
    if (status != CLI_DONE)
        return status;
    if (cli->json)
        return print_json(
            json_pack("{s:b, s:I}", "alive", 1, "round_trip_us", (json_int_t)took_us));
    (void)printf("alive, %" PRIu64 " us\n", took_us);
    return CLI_DONE;
}

/* ---- get, test, max ---- */

/* Takes the revision over. */
static int print_revision(const struct cli *cli, char *revision)
{
    int status = revision ? CLI_DONE : CLI_NO;

    if (cli->json)
        (void)print_json(json_pack("{s:s?}", "value", revision));
    else if (revision)
        (void)printf("%s\n", revision);
    else
        (void)fprintf(stderr, "prserv: nothing is known of it\n");
    free(revision);
    return status;
}

static int print_known(const struct cli *cli, bool known)
{
    if (cli->json)
        (void)print_json(json_pack("{s:b}", "value", known));
    else
        (void)printf("%s\n", known ? "known" : "unknown");
    return known ? CLI_DONE : CLI_NO;
}

/* Reads the words of a question and connects. */
static int prepare(struct cli *cli, int argc, char **argv, int least, int most, bool *history,
    struct prserv_text *texts, int *n_words, struct prserv **server)
{
    const struct cli_option options[] = {{"history", history, NULL}, {NULL, NULL, NULL}};
    char **words;
    int status;

    *server = NULL;
    if (!cli_parse(
            cli, argc, argv, history ? options : no_options, least, most, &words, n_words, &status))
        return status;
    for (int i = 0; i < *n_words; i++)
        texts[i] = prserv_text(words[i]);
    return cli_connect(cli, server);
}

/* Ends a question that was answered with a revision, or not at all. */
static int finish(const struct cli *cli, struct prserv *server, int result, char *revision,
    const struct prserv_error *error)
{
    prserv_close(server);
    return result == 0 ? print_revision(cli, revision) : cli_failed(error);
}

static int run_get(struct cli *cli, int argc, char **argv)
{
    struct prserv_text texts[3] = {{0}};
    struct prserv_error error;
    struct prserv *server;
    char *revision = NULL;
    bool history = false;
    int n_words;
    int status = prepare(cli, argc, argv, 3, 3, &history, texts, &n_words, &server);
    int result;

    if (!server)
        return status;
    result = prserv_get_pr(server, texts[0], texts[1], texts[2], history, &revision, &error);
    return finish(cli, server, result, revision, &error);
}

static int run_test(struct cli *cli, int argc, char **argv)
{
    struct prserv_text texts[3] = {{0}};
    struct prserv_error error;
    struct prserv *server;
    char *revision = NULL;
    bool history = false;
    bool known = false;
    int n_words;
    int status = prepare(cli, argc, argv, 2, 3, &history, texts, &n_words, &server);
    int result;

    if (!server)
        return status;
    if (n_words == 3) {
        result = prserv_test_pr(server, texts[0], texts[1], texts[2], history, &revision, &error);
        return finish(cli, server, result, revision, &error);
    }
    if (history) {
        prserv_close(server);
        return cli_misused(cli, "--history is for a CHECKSUM");
    }
    result = prserv_test_package(server, texts[0], texts[1], &known, &error);
    prserv_close(server);
    return result == 0 ? print_known(cli, known) : cli_failed(&error);
}

static int run_max(struct cli *cli, int argc, char **argv)
{
    struct prserv_text texts[2] = {{0}};
    struct prserv_error error;
    struct prserv *server;
    char *revision = NULL;
    int n_words;
    int status = prepare(cli, argc, argv, 2, 2, NULL, texts, &n_words, &server);
    int result;

    if (!server)
        return status;
    result = prserv_max_package_pr(server, texts[0], texts[1], &revision, &error);
    return finish(cli, server, result, revision, &error);
}

static const char history_help[] =
    "      --history   a checksum that is known has its first revision, not its latest\n";

const struct cli_command command_ping = {
    .name = "ping",
    .arguments = "",
    .summary = "does the server answer, and how fast",
    .run = run_ping,
};

const struct cli_command command_get = {
    .name = "get",
    .arguments = "VERSION PKGARCH CHECKSUM [--history]",
    .summary = "the revision of this content; a new one is stored",
    .help = history_help,
    .run = run_get,
};

const struct cli_command command_test = {
    .name = "test",
    .arguments = "VERSION PKGARCH [CHECKSUM] [--history]",
    .summary = "what is known of a package, or of a checksum; nothing is stored",
    .help = history_help,
    .run = run_test,
};

const struct cli_command command_max = {
    .name = "max",
    .arguments = "VERSION PKGARCH",
    .summary = "the greatest revision of the package",
    .run = run_max,
};

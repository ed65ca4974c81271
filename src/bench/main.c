/* SPDX-License-Identifier: MIT */
/* prserv-bench: its options and its help. */
#include "bench/run.h"
#include "bench/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 100000
#define MAX_PIPELINE 10000
#define MAX_REQUESTS 1000000000000ull
#define DEFAULT_SECONDS 5

/* The options with a value. */
enum bench_option {
    CONNECTIONS,
    PIPELINE,
    REQUESTS,
    SECONDS,
    WARM_UP,
    WARM_UP_REQUESTS,
    WORK,
    PACKAGES,
    CHECKSUMS,
    SEED,
    SOURCES,
    N_VALUES,
};

static const char *const option_names[N_VALUES] = {"connections", "pipeline", "requests", "seconds",
    "warm-up", "warm-up-requests", "work", "packages", "checksums", "seed", "source-addresses"};

/* The command line while it is read. The functions below report the first invalid value and set
 * status to CLI_USAGE. */
struct bench_reader {
    struct cli *cli;
    const char *values[N_VALUES]; /* NULL: not given */
    int status;
};

static uint64_t bench_read_count(struct bench_reader *reader, enum bench_option option,
    uint64_t min, uint64_t max, uint64_t fallback)
{
    const char *text = reader->values[option];
    char *end;
    unsigned long long value;

    if (!text || reader->status != CLI_OK)
        return fallback;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno != 0 || value < min || value > max)
        reader->status =
            cli_usage_error(reader->cli, "--%s takes a number from %llu to %llu, not '%s'",
                option_names[option], (unsigned long long)min, (unsigned long long)max, text);
    return value;
}

static double bench_read_seconds(
    struct bench_reader *reader, enum bench_option option, double min, double fallback)
{
    double value = fallback;

    if (reader->values[option] && reader->status == CLI_OK)
        reader->status = cli_read_seconds(
            reader->cli, option_names[option], reader->values[option], min, &value);
    return value;
}

static enum bench_kind bench_read_kind(struct bench_reader *reader)
{
    const char *text = reader->values[WORK];

    for (int kind = 0; text && kind < BENCH_KINDS; kind++) {
        if (strcmp(text, bench_kinds[kind].name) == 0)
            return (enum bench_kind)kind;
    }
    if (text)
        reader->status =
            cli_usage_error(reader->cli, "--work is ping, test, known, new or mix, not '%s'", text);
    return BENCH_MIX;
}

/* Returns a seed whose content no earlier run has stored. */
static uint64_t bench_new_seed(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000) ^
               (uint64_t)(unsigned)getpid() << 26) %
           BENCH_SEED_LIMIT;
}

static void bench_read_plan(struct bench_reader *reader, struct bench_plan *plan)
{
    const enum bench_kind kind = bench_read_kind(reader);
    const bool needs_content = kind != BENCH_PING && kind != BENCH_NEW;

    plan->kind = kind;
    plan->packages = (unsigned)bench_read_count(
        reader, PACKAGES, kind == BENCH_MIX ? 2 : 1, BENCH_MAX_PACKAGES, 1000);
    plan->checksums = (unsigned)bench_read_count(
        reader, CHECKSUMS, needs_content, BENCH_MAX_CHECKSUMS, bench_kinds[kind].checksums);
    plan->seed = bench_read_count(reader, SEED, 0, BENCH_SEED_LIMIT - 1, bench_new_seed());
}

static void bench_read_settings(struct bench_reader *reader, struct bench_settings *settings)
{
    const double default_s = reader->values[REQUESTS] ? 0 : DEFAULT_SECONDS;

    bench_read_plan(reader, &settings->plan);
    settings->connections = (unsigned)bench_read_count(reader, CONNECTIONS, 1, MAX_CONNECTIONS, 32);
    settings->pipeline = (unsigned)bench_read_count(reader, PIPELINE, 1, MAX_PIPELINE, 1);
    settings->sources = (unsigned)bench_read_count(reader, SOURCES, 1, BENCH_MAX_SOURCES, 1);
    settings->requests = bench_read_count(reader, REQUESTS, 1, MAX_REQUESTS, 0);
    settings->seconds = bench_read_seconds(reader, SECONDS, 0.001, default_s);
    settings->warm_up_s = bench_read_seconds(reader, WARM_UP, 0, 0);
    settings->warm_up_requests = bench_read_count(reader, WARM_UP_REQUESTS, 0, MAX_REQUESTS, 0);
    settings->timeout_s = reader->cli->timeout_ms / 1000.0;
    if (reader->status == CLI_OK && settings->reconnect && settings->pipeline > 1)
        reader->status = cli_usage_error(reader->cli,
            "--reconnect sends one request on each connection and excludes --pipeline");
    if (reader->status == CLI_OK && settings->reconnect &&
        strncmp(reader->cli->server, "tls://", strlen("tls://")) == 0)
        reader->status =
            cli_usage_error(reader->cli, "--reconnect does not measure addresses with tls://");
}

/* Makes the files of --tls-ca and so on those of the environment. */
static void bench_pass_files(const struct cli *cli)
{
    const struct {
        const char *variable;
        const char *file;
    } files[] = {{"PRSERV_TLS_CA", cli->tls_ca}, {"PRSERV_TLS_CERT", cli->tls_certificate},
        {"PRSERV_TLS_KEY", cli->tls_key}};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i].file)
            (void)setenv(files[i].variable, files[i].file, 1);
    }
}

static int bench_main(struct cli *cli, int argc, char **argv)
{
    struct bench_settings settings = {.reconnect = false};
    struct bench_reader reader = {.cli = cli};
    struct cli_arguments arguments;
    bool version = false;
    const struct cli_option flags[] = {
        {"reconnect", &settings.reconnect, NULL},
        {"prepared", &settings.prepared, NULL},
        {"history", &settings.plan.history, NULL},
        {"version", &version, NULL},
        {NULL, NULL, NULL},
    };
    struct cli_option options[N_VALUES + sizeof flags / sizeof *flags];
    const struct cli_syntax syntax = {.options = options};

    for (int i = 0; i < N_VALUES; i++)
        options[i] = (struct cli_option){option_names[i], NULL, &reader.values[i]};
    memcpy(options + N_VALUES, flags, sizeof flags);
    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    if (version) {
        cli_print_version(cli);
        return CLI_OK;
    }
    bench_pass_files(cli);
    bench_read_settings(&reader, &settings);
    return reader.status == CLI_OK ? bench_run(cli, &settings) : reader.status;
}

static const char help[] =
    "Any server that speaks the protocol can be measured. The server stores the content that it\n"
    "is asked for: use a database that you can throw away.\n"
    "\n"
    "      --server ADDRESS    HOST:PORT, [IPv6]:PORT, tls://HOST:PORT or unix:///PATH\n"
    "                          [$PRSERV_HOST, or 127.0.0.1:8585]; for TLS, $PRSERV_TLS_CA,\n"
    "                          $PRSERV_TLS_CERT and $PRSERV_TLS_KEY name files, as for prserv\n"
    "      --json              print one JSON value\n"
    "      --work WORK         the requests to send [mix]:\n"
    "                            ping   ping\n"
    "                            test   test-pr of known content\n"
    "                            known  get-pr of known content; nothing is stored\n"
    "                            new    get-pr of new content; each request stores a row\n"
    "                            mix    get-pr as builds send them: for recipes, 55 % known\n"
    "                                   and 30 % new content; for AUTOINC packages (one\n"
    "                                   package in twenty, which collect many checksums),\n"
    "                                   10 % known and 5 % new source revisions\n"
    "                          Of ten packages, six are for core2-64, two for qemux86_64 and\n"
    "                          two for all. Known content is the latest content of a package;\n"
    "                          with --history, and for test, any content. It is stored before\n"
    "                          the measurement.\n"
    "      --packages N        number of packages [1000]\n"
    "      --checksums N       checksums stored for each package before the measurement; mix:\n"
    "                          for each AUTOINC package, recipes have one [test, known: 1,\n"
    "                          new: 0, mix: 50]\n"
    "      --seed N            number that package names and checksums are made from; the same\n"
    "                          seed repeats the content of an earlier run [different each run]\n"
    "      --prepared          don't store the known content: an earlier run with the same\n"
    "                          seed, packages and checksums has stored it\n"
    "      --history           send requests with history\n"
    "      --connections N     number of connections [32]\n"
    "      --pipeline N        requests in progress on each connection [1]\n"
    "      --reconnect         open a connection for each request, as builds do; a connection\n"
    "                          that is refused or breaks is retried at once, up to three times\n"
    "      --source-addresses N\n"
    "                          addresses that the connections come from, as those of N build\n"
    "                          hosts do: 127.0.0.1, 127.0.0.2 and so on, to a server there. With\n"
    "                          --reconnect, the ports of one are used up by 14,000 requests a\n"
    "                          second [1]\n"
    "      --seconds S         duration of the measurement [5, without --requests]\n"
    "      --requests N        number of requests to measure; with --seconds, the first limit\n"
    "                          reached ends the measurement\n"
    "      --warm-up S         seconds of the same load before the measurement\n"
    "      --warm-up-requests N\n"
    "                          requests of the same load before the measurement\n"
    "      --timeout SECONDS   longest wait for a connection, and for each answer [120]\n"
    "      --version           print the version\n"
    "  -h, --help              print this help\n"
    "\n"
    "Exit status: 0 success, 1 some answers were errors, 2 the command line can't be used, 3 the\n"
    "server can't be reached, or the connection broke. On SIGINT or SIGTERM it reports what it\n"
    "has measured so far.\n";

static const struct cli_command bench_command = {
    .name = "",
    .arguments = "[OPTION]...",
    .summary = "Measures the throughput and the latency of a PR server.",
    .help = help,
};

int main(int argc, char **argv)
{
    struct cli cli;

    cli_init(&cli, "prserv-bench");
    cli.command = &bench_command;
    return cli_finish(&cli, bench_main(&cli, argc, argv));
}

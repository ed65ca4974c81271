/* bench: its options and its help. */
#include "cli/bench_run.h"
#include "cli/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 100000
#define MOST_PIPELINE 10000
#define MOST_REQUESTS 1000000000000ull
#define MOST_SECONDS 86400
#define DEFAULT_SECONDS 5

/* ---- options ---- */

/* What was given, as it was given. */
struct words {
    const char *connections;
    const char *pipeline;
    const char *requests;
    const char *seconds;
    const char *warm_up;
    const char *warm_up_requests;
    const char *work;
    const char *packages;
    const char *checksums;
    const char *seed;
    const char *timeout;
};

/* Reads a whole number if one was given; *status stays CLI_DONE if it can be used. */
static uint64_t read_count(const struct cli *cli, const char *option, const char *text,
    uint64_t least, uint64_t most, uint64_t otherwise, int *status)
{
    char *end;
    unsigned long long value;

    if (!text || *status != CLI_DONE)
        return otherwise;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno != 0 || value < least || value > most)
        *status = cli_misused(cli, "--%s takes a number from %llu to %llu, not '%s'", option,
            (unsigned long long)least, (unsigned long long)most, text);
    return value;
}

static double read_seconds(const struct cli *cli, const char *option, const char *text,
    double least, double otherwise, int *status)
{
    char *end;
    double value;

    if (!text || *status != CLI_DONE)
        return otherwise;
    value = strtod(text, &end);
    if (text[0] < '0' || text[0] > '9' || *end || !(value >= least && value <= MOST_SECONDS))
        *status = cli_misused(
            cli, "--%s takes seconds, from %g to %d, not '%s'", option, least, MOST_SECONDS, text);
    return value;
}

static enum bench_kind read_kind(const struct cli *cli, const char *text, int *status)
{
    for (int kind = 0; text && kind < BENCH_KINDS; kind++) {
        if (strcmp(text, bench_kind_name((enum bench_kind)kind)) == 0)
            return (enum bench_kind)kind;
    }
    if (text && *status == CLI_DONE)
        *status = cli_misused(cli, "--work is ping, test, known, new or mix, not '%s'", text);
    return BENCH_MIX;
}

/* Content that no run before had. */
static uint64_t new_seed(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (((uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000) ^
               (uint64_t)(unsigned)getpid() << 26) %
           BENCH_SEED_LIMIT;
}

static void read_plan(
    const struct cli *cli, const struct words *words, struct bench_plan *plan, int *status)
{
    plan->kind = read_kind(cli, words->work, status);
    plan->packages = (unsigned)read_count(cli, "packages", words->packages,
        plan->kind == BENCH_MIX ? 2 : 1, BENCH_MOST_PACKAGES, 1000, status);
    plan->checksums = (unsigned)read_count(cli, "checksums", words->checksums,
        plan->kind == BENCH_PING || plan->kind == BENCH_NEW ? 0 : 1, BENCH_MOST_CHECKSUMS,
        bench_kind_checksums(plan->kind), status);
    plan->seed = read_count(cli, "seed", words->seed, 0, BENCH_SEED_LIMIT - 1, new_seed(), status);
}

static int read_settings(
    const struct cli *cli, const struct words *words, struct bench_settings *settings)
{
    int status = CLI_DONE;

    read_plan(cli, words, &settings->plan, &status);
    settings->connections = (unsigned)read_count(
        cli, "connections", words->connections, 1, MOST_CONNECTIONS, 32, &status);
    settings->pipeline =
        (unsigned)read_count(cli, "pipeline", words->pipeline, 1, MOST_PIPELINE, 1, &status);
    settings->requests = read_count(cli, "requests", words->requests, 1, MOST_REQUESTS, 0, &status);
    settings->seconds = read_seconds(
        cli, "seconds", words->seconds, 0.001, words->requests ? 0 : DEFAULT_SECONDS, &status);
    settings->warm_up_s = read_seconds(cli, "warm-up", words->warm_up, 0, 0, &status);
    settings->warm_up_requests =
        read_count(cli, "warm-up-requests", words->warm_up_requests, 0, MOST_REQUESTS, 0, &status);
    settings->timeout_s =
        read_seconds(cli, "timeout", words->timeout, 0.001, CLI_TIMEOUT_MS / 1000.0, &status);
    if (status == CLI_DONE && settings->reconnect && settings->pipeline > 1)
        status = cli_misused(cli, "--reconnect has one request on each connection: no --pipeline");
    return status;
}

static bool read_options(
    struct cli *cli, int argc, char **argv, struct bench_settings *settings, int *status)
{
    struct words words = {.work = NULL};
    const struct cli_option options[] = {
        {"connections", NULL, &words.connections},
        {"pipeline", NULL, &words.pipeline},
        {"reconnect", &settings->reconnect, NULL},
        {"requests", NULL, &words.requests},
        {"seconds", NULL, &words.seconds},
        {"warm-up", NULL, &words.warm_up},
        {"warm-up-requests", NULL, &words.warm_up_requests},
        {"work", NULL, &words.work},
        {"packages", NULL, &words.packages},
        {"checksums", NULL, &words.checksums},
        {"seed", NULL, &words.seed},
        {"prepared", &settings->prepared, NULL},
        {"history", &settings->plan.history, NULL},
        {"timeout", NULL, &words.timeout},
        {NULL, NULL, NULL},
    };
    char **rest;
    int n_rest;

    if (!cli_parse(cli, argc, argv, options, 0, 0, &rest, &n_rest, status))
        return false;
    *status = read_settings(cli, &words, settings);
    return *status == CLI_DONE;
}

static int run_bench(struct cli *cli, int argc, char **argv)
{
    struct bench_settings settings = {.reconnect = false};
    int status;

    if (!read_options(cli, argc, argv, &settings, &status))
        return status;
    return bench_run(cli, &settings);
}

static const char help[] =
    "Any server that speaks the protocol can be measured. It keeps what it is asked to\n"
    "store: take one whose database may be thrown away.\n"
    "\n"
    "      --work WORK         what is asked [mix]:\n"
    "                            ping   is it alive\n"
    "                            test   test-pr of known content\n"
    "                            known  get-pr of known content: nothing is stored\n"
    "                            new    get-pr of new content: each is stored\n"
    "                            mix    get-pr as a build sends them: 55 % known and 30 %\n"
    "                                   new content of recipes; 10 % known and 5 % new\n"
    "                                   source revisions of AUTOINC packages (one package\n"
    "                                   in twenty), which collect many checksums\n"
    "                          Of ten packages six are for core2-64, two for qemux86_64,\n"
    "                          two for all. Known content is each package's latest; with\n"
    "                          --history, and for test, any. It is stored before measuring.\n"
    "      --packages N        packages that are asked about [1000]\n"
    "      --checksums N       that each package holds before measuring; mix: each AUTOINC\n"
    "                          package, recipes hold one [test, known: 1, new: 0, mix: 50]\n"
    "      --seed N            of packages' names and checksums; known from an earlier run\n"
    "                          with it. Otherwise they are new to the server in each run\n"
    "      --prepared          the content that has to be known was stored by an earlier run\n"
    "                          with the same seed, packages and checksums: don't do it again\n"
    "      --history           ask with history\n"
    "      --connections N     at once, each with requests of its own [32]\n"
    "      --pipeline N        requests under way on each connection [1]\n"
    "      --reconnect         a connection for each request, as in a build; one that is\n"
    "                          refused or breaks is tried four times in all, at once\n"
    "      --seconds S         how long to measure [5, without --requests]\n"
    "      --requests N        how many to measure; with both, what comes first\n"
    "      --warm-up S         seconds of the same work before, not measured\n"
    "      --warm-up-requests N   likewise, requests\n"
    "      --timeout S         the longest that an answer may take [30]\n"
    "\n"
    "Exit status: 1 if answers were errors, 3 if the server went away. Interrupted, it\n"
    "reports what it has measured so far.\n";

const struct cli_command command_bench = {
    .name = "bench",
    .arguments = "[OPTION]...",
    .summary = "how many requests the server answers, and how fast",
    .help = help,
    .run = run_bench,
};

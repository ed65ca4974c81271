/* status: the server's answer to get-stats, for people. */
#include "base/text.h"
#include "cli/commands.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* A member that is not there, or no number, counts as 0: members may come and go. */
static json_int_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* What came from the server, cut and fit for a terminal. */
struct printable {
    char text[256];
};

static const char *print_into(struct printable *printable, const char *string)
{
    (void)snprintf(printable->text, sizeof printable->text, "%s", string ? string : "?");
    text_make_printable(printable->text);
    return printable->text;
}

static const char *string(const json_t *object, const char *name, struct printable *printable)
{
    return print_into(printable, json_string_value(json_object_get(object, name)));
}

static void print_uptime(json_int_t seconds)
{
    const long long minutes = seconds / 60;
    const long long hours = minutes / 60;
    const long long days = hours / 24;

    (void)printf("uptime       ");
    if (days > 0)
        (void)printf("%lld day%s %lld h\n", days, days > 1 ? "s" : "", hours % 24);
    else if (hours > 0)
        (void)printf("%lld h %lld min\n", hours, minutes % 60);
    else if (minutes > 0)
        (void)printf("%lld min %lld s\n", minutes, (long long)seconds % 60);
    else
        (void)printf("%lld s\n", (long long)seconds);
}

static void print_time(const char *name, json_int_t us)
{
    if (us < 1000)
        (void)printf("%s %lld us", name, (long long)us);
    else if (us < 1000000)
        (void)printf("%s %.1f ms", name, (double)us / 1e3);
    else
        (void)printf("%s %.1f s", name, (double)us / 1e6);
}

static void print_requests(const json_t *requests)
{
    struct printable printable;
    const char *name;
    json_t *counts;

    (void)printf("\n%-16s %12s %10s\n", "request", "answered", "errors");
    json_object_foreach((json_t *)requests, name, counts)
    {
        (void)printf("%-16s %12lld %10lld\n", print_into(&printable, name),
            (long long)number(counts, "count"), (long long)number(counts, "errors"));
    }
}

static void print_batches(const json_t *batches)
{
    const json_t *commit = json_object_get(batches, "commit_us");
    const json_int_t count = number(batches, "count");

    if (count == 0)
        return;
    (void)printf("\ncommits      %lld, of %.1f rows on average; %lld requests in the largest\n",
        (long long)count, (double)number(batches, "rows") / (double)count,
        (long long)number(batches, "largest"));
    print_time("commit time  p50", number(commit, "p50"));
    print_time(", p99", number(commit, "p99"));
    print_time(", max", number(commit, "max"));
    (void)putchar('\n');
}

static void print_upstream(const json_t *upstream)
{
    const json_t *round_trip = json_object_get(upstream, "round_trip_us");
    struct printable address;
    struct printable state;

    if (!json_is_object(upstream)) {
        (void)printf("upstream     none\n");
        return;
    }
    (void)printf("upstream     %s, %s\n", string(upstream, "address", &address),
        string(upstream, "state", &state));
    (void)printf("             %lld questions, %lld errors",
        (long long)number(upstream, "questions"), (long long)number(upstream, "errors"));
    print_time(", round trip p50", number(round_trip, "p50"));
    print_time(", p99", number(round_trip, "p99"));
    (void)putchar('\n');
}

static void print_status(const char *address, const json_t *stats)
{
    const json_t *database = json_object_get(stats, "database");
    const json_t *connections = json_object_get(stats, "connections");
    struct printable printable;

    (void)printf("server       %s\n", address);
    (void)printf("version      %s\n", string(stats, "version", &printable));
    print_uptime(number(stats, "uptime_s"));
    (void)printf("mode         %s\n",
        json_is_true(json_object_get(stats, "read_only")) ? "read-only" : "read-write");
    (void)printf("database     %s, %lld rows\n", string(database, "kind", &printable),
        (long long)number(database, "rows"));
    (void)printf("connections  %lld open, %lld accepted, %lld refused\n",
        (long long)number(connections, "open"), (long long)number(connections, "accepted"),
        (long long)number(connections, "refused"));
    print_upstream(json_object_get(stats, "upstream"));
    print_requests(json_object_get(stats, "requests"));
    print_batches(json_object_get(stats, "batches"));
}

static int run_status(struct cli *cli, int argc, char **argv)
{
    const struct cli_option options[] = {{NULL, NULL, NULL}};
    struct prserv_error error;
    struct prserv *server;
    char *answer = NULL;
    json_t *stats;
    char **words;
    int n_words;
    int status;

    if (!cli_parse(cli, argc, argv, options, 0, 0, &words, &n_words, &status))
        return status;
    status = cli_connect(cli, &server);
    if (status != CLI_DONE)
        return status;
    if (prserv_get_stats(server, &answer, &error) != 0)
        status = cli_failed(&error);
    prserv_close(server);
    if (status != CLI_DONE)
        return status;
    stats = json_loads(answer, JSON_ALLOW_NUL, NULL);
    free(answer);
    if (!cli->json)
        print_status(cli->server, stats);
    else if (json_dumpf(stats, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) == 0)
        (void)putchar('\n');
    json_decref(stats);
    return CLI_DONE;
}

const struct cli_command command_status = {
    .name = "status",
    .arguments = "",
    .summary = "what the server has done since it was started",
    .help = "Times are a server's own: half of them are at most p50, 99 of 100 at most p99.\n"
            "BitBake's own server has no such answer.\n",
    .run = run_status,
};

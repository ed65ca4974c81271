/* SPDX-License-Identifier: MIT */
/* status: prints the server's answer to get-stats. */
#include "base/text.h"
#include "cli/answer.h"
#include "cli/commands.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

/* Returns the member, or 0 if it is missing or not a number: other servers may have other
 * members. */
static json_int_t status_number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* A text of the server, shortened and printable. */
struct printable {
    char text[256];
};

static const char *status_make_printable(struct printable *printable, const char *string)
{
    (void)snprintf(printable->text, sizeof printable->text, "%s", string ? string : "?");
    text_make_printable(printable->text);
    return printable->text;
}

static const char *status_string(
    const json_t *object, const char *name, struct printable *printable)
{
    return status_make_printable(printable, json_string_value(json_object_get(object, name)));
}

static void status_print_uptime(json_int_t seconds)
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

static void status_print_time(const char *name, json_int_t us)
{
    if (us < 1000)
        (void)printf("%s %lld us", name, (long long)us);
    else if (us < 1000000)
        (void)printf("%s %.1f ms", name, (double)us / 1e3);
    else
        (void)printf("%s %.1f s", name, (double)us / 1e6);
}

static void status_print_requests(json_t *requests)
{
    struct printable printable;
    const char *name;
    json_t *counts;

    (void)printf("\n%-16s %12s %10s\n", "request", "answered", "errors");
    json_object_foreach(requests, name, counts)
    {
        (void)printf("%-16s %12lld %10lld\n", status_make_printable(&printable, name),
            (long long)status_number(counts, "count"), (long long)status_number(counts, "errors"));
    }
}

static void status_print_batches(const json_t *batches)
{
    const json_t *commit = json_object_get(batches, "commit_us");
    const json_int_t count = status_number(batches, "count");

    if (count == 0)
        return;
    (void)printf("\ncommits      %lld, of %.1f rows on average; %lld requests in the largest\n",
        (long long)count, (double)status_number(batches, "rows") / (double)count,
        (long long)status_number(batches, "largest"));
    status_print_time("commit time  p50", status_number(commit, "p50"));
    status_print_time(", p99", status_number(commit, "p99"));
    status_print_time(", max", status_number(commit, "max"));
    (void)putchar('\n');
}

/* Returns an address; it is null for clients that only read. */
static const char *status_address(const json_t *object, struct printable *printable)
{
    return json_is_null(json_object_get(object, "address"))
               ? "(address not shown)"
               : status_string(object, "address", printable);
}

static void status_print_upstream(const json_t *upstream)
{
    const json_t *round_trip = json_object_get(upstream, "round_trip_us");
    struct printable address;
    struct printable state;

    if (!json_is_object(upstream)) {
        (void)printf("upstream     none\n");
        return;
    }
    (void)printf("upstream     %s, %s\n", status_address(upstream, &address),
        status_string(upstream, "state", &state));
    (void)printf("             %lld requests, %lld errors",
        (long long)status_number(upstream, "questions"),
        (long long)status_number(upstream, "errors"));
    status_print_time(", round trip p50", status_number(round_trip, "p50"));
    status_print_time(", p99", status_number(round_trip, "p99"));
    (void)putchar('\n');
}

/* Prints what a relay says of itself; all the rest is its central server's. */
static void status_print_forward(const json_t *forward)
{
    struct printable address;
    struct printable state;

    if (!json_is_object(forward))
        return;
    (void)printf("relay        to %s, %s; the following is of that server\n",
        status_string(forward, "address", &address), status_string(forward, "state", &state));
    (void)printf("             %lld connections, %lld answered, %lld failed, %lld sent again\n",
        (long long)status_number(forward, "connections"),
        (long long)status_number(forward, "answered"), (long long)status_number(forward, "failed"),
        (long long)status_number(forward, "repeated"));
}

static void status_print_rollback(const json_t *rollback)
{
    const json_t *counter = json_object_get(rollback, "counter");
    struct printable mark;

    if (!json_is_object(rollback))
        return;
    if (json_is_integer(counter))
        (void)printf("rollback     %s, the database is back at %lld: new content is refused\n",
            status_string(rollback, "mark", &mark), (long long)json_integer_value(counter));
    else
        (void)printf("rollback     %s, this is another database: new content is refused\n",
            status_string(rollback, "mark", &mark));
}

static void status_print_listeners(json_t *listeners)
{
    const json_t *listener;
    size_t i;

    json_array_foreach(listeners, i, listener)
    {
        struct printable address;
        struct printable rights;

        (void)printf("%-12s %s, %s\n", i == 0 ? "addresses" : "",
            status_string(listener, "address", &address),
            status_string(listener, "rights", &rights));
    }
}

static void status_print_status(const char *address, const json_t *stats)
{
    const json_t *database = json_object_get(stats, "database");
    const json_t *connections = json_object_get(stats, "connections");
    struct printable printable;

    (void)printf("server       %s\n", address);
    status_print_forward(json_object_get(stats, "forward"));
    (void)printf("version      %s\n", status_string(stats, "version", &printable));
    status_print_uptime(status_number(stats, "uptime_s"));
    (void)printf("mode         %s\n",
        json_is_true(json_object_get(stats, "read_only")) ? "read-only" : "read-write");
    (void)printf("database     %s, %s%lld rows\n", status_string(database, "kind", &printable),
        json_is_true(json_object_get(database, "rows_estimated")) ? "about " : "",
        (long long)status_number(database, "rows"));
    status_print_rollback(json_object_get(stats, "rollback"));
    status_print_listeners(json_object_get(stats, "listeners"));
    (void)printf("connections  %lld open, %lld accepted, %lld refused\n",
        (long long)status_number(connections, "open"),
        (long long)status_number(connections, "accepted"),
        (long long)status_number(connections, "refused"));
    status_print_upstream(json_object_get(stats, "upstream"));
    status_print_requests(json_object_get(stats, "requests"));
    status_print_batches(json_object_get(stats, "batches"));
}

static int status_ask(
    struct prserv *server, const void *context, char **json, struct prserv_error *error)
{
    (void)context;
    return prserv_get_stats(server, json, error);
}

static int status_run(struct cli *cli, int argc, char **argv)
{
    const struct cli_syntax syntax = {.max_arguments = 0};
    struct cli_arguments arguments;
    json_t *stats;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    status = answer_ask(cli, status_ask, NULL, &stats);
    if (status != CLI_OK)
        return status;
    if (!answer_print_json(cli, stats))
        status_print_status(cli->server, stats);
    json_decref(stats);
    return CLI_OK;
}

const struct cli_command command_status = {
    .name = "status",
    .arguments = "",
    .summary = "print statistics of the server since it was started",
    .help = "The server measures the times itself: half of them are at most p50, 99 of 100 at\n"
            "most p99. BitBake's own server does not support this request.\n",
    .timeout_ms = CLI_CHECK_TIMEOUT_MS,
    .run = status_run,
};

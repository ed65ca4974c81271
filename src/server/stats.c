/* SPDX-License-Identifier: MIT */
#include "server/stats.h"

#include "base/clock.h"
#include "server/connections.h"
#include "server/listener.h"
#include "version.h"
#include "wire/codec.h"

#include <inttypes.h>

static void stats_append_requests(const struct stats *stats, struct buffer *out)
{
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        buffer_append_format(out, "%s\"%s\":{\"count\":%" PRIu64 ",\"errors\":%" PRIu64 "}",
            kind > 0 ? "," : "", request_name((enum request_kind)kind), stats->requests[kind],
            metrics_errors(stats->metrics, (enum request_kind)kind));
}

static void stats_append_batches(struct executor *executor, struct buffer *out)
{
    struct batch_stats batches;

    executor_batch_stats(executor, &batches);
    buffer_append_format(out,
        "{\"count\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"rows\":%" PRIu64 ",\"largest\":%" PRIu64
        ",\"commit_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64 "}}",
        batches.count, batches.requests, batches.rows, batches.largest,
        histogram_percentile(&batches.commit_us, 0.5),
        histogram_percentile(&batches.commit_us, 0.99), batches.commit_us.largest);
}

/* Appends the rollback of the database, or null. */
static void stats_append_rollback(struct executor *executor, struct buffer *out)
{
    struct store_rollback rollback;
    char mark[MARK_TEXT_BYTES];

    executor_find_rollback(executor, &rollback);
    if (!rollback.is_rolled_back) {
        buffer_append_string(out, "null");
        return;
    }
    mark_format(&rollback.mark, mark);
    buffer_append_format(out, "{\"mark\":\"%s\",\"counter\":", mark);
    if (rollback.counter >= 0)
        buffer_append_format(out, "%" PRId64 "}", rollback.counter);
    else
        buffer_append_string(out, "null}");
}

/* Appends the addresses and their rights, or null. */
static void stats_append_listeners(const struct listeners *listeners, struct buffer *out)
{
    const struct listener *listener;
    const char *separator = "[";

    if (!listeners) {
        buffer_append_string(out, "null");
        return;
    }
    TAILQ_FOREACH (listener, &listeners->all, entry) {
        const struct text name = text_of(listener->name);
        char words[LISTENER_WORDS_BYTES];

        listener_options_describe(&listener->options, words);
        buffer_append_format(out, "%s{\"address\":", separator);
        codec_write_string(out, text_is_utf8(name) ? name : text_of("unix:"));
        buffer_append_format(out, ",\"rights\":\"%s\"}", words[0] ? words : "full");
        separator = ",";
    }
    buffer_append_string(out, separator[0] == '[' ? "[]" : "]");
}

/* Appends what a relay has as well. */
static void stats_append_clients(const struct stats *stats, struct buffer *out)
{
    const struct connections *connections = stats->connections;
    const struct server_context *server = &connections->server;

    buffer_append_format(out,
        ",\"connections\":{\"open\":%zu,\"accepted\":%" PRIu64 ",\"refused\":%" PRIu64 "}"
        ",\"memory\":{\"used_bytes\":%zu,\"limit_bytes\":%zu,\"overruns\":%" PRIu64 "}"
        ",\"requests\":{",
        connections->n_open, connections->n_accepted, connections->n_refused,
        budget_used(server->budget), server->budget->limit, connections->pressure.overruns);
    stats_append_requests(stats, out);
    buffer_append_string(out, "}");
}

/* A relay has no database. */
static void stats_write_relay(const struct stats *stats, struct buffer *out)
{
    const struct server_context *server = &stats->connections->server;

    buffer_append_format(out, "{\"version\":\"%s\",\"uptime_s\":%" PRIu64, PRSERVD_VERSION,
        (clock_ms() - stats->started_ms) / 1000);
    stats_append_clients(stats, out);
    buffer_append_string(out, ",\"forward\":");
    relay_write_stats(server->relay, out);
    buffer_append_string(out, "}");
}

void stats_write(const struct stats *stats, const struct stats_view *view, struct buffer *out)
{
    const struct server_context *server = &stats->connections->server;

    if (server->relay) {
        stats_write_relay(stats, out);
        return;
    }
    buffer_append_format(out,
        "{\"version\":\"%s\",\"uptime_s\":%" PRIu64 ",\"read_only\":%s"
        ",\"database\":{\"kind\":\"%s\",\"rows\":%" PRIu64 "%s}",
        PRSERVD_VERSION, (clock_ms() - stats->started_ms) / 1000,
        server->read_only ? "true" : "false", stats->database, view->rows,
        view->rows_estimated ? ",\"rows_estimated\":true" : "");
    stats_append_clients(stats, out);
    buffer_append_string(out, ",\"batches\":");
    stats_append_batches(server->executor, out);
    buffer_append_string(out, ",\"rollback\":");
    stats_append_rollback(server->executor, out);
    if (server->audit)
        buffer_append_format(
            out, ",\"audit\":{\"dropped\":%" PRIu64 "}", audit_dropped(server->audit));
    else
        buffer_append_string(out, ",\"audit\":null");
    buffer_append_string(out, ",\"upstream\":");
    if (server->upstream)
        upstream_write_stats(server->upstream, view->shows_addresses, out);
    else
        buffer_append_string(out, "null");
    buffer_append_string(out, ",\"listeners\":");
    stats_append_listeners(view->shows_addresses ? stats->listeners : NULL, out);
    buffer_append_string(out, "}");
}

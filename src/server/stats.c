/* SPDX-License-Identifier: MIT */
#include "server/stats.h"

#include "base/clock.h"
#include "server/connections.h"
#include "version.h"

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

void stats_write(const struct stats *stats, uint64_t rows, bool rows_estimated, struct buffer *out)
{
    const struct connections *connections = stats->connections;
    const struct server_context *server = &connections->server;

    buffer_append_format(out,
        "{\"version\":\"%s\",\"uptime_s\":%" PRIu64 ",\"read_only\":%s"
        ",\"database\":{\"kind\":\"%s\",\"rows\":%" PRIu64 "%s}"
        ",\"connections\":{\"open\":%zu,\"accepted\":%" PRIu64 ",\"refused\":%" PRIu64 "}"
        ",\"memory\":{\"used_bytes\":%zu,\"limit_bytes\":%zu,\"overruns\":%" PRIu64 "}"
        ",\"requests\":{",
        PRSERVD_VERSION, (clock_ms() - stats->started_ms) / 1000,
        server->read_only ? "true" : "false", stats->database, rows,
        rows_estimated ? ",\"rows_estimated\":true" : "", connections->n_open,
        connections->n_accepted, connections->n_refused, budget_used(server->budget),
        server->budget->limit, connections->pressure.overruns);
    stats_append_requests(stats, out);
    buffer_append_string(out, "},\"batches\":");
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
        upstream_write_stats(server->upstream, out);
    else
        buffer_append_string(out, "null");
    buffer_append_string(out, "}");
}

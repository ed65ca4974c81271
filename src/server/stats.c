#include "server/stats.h"

#include "base/clock.h"
#include "version.h"
#include "wire/codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static void append(
    struct buffer *out, const char *format, ...)
{
    char text[400];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buffer_append(out, text, (size_t)length);
}

static void append_requests(const struct request_counts *counts, struct buffer *out)
{
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        append(out, "%s\"%s\":{\"count\":%" PRIu64 ",\"errors\":%" PRIu64 "}", kind > 0 ? "," : "",
            request_name((enum request_kind)kind), counts->count[kind], counts->errors[kind]);
}

static void append_batches(struct executor *executor, struct buffer *out)
{
    struct batch_stats batches;

    executor_batch_stats(executor, &batches);
    append(out,
        "{\"count\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"rows\":%" PRIu64 ",\"largest\":%" PRIu64
        ",\"commit_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64 "}}",
        batches.count, batches.requests, batches.rows, batches.largest,
        histogram_percentile(&batches.commit_us, 0.5),
        histogram_percentile(&batches.commit_us, 0.99), batches.commit_us.largest);
}

static void append_upstream(const struct upstream *upstream, struct buffer *out)
{
    struct upstream_stats stats;

    if (!upstream) {
        append(out, "null");
        return;
    }
    upstream_stats(upstream, &stats);
    append(out, "{\"address\":");
    codec_write_string(out, text_of(stats.address));
    append(out,
        ",\"state\":\"%s\",\"questions\":%" PRIu64 ",\"errors\":%" PRIu64
        ",\"round_trip_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 "}}",
        stats.state, stats.questions, stats.errors, histogram_percentile(stats.round_trip_us, 0.5),
        histogram_percentile(stats.round_trip_us, 0.99));
}

void stats_write(const struct stats *stats, uint64_t rows, struct buffer *out)
{
    struct connections_stats connections;

    connections_stats(stats->connections, &connections);
    append(out,
        "{\"version\":\"%s\",\"uptime_s\":%" PRIu64 ",\"read_only\":%s"
        ",\"database\":{\"kind\":\"%s\",\"rows\":%" PRIu64 "}"
        ",\"connections\":{\"open\":%zu,\"accepted\":%" PRIu64 ",\"refused\":%" PRIu64 "}"
        ",\"memory\":{\"used_bytes\":%zu,\"limit_bytes\":%zu,\"overruns\":%" PRIu64 "}"
        ",\"requests\":{",
        PRSERVD_VERSION, (clock_ms() - stats->started_ms) / 1000,
        stats->read_only ? "true" : "false", stats->database, rows, connections.open,
        connections.accepted, connections.refused, connections.used_bytes, connections.limit_bytes,
        connections.overruns);
    append_requests(&stats->counts, out);
    append(out, "},\"batches\":");
    append_batches(stats->executor, out);
    append(out, ",\"upstream\":");
    append_upstream(stats->upstream, out);
    append(out, "}");
}

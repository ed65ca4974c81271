/* SPDX-License-Identifier: MIT */
/* The metrics as text: Prometheus' format 0.0.4, or OpenMetrics 1.0, which differs in the names of
 * counters in the comments, and in the end. No label is a package, a version of one, a checksum or
 * a client's address: their number is small, whatever clients send. */
#include "http/http.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct exposition {
    struct buffer *out;
    bool is_open_metrics;
};

/* ---- samples ---- */

/* Begins a family. The name of a counter ends with _total in its samples. */
static void exposition_family(
    struct exposition *to, const char *name, const char *type, const char *help)
{
    const char *end = strcmp(type, "counter") == 0 && !to->is_open_metrics ? "_total" : "";

    buffer_append_format(
        to->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, end, help, name, end, type);
}

static void exposition_gauge(
    struct exposition *to, const char *name, const char *help, uint64_t value)
{
    exposition_family(to, name, "gauge", help);
    buffer_append_format(to->out, "%s %" PRIu64 "\n", name, value);
}

static void exposition_counter(
    struct exposition *to, const char *name, const char *help, uint64_t value)
{
    exposition_family(to, name, "counter", help);
    buffer_append_format(to->out, "%s_total %" PRIu64 "\n", name, value);
}

/* Writes a number of the scale: durations in seconds. */
static void exposition_number(struct exposition *to, enum metric_scale scale, uint64_t value)
{
    if (scale == METRIC_DURATION)
        buffer_append_format(to->out, "%.10g", (double)value / 1e6);
    else
        buffer_append_format(to->out, "%" PRIu64 "%s", value, to->is_open_metrics ? ".0" : "");
}

/* label is empty, or like "request=\"ping\"". */
static void exposition_histogram(struct exposition *to, const char *name, const char *label,
    enum metric_scale scale, const struct metric_histogram *histogram)
{
    const uint64_t sum = metric_get(&histogram->sum);
    uint64_t count = 0;

    for (int i = 0; i < METRIC_BOUNDS; i++) {
        count += metric_get(&histogram->buckets[i]);
        buffer_append_format(
            to->out, "%s_bucket{%s%sle=\"", name, label, label[0] != '\0' ? "," : "");
        exposition_number(to, scale, metric_bounds[scale][i]);
        buffer_append_format(to->out, "\"} %" PRIu64 "\n", count);
    }
    count += metric_get(&histogram->buckets[METRIC_BOUNDS]);
    buffer_append_format(to->out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, label,
        label[0] != '\0' ? "," : "", count);
    buffer_append_format(to->out, "%s_sum%s%s%s ", name, label[0] != '\0' ? "{" : "", label,
        label[0] != '\0' ? "}" : "");
    exposition_number(to, scale, sum);
    buffer_append_format(to->out, "\n%s_count%s%s%s %" PRIu64 "\n", name,
        label[0] != '\0' ? "{" : "", label, label[0] != '\0' ? "}" : "", count);
}

static void exposition_one_histogram(struct exposition *to, const char *name, const char *help,
    enum metric_scale scale, const struct metric_histogram *histogram)
{
    exposition_family(to, name, "histogram", help);
    exposition_histogram(to, name, "", scale, histogram);
}

/* ---- the families ---- */

static const char *exposition_request_name(int kind)
{
    return kind < REQUEST_KINDS ? request_name((enum request_kind)kind) : "invalid";
}

static void exposition_requests(struct exposition *to, const struct metrics *metrics)
{
    static const char *const results[METRICS_RESULTS] = {
        [METRICS_OK] = "ok", [METRICS_REFUSED] = "refused", [METRICS_ERROR] = "error"};

    exposition_family(to, "prservd_requests", "counter",
        "Requests of PR clients that were answered. refused: invalid; error: not carried out.");
    for (int kind = 0; kind <= REQUEST_KINDS; kind++) {
        for (int i = 0; i < METRICS_RESULTS; i++)
            buffer_append_format(to->out,
                "prservd_requests_total{request=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                exposition_request_name(kind), results[i], metric_get(&metrics->requests[kind][i]));
    }
    exposition_family(to, "prservd_request_duration_seconds", "histogram",
        "Time from reading a request to writing its answer.");
    for (int kind = 0; kind < REQUEST_KINDS; kind++) {
        char label[64];

        (void)snprintf(label, sizeof label, "request=\"%s\"", exposition_request_name(kind));
        exposition_histogram(to, "prservd_request_duration_seconds", label, METRIC_DURATION,
            &metrics->request_us[kind]);
    }
}

static void exposition_certificate(struct exposition *to, uint64_t expires_s)
{
    if (expires_s == 0)
        return;
    exposition_family(to, "prservd_tls_certificate_expiry_seconds", "gauge",
        "Time until our certificate ends; negative: it has ended.");
    buffer_append_format(to->out, "prservd_tls_certificate_expiry_seconds %" PRId64 "\n",
        (int64_t)expires_s - (int64_t)time(NULL));
}

static void exposition_connections(struct exposition *to, const struct metrics *metrics)
{
    exposition_gauge(
        to, "prservd_connections", "Open connections of PR clients.", metric_get(&metrics->n_open));
    exposition_counter(to, "prservd_connections_accepted",
        "Connections of PR clients that were accepted.", metric_get(&metrics->n_accepted));
    exposition_counter(to, "prservd_connections_refused",
        "Connections of PR clients that were closed at once: not allowed, too many, or no memory.",
        metric_get(&metrics->n_refused));
    exposition_counter(to, "prservd_tls_failures",
        "Connections of PR clients that ended because TLS could not be negotiated.",
        metric_get(&metrics->n_tls_failures));
    exposition_certificate(to, metric_get(&metrics->tls_expires_s));
    exposition_gauge(to, "prservd_memory_used_bytes",
        "Memory for requests and answers of PR clients.", metric_get(&metrics->memory_used_bytes));
    exposition_gauge(to, "prservd_memory_limit_bytes", "Its limit, --max-memory-bytes.",
        metric_get(&metrics->memory_limit_bytes));
}

static void exposition_commits(struct exposition *to, const struct commit_metrics *commits)
{
    if (!commits)
        return;
    exposition_counter(to, "prservd_revisions_assigned", "New revisions that get-pr has given.",
        metric_get(&commits->assigned));
    exposition_one_histogram(to, "prservd_commit_duration_seconds",
        "Time until a commit was durable.", METRIC_DURATION, &commits->duration_us);
    exposition_one_histogram(to, "prservd_commit_requests", "Requests decided by one commit.",
        METRIC_NUMBER, &commits->requests);
}

static void exposition_database(struct exposition *to, struct http *http)
{
    const struct http_source *source = &http->source;
    const struct http_check *check = &http->check;
    char reason[600];
    uint64_t rows;
    bool is_estimate;

    exposition_gauge(to, "prservd_ready", "Whether /readyz answers 200.",
        metric_get(&check->is_readable) != 0 &&
            source->is_ready(source->context, reason, sizeof reason));
    if (source->relay)
        return; /* it has no database */
    exposition_gauge(to, "prservd_database_up", "Whether the database can be read.",
        metric_get(&check->is_readable));
    if (source->find_rows(source->context, &rows, &is_estimate))
        exposition_gauge(to, "prservd_database_rows",
            "Rows in the database; an estimate for a large one on PostgreSQL.", rows);
    if (source->is_rolled_back)
        exposition_gauge(to, "prservd_database_rolled_back",
            "1 while the database is older than it was, so that new revisions are refused.",
            metric_get(source->is_rolled_back));
    if (!source->file)
        return;
    exposition_gauge(to, "prservd_database_size_bytes", "Size of the database file.",
        metric_get(&check->database_bytes));
    exposition_gauge(
        to, "prservd_wal_size_bytes", "Size of its WAL.", metric_get(&check->wal_bytes));
}

static void exposition_audit(struct exposition *to, const struct http_source *source)
{
    struct http_audit audit;

    if (!source->read_audit(source->context, &audit))
        return;
    exposition_gauge(to, "prservd_audit_up", "0 while the audit log can't be written.",
        audit.is_failing ? 0 : 1);
    exposition_counter(to, "prservd_audit_dropped",
        "Records and counts of requests that are missing in the audit log.", audit.n_dropped);
}

static void exposition_upstream(struct exposition *to, const struct upstream_metrics *upstream)
{
    if (!upstream)
        return;
    exposition_gauge(to, "prservd_upstream_up",
        "0 while the upstream is known to be away; it is noticed when a request needs it.",
        metric_get(&upstream->is_up));
    exposition_family(to, "prservd_upstream_requests", "counter", "Questions to the upstream.");
    buffer_append_format(to->out,
        "prservd_upstream_requests_total{result=\"ok\"} %" PRIu64
        "\nprservd_upstream_requests_total{result=\"error\"} %" PRIu64 "\n",
        metric_get(&upstream->n_answered), metric_get(&upstream->n_failed));
    exposition_one_histogram(to, "prservd_upstream_round_trip_seconds",
        "Time from asking the upstream to its answer.", METRIC_DURATION, upstream->round_trip_us);
}

static void exposition_relay(struct exposition *to, const struct relay_metrics *relay)
{
    if (!relay)
        return;
    exposition_gauge(to, "prservd_forward_up",
        "0 while the central server is known to be away; it is noticed when a request needs it.",
        metric_get(&relay->is_up));
    exposition_gauge(to, "prservd_forward_connections", "Connections to the central server.",
        metric_get(&relay->n_connections));
    exposition_gauge(to, "prservd_forward_waiting",
        "Requests that wait for an answer of the central server.", metric_get(&relay->n_waiting));
    exposition_family(to, "prservd_forward_requests", "counter", "Requests that were sent on.");
    buffer_append_format(to->out,
        "prservd_forward_requests_total{result=\"ok\"} %" PRIu64
        "\nprservd_forward_requests_total{result=\"error\"} %" PRIu64 "\n",
        metric_get(&relay->n_answered), metric_get(&relay->n_failed));
    exposition_counter(to, "prservd_forward_repeated",
        "Requests that were sent again, because a connection broke.",
        metric_get(&relay->n_repeated));
    exposition_one_histogram(to, "prservd_forward_round_trip_seconds",
        "Time from sending a request on to its answer.", METRIC_DURATION, &relay->round_trip_us);
}

static void exposition_process(struct exposition *to, const struct http *http)
{
    struct process_figures figures;

    process_metrics_read(&figures);
    exposition_gauge(
        to, "process_start_time_seconds", "Start of the process, since 1970.", http->started_s);
    exposition_family(to, "process_cpu_seconds", "counter", "CPU time of the process.");
    buffer_append_format(to->out, "process_cpu_seconds_total %.6f\n", figures.cpu_s);
    exposition_gauge(to, "process_resident_memory_bytes", "Resident memory of the process.",
        figures.resident_bytes);
    exposition_gauge(to, "process_open_fds", "Open descriptors.", figures.n_files);
    exposition_gauge(to, "process_max_fds", "Limit of open descriptors.", figures.most_files);
}

void exposition_write(struct http *http, bool is_open_metrics, struct buffer *out)
{
    struct exposition to = {.out = out, .is_open_metrics = is_open_metrics};
    const struct http_source *source = &http->source;
    const char *commit = source->commit + strspn(source->commit, " (");

    exposition_family(&to, "prservd_build_info", "gauge", "The program; always 1.");
    buffer_append_format(out, "prservd_build_info{version=\"%s\",commit=\"%.*s\"} 1\n",
        source->version, (int)strcspn(commit, ")"), commit);
    exposition_requests(&to, source->metrics);
    exposition_connections(&to, source->metrics);
    exposition_commits(&to, source->commits);
    exposition_database(&to, http);
    exposition_audit(&to, source);
    exposition_upstream(&to, source->upstream);
    exposition_relay(&to, source->relay);
    exposition_process(&to, http);
    if (is_open_metrics)
        buffer_append_string(out, "# EOF\n");
}

/* SPDX-License-Identifier: MIT */
/* Which path is answered how, and the answers about health. */
#include "base/clock.h"
#include "http/http.h"

#include <stdio.h>
#include <string.h>

#define TURN_MS 2000  /* without a turn of the loop, the server is not healthy */
#define CHECK_MS 3000 /* without an answer from the database, it can't be read */
#define MAX_FIELDS 4

struct http_route {
    const char *path;
    void (*answer)(struct http *http, struct http_exchange *exchange);
    bool is_for_worker;
    const char *fields[MAX_FIELDS]; /* of the query, for the worker; up to the first NULL */
};

/* ---- health ---- */

static void routes_healthz(struct http *http, struct http_exchange *exchange)
{
    const uint64_t turned_ms = metric_get(&http->source.metrics->turned_ms);
    const uint64_t now_ms = clock_ms();
    const bool is_healthy = now_ms < turned_ms + TURN_MS;

    answer_begin(&exchange->answer, is_healthy ? 200 : 503, ANSWER_TEXT);
    if (is_healthy)
        buffer_append_string(&exchange->answer.body, "healthy\n");
    else
        buffer_append_format(&exchange->answer.body,
            "not healthy: the event loop has not turned for %llu s\n",
            (unsigned long long)(now_ms - turned_ms) / 1000);
}

/* Returns whether the database can be read. If not, writes the reason. */
static bool routes_is_readable(struct http *http, char *reason, size_t size)
{
    struct http_check *check = &http->check;
    const uint64_t began_ms = metric_get(&check->began_ms);
    const uint64_t now_ms = clock_ms();

    if (began_ms != 0 && now_ms >= began_ms + CHECK_MS) {
        (void)snprintf(reason, size, "the database has not answered for %llu s",
            (unsigned long long)(now_ms - began_ms) / 1000);
        return false;
    }
    if (metric_get(&check->is_readable) != 0)
        return true;
    (void)pthread_mutex_lock(&check->mutex);
    (void)snprintf(reason, size, "the database can't be read: %s",
        check->reason.text[0] ? check->reason.text : "it is not open yet");
    (void)pthread_mutex_unlock(&check->mutex);
    return false;
}

static void routes_readyz(struct http *http, struct http_exchange *exchange)
{
    struct buffer *body = &exchange->answer.body;
    struct http_audit audit;
    char reason[700];
    const bool is_ready = routes_is_readable(http, reason, sizeof reason) &&
                          http->source.is_ready(http->source.context, reason, sizeof reason);

    answer_begin(&exchange->answer, is_ready ? 200 : 503, ANSWER_TEXT);
    buffer_append_string(body, is_ready ? "ready" : "not ready: ");
    buffer_append_string(body, is_ready ? "" : reason);
    if (http->source.upstream)
        buffer_append_format(body, "\nupstream: %s",
            metric_get(&http->source.upstream->is_up) ? "up" : "down; what needs it waits");
    if (http->source.read_audit(http->source.context, &audit) && audit.is_failing)
        buffer_append_format(body, "\naudit log: %s", audit.failure.text);
    buffer_append_string(body, "\n");
}

static void routes_metrics(struct http *http, struct http_exchange *exchange)
{
    const char *accept =
        MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, "Accept");
    const bool is_open = accept && strstr(accept, "application/openmetrics-text");

    answer_begin(&exchange->answer, 200,
        is_open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                : "text/plain; version=0.0.4; charset=utf-8");
    exposition_write(http, is_open, &exchange->answer.body);
}

/* ---- the paths ---- */

static const struct http_route routes[] = {
    {"/healthz", routes_healthz, .is_for_worker = false},
    {"/readyz", routes_readyz, .is_for_worker = false},
    {"/metrics", routes_metrics, .is_for_worker = false},
    {"/api/v1/status", api_status, .is_for_worker = true},
    {"/api/v1/packages", api_packages, true, {"search", "after", "limit"}},
    {"/api/v1/package", api_package, true, {"version", "pkgarch", "limit"}},
    {"/api/v1/log", api_log, true, {"since", "limit"}},
    {"/api/v1/churn", api_churn, true, {"since", "limit"}},
};

static const struct http_route *routes_find(struct text path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (text_is(path, routes[i].path))
            return &routes[i];
    }
    return NULL;
}

static bool routes_has_field(const struct http_route *route, struct text name)
{
    for (size_t i = 0; i < MAX_FIELDS && route->fields[i]; i++) {
        if (text_is(name, route->fields[i]))
            return true;
    }
    return false;
}

/* Refuses fields that the route does not have: a misspelt one must not be ignored. */
static bool routes_check_fields(struct http_exchange *exchange)
{
    const struct query *query = &exchange->query;

    for (size_t i = 0; i < query->n_fields; i++) {
        if (!routes_has_field(exchange->route, query->fields[i].name)) {
            answer_set_error(&exchange->answer, 400, "the query has an unknown field");
            return false;
        }
    }
    return true;
}

/* Refuses what no path takes: other methods, and bodies. */
static bool routes_check_request(
    struct http_exchange *exchange, const char *method, const char *version)
{
    struct MHD_Connection *connection = exchange->connection;
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        answer_set_error(&exchange->answer, 405, "only GET and HEAD are allowed");
    else if ((length && strcmp(length, "0") != 0) ||
             MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding"))
        answer_set_error(&exchange->answer, 400, "a request must not have a body");
    else if (strcmp(version, "HTTP/1.1") == 0 &&
             !MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host"))
        answer_set_error(&exchange->answer, 400, "the Host header is missing");
    else
        return true;
    return false;
}

static bool routes_takes_gzip(struct MHD_Connection *connection)
{
    const char *accepted =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept-Encoding");

    return accepted && strstr(accepted, "gzip") && !strstr(accepted, "gzip;q=0");
}

/* Returns whether the client has the file already. */
static bool routes_is_known(struct MHD_Connection *connection, const struct page_file *file)
{
    const char *tag = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match");

    return tag && strstr(tag, file->tag);
}

static bool routes_answer_file(struct http_exchange *exchange)
{
    const struct page_file *file = page_find(exchange->query.path);

    if (!file)
        return false;
    answer_begin(&exchange->answer, routes_is_known(exchange->connection, file) ? 304 : 200,
        file->content_type);
    exchange->answer.file = file;
    exchange->answer.takes_gzip = routes_takes_gzip(exchange->connection);
    return true;
}

bool routes_begin(
    struct http *http, struct http_exchange *exchange, const char *method, const char *version)
{
    struct error error;

    if (!exchange->target) {
        answer_set_error(&exchange->answer, 503, "out of memory");
        return true;
    }
    if (!routes_check_request(exchange, method, version))
        return true;
    if (query_parse(&exchange->query, exchange->target, &error) != 0) {
        answer_set_error(&exchange->answer, 400, error.text);
        return true;
    }
    exchange->route = routes_find(exchange->query.path);
    if (!exchange->route) {
        if (!routes_answer_file(exchange))
            answer_set_error(&exchange->answer, 404, "not found; doc/http.md lists the paths");
        return true;
    }
    if (exchange->route->is_for_worker)
        return !routes_check_fields(exchange);
    exchange->route->answer(http, exchange);
    return true;
}

void routes_work(struct http *http, struct http_exchange *exchange)
{
    exchange->route->answer(http, exchange);
    if (buffer_failed(&exchange->answer.body))
        answer_set_error(&exchange->answer, 503, "out of memory");
}

/* SPDX-License-Identifier: MIT */
/* How the module gets the answer to get-stats, which only the loop's thread can write:
 *
 *     module's thread   wants ──uv_async_send──→ waits, at most STATUS_MS ──→ takes the text
 *     loop's thread                  └─→ writes the text, if the mutex is free; else again later
 *
 * The loop never waits for the mutex: the module's threads have the lowest priority. */
#include "server/http_host.h"

#include "base/clock.h"
#include "server/audit_reports.h"
#include "server/binding.h"
#include "server/http_module.h"
#include "server/http_upstream.h"
#include "version.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_MS 2000
#define STORE_WAIT_MS 500 /* for a connection or a lock, in one try */
#define MAX_SOCKETS 64

struct http_host {
    struct server_context server;
    struct log *log;
    struct listener_list listeners; /* added to while files is held */
    pthread_mutex_t files;
    int sockets[MAX_SOCKETS];
    size_t n_sockets;
    const struct http_module *module;
    struct http *http;              /* NULL: not started */
    struct audit_reports *reports;  /* NULL: no audit log */
    struct http_upstream *upstream; /* NULL: none */
    uv_async_t status_wanted;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t written;
    bool wants_status;
    bool has_status;
    struct buffer status;
};

/* ---- what the module asks ---- */

static int http_host_open_store(
    void *context, const atomic_ullong *deadline_ms, struct store **store, struct error *error)
{
    const struct http_host *host = context;
    struct store_options options;

    if (host->server.relay)
        return error_set(error, ERROR_LOCKED, "a relay has no database: ask the central server");
    options = *executor_store_options(host->server.executor);
    options.read_deadline_ms = deadline_ms;
    options.wait_ms = STORE_WAIT_MS;
    return store_open(store, &options, STORE_READER, error);
}

static bool http_host_is_ready(void *context, char *reason, size_t size)
{
    const struct http_host *host = context;
    struct readiness *readiness;

    if (host->server.relay) {
        (void)snprintf(reason, size, "the central server is away");
        return metric_get(&relay_metrics(host->server.relay)->is_up) != 0;
    }
    readiness = executor_readiness(host->server.executor);
    return !readiness || readiness_is_ready(readiness, reason, size);
}

static bool http_host_find_rows(void *context, uint64_t *rows, bool *is_estimate)
{
    const struct http_host *host = context;

    if (host->server.relay)
        return false;
    return row_count_find(executor_row_count(host->server.executor), rows, is_estimate);
}

static bool http_host_read_audit(void *context, struct http_audit *state)
{
    const struct http_host *host = context;
    struct audit *audit = host->server.audit;

    if (!audit)
        return false;
    state->n_dropped = audit_dropped(audit);
    state->is_failing = audit_find_failure(audit, &state->failure);
    return true;
}

static int http_host_count_rows(void *context, struct store *store, struct error *error)
{
    const struct http_host *host = context;
    struct row_count *count = executor_row_count(host->server.executor);
    const uint64_t n_added = row_count_added(count);
    uint64_t rows;
    bool is_estimate;
    int result;

    if (row_count_find(count, &rows, &is_estimate) && !row_count_take_turn(count))
        return 0;
    result = store_begin_read(store, NULL, STORE_BLOCK, error);
    if (result == 0)
        result = row_count_make(count, store, n_added, error);
    store_rollback(store);
    return result;
}

static void http_host_on_status_wanted(uv_async_t *async)
{
    struct http_host *host = async->data;

    if (pthread_mutex_trylock(&host->mutex) != 0) {
        (void)uv_async_send(async);
        return;
    }
    if (host->wants_status) {
        struct stats_view view = {.shows_addresses = true};

        if (!host->server.relay)
            (void)row_count_find(
                executor_row_count(host->server.executor), &view.rows, &view.rows_estimated);
        buffer_reset(&host->status, BUFFER_KEEP_BYTES);
        stats_write(host->server.stats, &view, &host->status);
        host->wants_status = false;
        host->has_status = true;
        (void)pthread_cond_signal(&host->written);
    }
    (void)pthread_mutex_unlock(&host->mutex);
}

static int http_host_write_status(void *context, struct buffer *out, struct error *error)
{
    struct http_host *host = context;
    const uint64_t until_ms = clock_ms() + STATUS_MS;
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int waited = 0;
    int result = 0;

    (void)pthread_mutex_lock(&host->mutex);
    host->wants_status = true;
    host->has_status = false;
    (void)uv_async_send(&host->status_wanted);
    while (!host->has_status && waited == 0)
        waited = pthread_cond_timedwait(&host->written, &host->mutex, &until);
    if (host->has_status)
        buffer_append_text(out, buffer_text(&host->status));
    else
        result = error_set(
            error, ERROR_LOCKED, "the server's loop has not answered for %d s", STATUS_MS / 1000);
    host->wants_status = false;
    (void)pthread_mutex_unlock(&host->mutex);
    return result;
}

static int http_host_find_upstream_greatest(void *context, struct text version, struct text pkgarch,
    struct buffer *greatest, struct error *error)
{
    const struct http_host *host = context;

    return http_upstream_find_greatest(host->upstream, version, pkgarch, greatest, error);
}

/* ---- start ---- */

static const struct http_module *http_host_load(struct error *error)
{
#ifdef PRSERVD_HTTP
    void *library = dlopen(PRSERVD_HTTP, RTLD_NOW | RTLD_LOCAL);
    const struct http_module *module = library ? dlsym(library, HTTP_MODULE_NAME) : NULL;

    if (!module)
        (void)error_set(
            error, ERROR_SYSTEM, "the module for --http can't be loaded: %s", dlerror());
    return module;
#else
    (void)error_set(error, ERROR_INPUT,
        "this prservd was built without HTTP (-Dhttp=disabled): start it without --http");
    return NULL;
#endif
}

/* Returns whether only this machine can connect to the address. */
static bool http_host_is_local(const struct listener *listener)
{
    return strncmp(listener->name, "unix:", 5) == 0 || strncmp(listener->name, "127.", 4) == 0 ||
           strncmp(listener->name, "[::1]", 5) == 0;
}

static int http_host_open_sockets(
    struct http_host *host, const struct address *address, struct error *error)
{
    struct addrinfo *resolved = NULL;
    int result = binding_resolve(address, &resolved, error);

    (void)pthread_mutex_lock(&host->files);
    if (result == 0)
        result = binding_open(&host->listeners, address, resolved, false, host->log, error);
    (void)pthread_mutex_unlock(&host->files);
    if (resolved)
        freeaddrinfo(resolved);
    return result;
}

static int http_host_bind_all(struct http_host *host, const struct address *addresses,
    size_t n_addresses, struct error *error)
{
    struct listener *listener;
    int result = 0;

    for (size_t i = 0; i < n_addresses && result == 0; i++)
        result = http_host_open_sockets(host, &addresses[i], error);
    if (result != 0)
        return result;
    TAILQ_FOREACH (listener, &host->listeners, entry) {
        if (host->n_sockets == MAX_SOCKETS)
            return error_set(error, ERROR_SYSTEM, "too many addresses for --http");
        host->sockets[host->n_sockets++] = listener->descriptor;
    }
    return 0;
}

int http_host_bind(struct http_host *host, const struct address *addresses, size_t n_addresses,
    struct error *error)
{
    host->module = http_host_load(error);
    return host->module ? http_host_bind_all(host, addresses, n_addresses, error) : ERROR_SYSTEM;
}

struct http_host *http_host_create(uv_loop_t *loop, struct log *log)
{
    struct http_host *host = calloc(1, sizeof *host);
    pthread_condattr_t attributes;

    if (!host)
        return NULL;
    host->log = log;
    TAILQ_INIT(&host->listeners);
    (void)pthread_mutex_init(&host->files, NULL);
    (void)pthread_mutex_init(&host->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&host->written, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)uv_async_init(loop, &host->status_wanted, http_host_on_status_wanted);
    uv_unref((uv_handle_t *)&host->status_wanted);
    host->status_wanted.data = host;
    return host;
}

static void http_host_log_addresses(const struct http_host *host)
{
    const struct listener *listener;

    TAILQ_FOREACH (listener, &host->listeners, entry) {
        const bool is_unix = strncmp(listener->name, "unix:", 5) == 0;

        log_write(host->log, LOG_INFO, "Serving HTTP on %s%s%s", is_unix ? "" : "http://",
            listener->name, is_unix ? "" : "/");
        if (!http_host_is_local(listener))
            log_write(host->log, LOG_WARNING,
                "HTTP on %s shows names and addresses of build hosts to everybody who can connect; "
                "bind --http to 127.0.0.1 or a unix socket, and put a proxy with passwords before "
                "it",
                listener->name);
    }
}

int http_host_start(struct http_host *host, const struct server_context *server, const char *commit,
    struct error *error)
{
    const bool has_database = server->executor != NULL;
    struct readiness *readiness = has_database ? executor_readiness(server->executor) : NULL;
    const struct store_options *store =
        has_database ? executor_store_options(server->executor) : NULL;
    /* Of a read-only database, another server may write one. */
    const bool has_audit = server->audit || server->read_only;
    int result = has_audit ? audit_reports_create(&host->reports, store, error) : 0;
    const struct http_options options = {
        .sockets = host->sockets,
        .n_sockets = host->n_sockets,
        .source =
            {
                .context = host,
                .version = PRSERVD_VERSION,
                .commit = commit,
                .file = store && store_kind_of(store->file) == STORE_SQLITE ? store->file : NULL,
                .metrics = server->stats->metrics,
                .commits = readiness ? &readiness->metrics : NULL,
                .is_rolled_back = readiness ? &readiness->is_rolled_back : NULL,
                .upstream = server->upstream ? upstream_metrics(server->upstream) : NULL,
                .relay = server->relay ? relay_metrics(server->relay) : NULL,
                .reports = host->reports ? audit_reports_functions(host->reports) : NULL,
                .open_store = http_host_open_store,
                .is_ready = http_host_is_ready,
                .find_rows = http_host_find_rows,
                .read_audit = http_host_read_audit,
                .count_rows = http_host_count_rows,
                .write_status = http_host_write_status,
                .find_upstream_greatest =
                    server->upstream ? http_host_find_upstream_greatest : NULL,
            },
        .log = host->log,
    };

    host->server = *server;
    if (server->upstream)
        host->upstream = http_upstream_create(host->status_wanted.loop, server->upstream);
    if (result == 0 && server->upstream && !host->upstream)
        result = error_set_memory(error);
    if (result == 0)
        result = host->module->start(&host->http, &options, error);
    if (result == 0)
        http_host_log_addresses(host);
    return result;
}

/* ---- end ---- */

void http_host_remove_files(struct http_host *host)
{
    const struct listener *listener;

    (void)pthread_mutex_lock(&host->files); /* and kept: no file is created any more */
    TAILQ_FOREACH (listener, &host->listeners, entry)
        binding_remove_file(listener);
}

void http_host_stop(struct http_host *host)
{
    if (!host)
        return;
    http_upstream_stop(host->upstream);
    if (host->http)
        host->module->stop(host->http);
    host->http = NULL;
    http_upstream_close(host->upstream);
    host->upstream = NULL;
}

static void http_host_on_closed(uv_handle_t *handle)
{
    struct http_host *host = handle->data;

    audit_reports_free(host->reports);
    buffer_free(&host->status);
    (void)pthread_cond_destroy(&host->written);
    (void)pthread_mutex_destroy(&host->mutex);
    (void)pthread_mutex_destroy(&host->files);
    free(host);
}

void http_host_free(struct http_host *host)
{
    struct listener *listener;

    if (!host)
        return;
    http_host_stop(host);
    while ((listener = TAILQ_FIRST(&host->listeners))) {
        TAILQ_REMOVE(&host->listeners, listener, entry);
        binding_close(listener);
        free(listener);
    }
    uv_close((uv_handle_t *)&host->status_wanted, http_host_on_closed);
}

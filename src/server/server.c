/* SPDX-License-Identifier: MIT */
/* Connects the modules around one loop.
 *
 * Stopping: accept no more connections; refuse requests that wait for the upstream or for a lock;
 * answer all others that have arrived; close what is left after SERVER_STOP_MS. The loop ends when
 * the last connection is closed.
 *
 * With inherited sockets another process takes over, and no client should get an error that
 * only this stop causes: requests may continue to wait for the upstream or for a lock, and what
 * has no answer after SERVER_STOP_MS is closed without one. BitBake's client then asks again at
 * once, and waits in the backlog. */
#include "server/server_state.h"

#include "base/clock.h"
#include "server/connection.h"
#include "server/thread_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DEADLINE_CHECK_MS 1000
#define DEADLINE_CHECK_STOPPING_MS 100
#define CLOSE_MS 500        /* for libuv to close its handles */
#define MAX_ROUNDS_A_TURN 4 /* of work that makes more work, before input is read again */

/* ---- events ---- */

void server_wake(void *jobs_done)
{
    (void)uv_async_send(jobs_done);
}

static void server_on_jobs_done(uv_async_t *async)
{
    struct server *server = async->data;

    executor_deliver(server->executor);
}

static void server_on_accepted(
    void *context, int descriptor, const struct listener_options *options)
{
    struct server *server = context;

    connection_open(&server->connections, descriptor, options);
}

static bool server_make_room(void *context)
{
    struct server *server = context;

    return connections_make_room(&server->connections, connection_give_way);
}

static bool server_is_full(void *context)
{
    const struct server *server = context;

    return connections_are_full(&server->connections);
}

static size_t server_count_connections(void *context)
{
    const struct server *server = context;

    return server->connections.n_open;
}

void server_on_connection_closed(void *context)
{
    struct server *server = context;

    listeners_resume(&server->listeners);
}

static void server_do_nothing(uv_idle_t *idle)
{
    (void)idle;
}

/* Copies what other threads may ask. */
static void server_publish(struct server *server)
{
    struct metrics *metrics = &server->metrics;

    metric_set(&metrics->turned_ms, clock_ms());
    metric_set(&metrics->n_open, server->connections.n_open);
    metric_set(&metrics->n_accepted, server->connections.n_accepted);
    metric_set(&metrics->n_refused, server->connections.n_refused);
    metric_set(&metrics->n_tls_failures, server->connections.n_tls_failures);
    metric_set(&metrics->memory_used_bytes, budget_used(&server->budget));
}

/* Works on what was asked for. Returns true if that has made more work. */
static bool server_work(struct server *server)
{
    bool has_more = false;

    if (server->relay) {
        relay_turn(server->relay);
        return false;
    }
    if (server->upstream && upstream_turn(server->upstream))
        has_more = true;
    exports_turn(&server->exports);
    return executor_turn(server->executor) || has_more;
}

/* Does the work of a turn, after the events of the loop and before it waits. */
static void server_on_turn_end(uv_prepare_t *prepare)
{
    struct server *server = prepare->data;
    bool has_more = true;

    for (int round = 0; round < MAX_ROUNDS_A_TURN && has_more; round++) {
        has_more = connections_turn(&server->connections, connection_process);
        if (server_work(server))
            has_more = true;
    }
    if (connections_negotiate(&server->connections, connection_process))
        has_more = true;
    server_publish(server);
    if (has_more)
        (void)uv_idle_start(&server->busy, server_do_nothing);
    else
        (void)uv_idle_stop(&server->busy);
    if (server->connections.is_stopping && server->connections.n_open == 0)
        uv_stop(&server->loop);
}

/* Refuses requests that wait for the upstream or for a lock. */
static void server_refuse_waiting(struct server *server)
{
    if (server->relay)
        relay_refuse_waiting(server->relay);
    if (server->executor)
        executor_begin_shutdown(server->executor);
    if (server->upstream)
        upstream_refuse(server->upstream, "the server is stopping");
}

static bool server_is_ready(const struct server *server, char *reason, size_t size)
{
    struct readiness *readiness = server->relay ? NULL : executor_readiness(server->executor);

    if (server->relay)
        return relay_is_up(server->relay, reason, size);
    return !readiness || readiness_is_ready(readiness, reason, size);
}

/* Tells in a line how the server is, for the service manager. */
static void server_tell(struct server *server)
{
    uint64_t n_requests = 0;
    char reason[300];
    char summary[400];

    if (!server->options.on_tick)
        return;
    for (int kind = 0; kind < REQUEST_KINDS; kind++)
        n_requests += server->stats.requests[kind];
    if (!server_is_ready(server, reason, sizeof reason))
        (void)snprintf(summary, sizeof summary, "Not ready: %s", reason);
    else
        (void)snprintf(summary, sizeof summary, "Ready: %zu clients, %llu requests so far",
            server->connections.n_open, (unsigned long long)n_requests);
    server->options.on_tick(summary);
}

static void server_check_deadlines(uv_timer_t *timer)
{
    struct server *server = timer->data;

    log_catch_up(server->options.log);
    if (server->executor)
        executor_tick(server->executor);
    if (server->audit)
        audit_tick(server->audit);
    server_tell(server);
    server_tls_tick(&server->tls, &server->metrics);
    heap_release(&server->heap, clock_ms());
    connections_tick(&server->connections);
    if (server->connections.is_stopping && clock_ms() >= server->stop_deadline_ms)
        connections_each(&server->connections, connection_abort);
    else
        connections_each(&server->connections, connection_check_deadline);
}

static void server_on_stop_asked(uv_async_t *async)
{
    struct server *server = async->data;

    if (server->connections.is_stopping)
        return;
    server->stop_deadline_ms = clock_ms() + SERVER_STOP_MS;
    listeners_close(&server->listeners);
    if (server->options.n_inherited == 0)
        server_refuse_waiting(server);
    server->connections.is_stopping = true;
    connections_each(&server->connections, connection_stop);
    (void)uv_timer_start(&server->deadline_timer, server_check_deadlines,
        DEADLINE_CHECK_STOPPING_MS, DEADLINE_CHECK_STOPPING_MS);
}

/* ---- start ---- */

static void server_start_handles(struct server *server)
{
    const struct listeners_events events = {.accepted = server_on_accepted,
        .make_room = server_make_room,
        .is_full = server_is_full,
        .count = server_count_connections,
        .context = server};

    listeners_init(&server->listeners, &server->loop, server->options.log, &events);
    (void)uv_async_init(&server->loop, &server->jobs_done, server_on_jobs_done);
    (void)uv_async_init(&server->loop, &server->stop_asked, server_on_stop_asked);
    (void)uv_prepare_init(&server->loop, &server->turn_end);
    (void)uv_idle_init(&server->loop, &server->busy);
    (void)uv_timer_init(&server->loop, &server->deadline_timer);
    server->jobs_done.data = server->stop_asked.data = server;
    server->turn_end.data = server->deadline_timer.data = server;
    (void)uv_prepare_start(&server->turn_end, server_on_turn_end);
    (void)uv_timer_start(
        &server->deadline_timer, server_check_deadlines, DEADLINE_CHECK_MS, DEADLINE_CHECK_MS);
}

void server_prepare_process(void)
{
    thread_pool_set_size();
}

int server_create(
    struct server **server_out, const struct server_options *options, struct error *error)
{
    struct server *server = calloc(1, sizeof *server);
    int result;

    *server_out = NULL;
    if (!server)
        return error_set_memory(error);
    server->options = *options;
    result = uv_loop_init(&server->loop);
    if (result != 0) {
        free(server);
        return error_set(error, ERROR_SYSTEM, "can't start: %s", uv_strerror(result));
    }
    server_start_handles(server);
    if (options->n_http > 0)
        server->http = http_host_create(&server->loop, options->log);
    if (options->n_http > 0 && !server->http) {
        (void)server_free(server);
        return error_set_memory(error);
    }
    *server_out = server;
    return 0;
}

void server_remove_sockets(struct server *server)
{
    listeners_remove_files(&server->listeners);
    if (server->http)
        http_host_remove_files(server->http);
}

/* ---- running and end ---- */

void server_write_addresses(const struct server *server, struct buffer *out)
{
    const struct listener *listener;

    TAILQ_FOREACH (listener, &server->listeners.all, entry) {
        buffer_append_string(out, listener->name);
        buffer_append_string(out, "\n");
    }
}

void server_reload(struct server *server)
{
    server_tls_reload(&server->tls);
}

void server_start(struct server *server)
{
    listeners_start(&server->listeners);
}

void server_stop(struct server *server)
{
    (void)uv_async_send(&server->stop_asked);
}

void server_run(struct server *server)
{
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
}

/* Closes everything, when no connection is left. Calls still under way come back and are freed. */
static void server_close_handles(struct server *server)
{
    http_host_stop(server->http);
    server_refuse_waiting(server);
    if (server->relay)
        relay_refuse(server->relay, "the server is stopping");
    if (server->upstream)
        (void)upstream_turn(server->upstream);
    message_reader_close(&server->messages);
    executor_free(server->executor);
    server->executor = NULL;
    audit_stop(server->audit);
    server->audit = NULL;
    upstream_close(server->upstream);
    server->upstream = NULL;
    relay_close(server->relay);
    server->relay = NULL;
    listeners_close(&server->listeners);
    http_host_free(server->http);
    server->http = NULL;
    connections_close(&server->connections);
    uv_close((uv_handle_t *)&server->jobs_done, NULL);
    uv_close((uv_handle_t *)&server->stop_asked, NULL);
    uv_close((uv_handle_t *)&server->turn_end, NULL);
    uv_close((uv_handle_t *)&server->busy, NULL);
    uv_close((uv_handle_t *)&server->deadline_timer, NULL);
}

/* Runs the loop until all handles are closed. Returns false if that takes too long. */
static bool server_run_until_closed(struct server *server)
{
    uint64_t deadline_ms = clock_ms() + CLOSE_MS;
    const struct timespec pause = {.tv_nsec = 1000000};

    while (uv_run(&server->loop, UV_RUN_NOWAIT) != 0) {
        if (clock_ms() >= deadline_ms)
            return false;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

bool server_free(struct server *server)
{
    if (!server)
        return true;
    server_close_handles(server);
    if (!server_run_until_closed(server))
        return false;
    (void)uv_loop_close(&server->loop);
    exports_deinit(&server->exports);
    server_tls_close(&server->tls);
    free(server);
    return true;
}

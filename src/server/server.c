/* Puts the rooms together around one loop.
 *
 * Stopping, on SIGTERM or SIGINT: accept no more; refuse what waits for the upstream
 * or for a lock; answer everything else that has come; after STOP_MS close what is
 * left. The loop ends when the last connection is closed.
 *
 * With inherited sockets there is a next process, and no client is to hear an error
 * that this one need not give: what waits for the upstream or for a lock may go on, and
 * what has no answer after STOP_MS is closed without one. BitBake's client then asks
 * again at once, and waits in the backlog. */
#include "server/server.h"

#include "base/clock.h"
#include "exec/executor.h"
#include "server/connections.h"
#include "server/listener.h"
#include "server/service.h"
#include "server/stats.h"
#include "server/upstream.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SWEEP_MS 1000
#define SWEEP_STOPPING_MS 100
#define STOP_MS 3000
#define RUN_OUT_MS 500
#define PASSES 4
#define EXPORTS 16 /* at once */

struct server {
    struct server_options options;
    uv_loop_t loop;
    struct executor *executor;
    struct upstream *upstream;
    struct listeners *listeners;
    struct connections connections;
    struct budget budget;
    struct turns exports;
    struct stats stats;
    uv_async_t jobs_done;
    uv_prepare_t turn;
    uv_idle_t hurry; /* active: the loop must not wait */
    uv_timer_t sweep;
    uv_signal_t signals[3];
    bool stopping;
    uint64_t stop_until_ms;
};

/* ---- events ---- */

static void wake(void *context)
{
    struct server *server = context;

    (void)uv_async_send(&server->jobs_done);
}

static void jobs_done(uv_async_t *async)
{
    struct server *server = async->data;

    executor_deliver(server->executor);
}

static void accepted(void *context, int descriptor, bool read_only)
{
    struct server *server = context;

    connections_add(&server->connections, descriptor, read_only);
}

static void connection_closed(void *context)
{
    struct server *server = context;

    if (server->listeners)
        listeners_resume(server->listeners);
}

static void write_stats(void *context, uint64_t rows, struct buffer *out)
{
    const struct server *server = context;

    stats_write(&server->stats, rows, out);
}

static void do_nothing(uv_idle_t *idle)
{
    (void)idle;
}

/* The end of each turn of the loop, before it waits. */
static void end_turn(uv_prepare_t *prepare)
{
    struct server *server = prepare->data;
    bool more = true;

    for (int pass = 0; pass < PASSES && more; pass++) {
        more = connections_turn(&server->connections);
        if (server->upstream && upstream_turn(server->upstream))
            more = true;
        if (executor_turn(server->executor))
            more = true;
    }
    if (more)
        (void)uv_idle_start(&server->hurry, do_nothing);
    else
        (void)uv_idle_stop(&server->hurry);
    if (server->stopping && connections_count(&server->connections) == 0)
        uv_stop(&server->loop);
}

/* What waits for somebody else gets an error. */
static void refuse_waiting(struct server *server)
{
    executor_hurry(server->executor);
    if (server->upstream)
        upstream_refuse(server->upstream, "the server is stopping");
}

static void sweep(uv_timer_t *timer)
{
    struct server *server = timer->data;

    log_catch_up(server->options.log);
    if (server->stopping && clock_ms() >= server->stop_until_ms)
        connections_close(&server->connections);
    else
        connections_check_deadlines(&server->connections);
}

static void stop(struct server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    server->stop_until_ms = clock_ms() + STOP_MS;
    listeners_close(server->listeners);
    server->listeners = NULL;
    if (server->options.n_inherited == 0)
        refuse_waiting(server);
    connections_stop(&server->connections);
    (void)uv_timer_start(&server->sweep, sweep, SWEEP_STOPPING_MS, SWEEP_STOPPING_MS);
}

static void signalled(uv_signal_t *signal, int number)
{
    struct server *server = signal->data;

    if (number == SIGHUP) {
        server->options.tell(SERVER_RELOADING);
        log_reopen(server->options.log);
        log_write(server->options.log, LOG_INFO, "Opened the log again (SIGHUP)");
        server->options.tell(SERVER_SERVING);
        return;
    }
    server->options.tell(SERVER_STOPPING);
    log_write(server->options.log, LOG_INFO, "Stopping (%s)", strsignal(number));
    stop(server);
}

/* ---- start ---- */

static void start_handles(struct server *server)
{
    (void)uv_async_init(&server->loop, &server->jobs_done, jobs_done);
    (void)uv_prepare_init(&server->loop, &server->turn);
    (void)uv_idle_init(&server->loop, &server->hurry);
    (void)uv_timer_init(&server->loop, &server->sweep);
    server->jobs_done.data = server->turn.data = server->sweep.data = server;
    (void)uv_prepare_start(&server->turn, end_turn);
    (void)uv_timer_start(&server->sweep, sweep, SWEEP_MS, SWEEP_MS);
    for (int i = 0; i < 3; i++) {
        (void)uv_signal_init(&server->loop, &server->signals[i]);
        server->signals[i].data = server;
    }
}

static void heed_signals(struct server *server)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

    for (int i = 0; i < 3; i++)
        (void)uv_signal_start(&server->signals[i], signalled, numbers[i]);
}

/* An IPv6 wildcard takes IPv4 too, unless a listener of its own asks for that port. */
static bool is_v6_only(const struct server_options *options, const struct address *address)
{
    for (size_t i = 0; i < options->n_listeners; i++) {
        const struct address *other = &options->listeners[i].address;

        if (!other->is_unix && other->port == address->port && !strchr(other->host, ':'))
            return true;
    }
    return false;
}

static int bind_all(struct server *server, struct error *error)
{
    const struct server_options *options = &server->options;
    const struct listeners_events events = {.accepted = accepted, .context = server};
    int result = listeners_create(&server->listeners, &server->loop, &events, options->log, error);

    for (size_t i = 0; i < options->n_listeners && result == 0; i++) {
        const struct server_listener *listener = &options->listeners[i];

        result = listeners_bind(server->listeners, &listener->address, listener->read_only,
            is_v6_only(options, &listener->address), error);
    }
    for (size_t i = 0; i < options->n_inherited && result == 0; i++)
        result = listeners_adopt(server->listeners, options->inherited[i].descriptor,
            options->inherited[i].read_only, error);
    return result;
}

/* The addresses first: a start that can't have them leaves the database alone. */
static int open_rooms(struct server *server, struct error *error)
{
    const struct server_options *options = &server->options;
    const struct executor_options executor_options = {
        .file = options->file,
        .file_read = options->file_read,
        .read_only = options->read_only,
        .sync = options->sync,
        .log = options->log,
        .wake = wake,
        .context = server,
    };
    struct service service = {
        .log = options->log,
        .read_only = options->read_only,
        .counts = &server->stats.counts,
        .budget = &server->budget,
        .exports = &server->exports,
        .write_stats = write_stats,
        .stats_context = server,
    };
    int result = bind_all(server, error);

    budget_init(&server->budget, options->max_memory_bytes);
    turns_init(&server->exports, EXPORTS);
    if (result == 0)
        result = executor_create(&server->executor, &executor_options, error);
    if (result == 0 && options->upstream)
        result = upstream_create(
            &server->upstream, &server->loop, options->upstream, options->log, error);
    server->stats.read_only = options->read_only;
    server->stats.database =
        store_kind_of(options->file) == STORE_POSTGRESQL ? "postgresql" : "sqlite";
    server->stats.started_ms = clock_ms();
    server->stats.executor = server->executor;
    server->stats.upstream = server->upstream;
    server->stats.connections = &server->connections;
    service.executor = server->executor;
    service.upstream = server->upstream;
    connections_init(&server->connections, &server->loop, &service, options->max_message_bytes,
        connection_closed, server);
    return result;
}

int server_create(struct server **result, const struct server_options *options, struct error *error)
{
    struct server *server = calloc(1, sizeof *server);
    int code;

    *result = NULL;
    if (!server)
        return error_set_memory(error);
    server->options = *options;
    code = uv_loop_init(&server->loop);
    if (code != 0) {
        free(server);
        return error_set(error, ERROR_SYSTEM, "can't start: %s", uv_strerror(code));
    }
    start_handles(server);
    code = open_rooms(server, error);
    if (code != 0) {
        (void)server_free(server);
        return code;
    }
    *result = server;
    return 0;
}

/* ---- running and end ---- */

void server_start(struct server *server)
{
    heed_signals(server);
    listeners_start(server->listeners);
    server->options.tell(SERVER_SERVING);
}

void server_run(struct server *server)
{
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
}

/* No connection is left. What is still under way comes back here, to be freed. */
static void close_handles(struct server *server)
{
    if (server->executor)
        refuse_waiting(server);
    if (server->upstream)
        (void)upstream_turn(server->upstream);
    executor_free(server->executor);
    server->executor = NULL;
    upstream_close(server->upstream);
    server->upstream = NULL;
    listeners_close(server->listeners);
    server->listeners = NULL;
    uv_close((uv_handle_t *)&server->jobs_done, NULL);
    uv_close((uv_handle_t *)&server->turn, NULL);
    uv_close((uv_handle_t *)&server->hurry, NULL);
    uv_close((uv_handle_t *)&server->sweep, NULL);
    for (int i = 0; i < 3; i++)
        uv_close((uv_handle_t *)&server->signals[i], NULL);
}

/* Runs the loop until everything is closed, but not for long. */
static bool run_out(struct server *server)
{
    uint64_t until_ms = clock_ms() + RUN_OUT_MS;
    const struct timespec pause = {.tv_nsec = 1000000};

    while (uv_run(&server->loop, UV_RUN_NOWAIT) != 0) {
        if (clock_ms() >= until_ms)
            return false;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

bool server_free(struct server *server)
{
    if (!server)
        return true;
    close_handles(server);
    if (!run_out(server))
        return false;
    (void)uv_loop_close(&server->loop);
    free(server);
    return true;
}

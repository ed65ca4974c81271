/* SPDX-License-Identifier: MIT */
/* The start of a server: from its options to its modules. */
#include "base/clock.h"
#include "server/server_bind.h"
#include "server/server_state.h"
#include "server/thread_pool.h"

#include <stdio.h>

static void server_init_connections(struct server *server)
{
    const struct server_context context = {
        .executor = server->executor,
        .upstream = server->upstream,
        .audit = server->audit,
        .relay = server->relay,
        .log = server->options.log,
        .read_only = server->options.read_only,
        .history = server->options.history,
        .has_replica = server->options.file_read != NULL,
        .max_message_bytes = server->options.max_message_bytes,
        .messages = &server->messages,
        .stats = &server->stats,
        .budget = &server->budget,
        .exports = &server->exports,
    };

    if (!server->relay)
        server->stats.database =
            store_kind_of(server->options.file) == STORE_POSTGRESQL ? "postgresql" : "sqlite";
    server->stats.started_ms = clock_ms();
    server->stats.metrics = &server->metrics;
    metric_set(&server->metrics.turned_ms, clock_ms());
    metric_set(&server->metrics.memory_limit_bytes, server->options.max_memory_bytes);
    server->stats.connections = &server->connections;
    server->stats.listeners = &server->listeners;
    budget_init(&server->budget, server->options.max_memory_bytes);
    exports_init(&server->exports, server->executor, &server->budget);
    message_reader_init(&server->messages, &server->loop);
    connections_init(&server->connections, &server->loop, &context,
        server->options.max_message_bytes, server_on_connection_closed, server);
    server->connections.max_connections = server->options.max_connections;
    server->connections.idle_ms = (uint64_t)server->options.idle_timeout_s * 1000;
    server->connections.tls = server->tls.listeners;
    server->connections.counts_addresses = server_counts_addresses(&server->options);
    address_limits_init(
        &server->connections.limits, server->options.max_requests_per_second_per_address);
}

/* Returns the name of the database, for the upstream. */
static const char *server_instance(void *context)
{
    const struct server *server = context;

    return executor_instance(server->executor);
}

/* Starts the audit log, and notes rows that the start has taken over. */
static int server_start_audit(struct server *server, struct error *error)
{
    const struct audit_options options = {
        .file = server->options.file,
        .keep_days = server->options.audit_keep_days,
        .log = server->options.log,
    };
    uint64_t n_taken_over;
    char rows[24];
    int result;

    if (!server->options.audit || server->options.read_only)
        return 0;
    n_taken_over = executor_taken_over(server->executor);
    result = audit_start(&server->audit, &options, error);
    if (result != 0 || n_taken_over == 0)
        return result;
    (void)snprintf(rows, sizeof rows, "%llu", (unsigned long long)n_taken_over);
    audit_note_revision(
        server->audit, &(struct audit_revision){.request = AUDIT_TAKEOVER, .value = text_of(rows)});
    return 0;
}

/* Returns whether libuv's threads are needed: to resolve names, or to read long messages. */
static bool server_needs_threads(const struct server_options *options)
{
    return options->upstream || options->forward ||
           options->max_message_bytes > MESSAGE_READER_LEAST_BYTES;
}

static int server_open_upstream(struct server *server, struct error *error)
{
    const struct upstream_options options = {
        .address = server->options.upstream,
        .tls = server->tls.upstream,
        .patience_ms = server->options.patience_ms,
        .log = server->options.log,
        .instance = server_instance,
        .context = server,
    };

    return server->options.upstream
               ? upstream_create(&server->upstream, &server->loop, &options, error)
               : 0;
}

/* Opens the database, and what works with it. */
static int server_open_database(struct server *server, struct error *error)
{
    const struct server_options *options = &server->options;
    const struct store_options store_options = {
        .file = options->file,
        .file_read = options->file_read,
        .read_only = options->read_only,
        .sync = options->sync,
        .stale_ok = options->stale_ok,
        .patience_ms = options->patience_ms,
        .new_database = options->new_database,
        .accept_rollback = options->accept_rollback,
        .state_dir = options->state_dir,
        .log = options->log,
        .tell_waiting = options->tell_waiting,
        .tell_context = options->tell_context,
        .on_loss = options->on_loss,
    };
    int result =
        executor_create(&server->executor, &store_options, server_wake, &server->jobs_done, error);

    if (result == 0)
        result = server_open_upstream(server, error);
    return result == 0 ? server_start_audit(server, error) : result;
}

static int server_open_relay(struct server *server, struct error *error)
{
    const struct relay_options options = {
        .address = server->options.forward,
        .tls = server->tls.upstream,
        .patience_ms = server->options.patience_ms,
        .annotations = server->options.annotations,
        .log = server->options.log,
    };

    return relay_create(&server->relay, &server->loop, &options, error);
}

int server_open(struct server *server, struct error *error)
{
    const struct server_options *options = &server->options;
    int result = server_tls_open(&server->tls, options, error);

    if (result == 0)
        result = server_bind(&server->listeners, server->http, options, error);
    if (result == 0 && server_needs_threads(options))
        result = thread_pool_start(&server->loop, &server->pool_start, error);
    if (result == 0)
        result = options->forward ? server_open_relay(server, error)
                                  : server_open_database(server, error);
    if (result == 0)
        server_init_connections(server);
    if (result == 0 && server->http)
        result = http_host_start(server->http, &server->connections.server, options->commit, error);
    return result;
}

/* SPDX-License-Identifier: MIT */
/* The state of a server, shared by server.c and server_open.c. Only they include this. */
#ifndef PRSERVD_SERVER_STATE_H
#define PRSERVD_SERVER_STATE_H

#include "audit/audit.h"
#include "base/heap.h"
#include "exec/executor.h"
#include "relay/relay.h"
#include "server/connections.h"
#include "server/http_host.h"
#include "server/listener.h"
#include "server/message_reader.h"
#include "server/server.h"
#include "server/server_context.h"
#include "server/server_tls.h"
#include "server/stats.h"
#include "upstream/upstream.h"

struct server {
    struct server_options options;
    uv_loop_t loop;
    struct executor *executor;
    struct upstream *upstream;
    struct audit *audit; /* NULL: none */
    struct relay *relay; /* NULL: this is none; otherwise executor and upstream are NULL */
    struct listeners listeners;
    struct connections connections;
    struct budget budget;
    struct heap heap;
    struct exports exports;
    struct message_reader messages;
    struct stats stats;
    struct metrics metrics;
    struct http_host *http; /* NULL: none */
    struct server_tls tls;
    uv_async_t jobs_done;
    uv_async_t stop_asked;
    uv_work_t pool_start;
    uv_prepare_t turn_end;
    uv_idle_t busy; /* while active, the loop does not wait */
    uv_timer_t deadline_timer;
    uint64_t stop_deadline_ms; /* while connections.is_stopping */
};

/* Has the loop deliver finished jobs; context is its jobs_done. From any thread. */
void server_wake(void *jobs_done);

/* A connection was closed. */
void server_on_connection_closed(void *context);

#endif

/* SPDX-License-Identifier: MIT */
/* The connections to an upstream, and which request goes over which of them.
 *
 *     opened ──→ CONNECTING ──→ CHECKING ──→ READY ──→ closed
 *                     │            │
 *                     └── failed ──┴──→ closed: an attempt that failed
 *
 * CHECKING sends is-readonly, whose answer says that the upstream is alive and what it is; nothing
 * else is sent before. Each connection has a role:
 *
 *     SHARED    carries all new requests, pipelined. There is one at most. If a request has had no
 *               answer for 1 s, the connection becomes SLOW, and the requests behind the first
 *               one go over a new shared connection.
 *     SLOW      waits for the answer to one request
 *     SOLITARY  carries suspects, one at a time: requests that were under way when a connection
 *               broke. If one of them is the reason, it breaks only its own connection.
 *     PROBE     a ping: only finds out whether the upstream is alive
 *
 * A PROBE or SOLITARY that has no more to do becomes SHARED, if there is no such connection, and is
 * closed otherwise. On the loop's thread. */
#ifndef PRSERVD_UPSTREAM_POOL_H
#define PRSERVD_UPSTREAM_POOL_H

#include "base/address.h"
#include "base/log.h"
#include "upstream/upstream_conn.h"
#include "upstream/upstream_requests.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

enum upstream_role {
    UPSTREAM_PROBE,
    UPSTREAM_SHARED,
    UPSTREAM_SLOW,
    UPSTREAM_SOLITARY,
    UPSTREAM_ROLES
};

struct upstream_channel;
TAILQ_HEAD(upstream_channel_list, upstream_channel);

/* They are not called from a function of this header, except that attempt_failed may be called from
 * upstream_pool_send, upstream_pool_try and upstream_pool_check. */
struct upstream_pool_events {
    /* A connection did not become READY. began_ms: when it was opened. */
    void (*attempt_failed)(
        void *context, enum upstream_failure failure, const char *reason, uint64_t began_ms);
    /* The upstream said what it is. is_new: on a new connection. Returns false to refuse it: all
     * connections are closed, and their requests are unsent again. */
    bool (*checked)(void *context, const struct codec_peer *peer, bool is_new);
    /* Questions have ended: answered, or refused for this reason. */
    void (*answered)(void *context, struct upstream_question_list *questions);
    void (*refused)(void *context, struct upstream_question_list *questions, const char *reason);
    void *context;
};

struct upstream_pool {
    uv_loop_t *loop;
    const struct upstream_target *target;
    const char *name; /* of the upstream, for the log */
    struct log *log;
    struct upstream_pool_events events;
    struct upstream_requests requests;
    struct upstream_channel_list channels;
    struct upstream_channel *shared; /* NULL: none */
    unsigned n_channels;
    unsigned n_attempts; /* channels that are not READY */
    unsigned n_in_role[UPSTREAM_ROLES];
    uint64_t alive_ms;         /* when the last message came */
    uint64_t attempted_ms;     /* when the last attempt began */
    uint64_t suspects_from_ms; /* no suspect is sent before */
};

/* Prepares a pool without connections. What the arguments point to is borrowed. */
void upstream_pool_init(struct upstream_pool *pool, uv_loop_t *loop,
    const struct upstream_target *target, const char *name, struct log *log,
    const struct upstream_pool_events *events);

/* Frees the memory, when all channels are closed and no request is left. */
void upstream_pool_deinit(struct upstream_pool *pool);

/* Sends what can be sent. Opens the connections that this needs, if may_open. */
void upstream_pool_send(struct upstream_pool *pool, bool may_open);

/* Returns whether another attempt to reach the upstream makes sense: none is under way, or the last
 * one takes long. It may have begun before the upstream came back. */
bool upstream_pool_may_try(const struct upstream_pool *pool);

/* Begins an attempt to reach the upstream, if that makes sense. */
void upstream_pool_try(struct upstream_pool *pool);

/* Ends attempts that take too long, and moves requests away from connections that are silent. Call
 * it every 100 ms while the pool is busy. */
void upstream_pool_check(struct upstream_pool *pool);

/* Returns whether the pool has something to wait for: an attempt, or an answer. */
bool upstream_pool_is_busy(const struct upstream_pool *pool);

/* Returns whether the shared connection is READY and not silent. */
bool upstream_pool_is_alive(const struct upstream_pool *pool);

/* Removes the questions for which wants returns true, unsent and sent, and moves them to ended. */
void upstream_pool_take_if(struct upstream_pool *pool,
    bool (*wants)(struct upstream_question *question, void *context), void *context,
    struct upstream_question_list *ended);

/* Closes the slow connections. Their requests are unsent again. */
void upstream_pool_close_slow(struct upstream_pool *pool);

/* Closes all connections. Their requests are unsent again. */
void upstream_pool_close(struct upstream_pool *pool);

#endif

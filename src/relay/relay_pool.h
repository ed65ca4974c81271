/* SPDX-License-Identifier: MIT */
/* The connections of a pool, and which request goes over which of them.
 *
 * New requests go over the first connection that is ready and not slow. A connection is slow while
 * its first request has had no answer for RELAY_SLOW_MS: then the requests behind that one are sent
 * once more over another connection, because answers come in the order of the requests. Requests
 * that store something have RELAY_VERY_SLOW_MS before that: sent twice, they may get two revisions.
 * There are RELAY_MOST_CONNECTIONS at most.
 *
 * A request that was the first one on a connection that broke may be the reason. It is sent alone,
 * so that it breaks no connection of others, and ends after some times.
 *
 * Shared by relay.c, relay_pool.c and relay_stream.c. */
#ifndef PRSERVD_RELAY_POOL_H
#define PRSERVD_RELAY_POOL_H

#include "base/outage.h"
#include "relay/relay.h"
#include "upstream/upstream_conn.h"

#define RELAY_SLOW_MS 50
#define RELAY_VERY_SLOW_MS 1000
#define RELAY_MOST_CONNECTIONS 8
#define RELAY_CONNECT_MS 5000

struct relay_channel;
struct relay_stream;
TAILQ_HEAD(relay_channel_list, relay_channel);
TAILQ_HEAD(relay_pool_list, relay_pool);
TAILQ_HEAD(relay_stream_list, relay_stream);

struct relay {
    uv_loop_t *loop;
    struct upstream_target target;
    struct buffer annotations;     /* a C string */
    char name[ADDRESS_TEXT_BYTES]; /* of the central server */
    char own_name[24];
    char waiting[ADDRESS_TEXT_BYTES + 64];
    struct log *log;
    struct outage outage;
    uv_timer_t timer;      /* active while anything is under way */
    uint64_t retry_ms;     /* when the next connection may be tried; 0: now */
    uint64_t attempted_ms; /* the last try */
    unsigned pause_ms;     /* after the next failure */
    unsigned n_useless;    /* connections in a row that ended without any answer */
    uint64_t n_answers;    /* without an error, those to probes included: a server that refuses
                              a connection answers once, and closes it */
    struct relay_pool_list pools;
    struct relay_pool *shared;
    struct relay_stream_list streams;
    struct relay_request probe; /* a ping: at the start, and when the last connection is gone */
    bool is_probing;
    bool is_stopping;
    bool is_refusing;
    struct error refusal;
    struct relay_metrics metrics;
};

struct relay_pool {
    TAILQ_ENTRY(relay_pool) entry;
    struct relay *relay;
    struct upstream_target target;
    struct buffer opening; /* a C string */
    struct relay_request_list unsent;
    struct relay_channel_list channels; /* the oldest first */
    unsigned n_channels;
    unsigned n_connecting;
    bool is_closed; /* it is freed at the end of the turn */
};

/* Creates a pool, with these header lines in its openings; of two with one name, the later one
 * counts. Returns NULL without memory. */
struct relay_pool *relay_pool_create(
    struct relay *relay, const char *headers, const char *more_headers);

/* Sends unsent requests, and opens connections for them. */
void relay_pool_send(struct relay_pool *pool);

/* Finds slow connections, and closes those that have been idle for long. */
void relay_pool_check(struct relay_pool *pool, uint64_t now_ms);

/* Frees a pool. */
void relay_pool_free(struct relay_pool *pool);

/* Returns whether a request is unsent or waits for its answer. */
bool relay_pool_is_busy(const struct relay_pool *pool);

/* Ends all requests with an error, and closes the connections. */
void relay_pool_end(struct relay_pool *pool, const struct error *error);

/* ---- for connections ---- */

/* Notes that a connection could not be made, or ended without an answer. */
void relay_be_away(struct relay *relay, const char *reason);

/* Finds out whether the server can be reached, and goes on until it can. */
void relay_probe(struct relay *relay);

/* Has the next connection tried soon, because a request needs it. */
void relay_hurry(struct relay *relay);

/* Notes that a connection ended without an answer, while others work. */
void relay_pause(struct relay *relay);

/* Notes that a connection was made, or has brought an answer. */
void relay_be_connected(struct relay *relay);
void relay_be_answered(struct relay *relay);

/* Returns whether an answer is an error. */
bool relay_is_refusal(struct text answer);

/* Has the timer look at what is under way. */
void relay_watch(struct relay *relay);

/* Returns until when a request may wait for a connection. */
uint64_t relay_deadline_ms(const struct relay *relay, uint64_t arrived_ms);

/* Describes why a request can't be sent on, and counts that. */
void relay_describe_failure(struct relay *relay, struct error *error);

#endif

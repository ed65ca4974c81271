/* SPDX-License-Identifier: MIT */
/* A relay's side of the central server: sends requests on, and hands out the answers as they are.
 *
 * The central server may be restarted at any time: a request whose connection breaks is sent again,
 * which is safe for every kind of request (doc/semantics.md). While the server is away,
 * requests wait as long as the patience allows (base/outage.h). A server that is connected and
 * silent is waited for without a limit: it has a patience of its own.
 *
 * Requests go through a pool of connections, all with the same opening. Clients without annotations
 * share one pool, the others have their own. Exports and reports, whose answers can be long, have a
 * connection each (relay_stream.h). On the loop's thread. */
#ifndef PRSERVD_RELAY_H
#define PRSERVD_RELAY_H

#include "base/address.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/text.h"
#include "tls/endpoint.h"
#include "wire/request.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct relay;
struct relay_pool;
struct relay_slot;

struct relay_options {
    const struct address *address; /* borrowed until relay_create returns */
    struct tls_endpoint *tls;      /* for an address with TLS; borrowed, as the log is */
    unsigned patience_ms;
    const char *annotations; /* header lines for the opening: "x-build-host: farm-7\n"; copied */
    struct log *log;
};

/* Creates a relay, which connects when it is first asked. *relay belongs to the caller. */
ERROR_MUST_CHECK int relay_create(struct relay **relay, uv_loop_t *loop,
    const struct relay_options *options, struct error *error);

/* ---- requests ---- */

/* Part of its owner. */
struct relay_request {
    const struct request *request; /* borrowed until it ends */
    uint64_t arrived_ms;           /* clock_ms */
    bool is_cancelled; /* nobody waits for it if it has to wait for the central server */
    /* Called when it has ended; not from relay_ask. result: 0, then the answer is the message of
     * the central server, borrowed; or ERROR_UPSTREAM or ERROR_MEMORY, then error says why. */
    void (*done)(
        struct relay_request *request, int result, struct text answer, const struct error *error);
    void *context; /* of done */

    /* The relay's own. */
    TAILQ_ENTRY(relay_request) entry; /* in unsent */
    bool is_probe; /* it finds out whether the server answers, and waits as long as that takes */
    struct relay_pool *pool;
    struct relay_slot *slot; /* where its answer is waited for; NULL: it is unsent */
    bool is_repeated;        /* its connection broke: it has to be sent again */
    bool was_moved;          /* to another connection than its first one */
    bool has_waited;         /* it is counted in the outage */
    bool is_suspect;     /* a connection broke while it was the first one there: it is sent alone */
    unsigned n_breaks;   /* how often, while the server answered other requests */
    uint64_t n_answered; /* requests that the server had answered by then */
};

TAILQ_HEAD(relay_request_list, relay_request);

/* Sends a request on, at the end of this turn. */
void relay_ask(struct relay_pool *pool, struct relay_request *request);

/* Forgets a request that was asked and whose done was not called. */
void relay_cancel(struct relay_request *request);

/* Sends what was asked in this turn of the loop, together. Call it at the end of each turn. */
void relay_turn(struct relay *relay);

/* Ends the requests that wait for a connection during an outage, now and later: the relay is about
 * to stop. Those that were sent go on. */
void relay_refuse_waiting(struct relay *relay);

/* Refuses all requests, those under way and later ones, with this reason. */
void relay_refuse(struct relay *relay, const char *reason);

/* Returns the name by which the relay recognises itself in an opening: x-prserv-relay. */
const char *relay_name(const struct relay *relay);

/* ---- pools ---- */

/* The pool of clients without annotations. */
struct relay_pool *relay_shared_pool(struct relay *relay);

/* Creates a pool whose connections have more header lines in their opening, or NULL without memory.
 * The caller's (relay_pool_close). */
struct relay_pool *relay_pool_open(struct relay *relay, const char *headers);

/* Closes a pool in which no request is under way; it is freed at the end of the turn. */
void relay_pool_close(struct relay_pool *pool);

/* Returns the relay of a pool. */
struct relay *relay_of(const struct relay_pool *pool);

/* ---- what it is like ---- */

/* What any thread may read, between relay_create and relay_close. */
struct relay_metrics {
    struct metric is_up; /* 0 while there is an outage */
    struct metric n_connections;
    struct metric n_waiting; /* requests without an answer */
    struct metric n_answered;
    struct metric n_failed;
    struct metric n_repeated; /* sent once more after a connection broke */
    struct metric_histogram round_trip_us;
};

const struct relay_metrics *relay_metrics(const struct relay *relay);

/* Returns whether the central server can be reached, as far as is known; if not, writes the reason.
 */
bool relay_is_up(const struct relay *relay, char *reason, size_t size);

/* Appends the relay's state, a JSON object. */
void relay_write_stats(const struct relay *relay, struct buffer *out);

/* Closes the connections. No request and no stream may be under way, and only the shared pool may
 * be left. The loop has to run until the handles are closed; that frees the relay. NULL is allowed.
 */
void relay_close(struct relay *relay);

#endif

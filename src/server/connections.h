/* SPDX-License-Identifier: MIT */
/* All connections of a server: which exist, which are scheduled for this turn of the loop, and
 * which wait to be admitted.
 *
 * Whatever happens to a connection schedules it; at the end of the turn each scheduled
 * connection is processed once. Those that have sent much come last, and only some of
 * them; the others have to wait for the next turn. While much is under way (budget_admits),
 * connections with unread requests wait; in each turn, those that have waited longest are processed
 * again. On the loop's thread. */
#ifndef PRSERVD_CONNECTIONS_H
#define PRSERVD_CONNECTIONS_H

#include "base/error.h"
#include "server/address_limits.h"
#include "server/listener_options.h"
#include "server/memory_pressure.h"
#include "server/negotiations.h"
#include "server/peer.h"
#include "server/server_context.h"
#include "server/transport.h"
#include "tls/endpoint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct connection;

/* Part of a connection; all zero at first, except for the last one. */
struct connection_entry {
    TAILQ_ENTRY(connection_entry) entry;
    TAILQ_ENTRY(connection_entry) scheduled_entry;
    TAILQ_ENTRY(connection_entry) waiting_entry;
    TAILQ_ENTRY(connection_entry) activity_entry;
    TAILQ_ENTRY(connection_entry) throttled_entry;
    struct limited_address *address; /* NULL: it has no limits */
    struct peer_address peer;        /* the client's */
    struct negotiation negotiation;  /* of TLS */
    uint64_t active_ms;              /* the time of the last activity (clock_ms) */
    uint64_t request_ms;             /* when it last had a request, or was opened */
    bool is_scheduled;
    bool is_waiting;
    bool is_busy;        /* it has sent much */
    bool is_throttled;   /* its address has sent more requests than it may */
    bool has_permission; /* for its next request; with limits alone */
    size_t work;         /* that was done for it in this turn */
    struct connection *connection;
};

TAILQ_HEAD(connection_list, connection_entry);

struct connections {
    uv_loop_t *loop;
    struct server_context server; /* its budget is the connections' as well */
    size_t max_message_bytes;
    struct memory_pressure pressure;
    struct address_limits limits;
    bool counts_addresses;    /* set by the server: a listener limits the connections of an address,
                                 or requests are limited */
    unsigned max_connections; /* set by the server; 0: no limit */
    uint64_t idle_ms;         /* likewise; 0: no limit */
    struct tls_endpoint *tls; /* likewise; NULL: no listener has TLS */
    bool is_stopping;         /* set by the server */
    void (*closed)(void *context); /* called when a descriptor became free */
    void *context;

    struct connection_list all;
    struct connection_list scheduled; /* in the order of scheduling */
    struct connection_list busy;      /* likewise: those that have sent much */
    struct connection_list waiting;   /* the one that has waited longest first */
    struct connection_list activity;  /* the one whose last activity is longest ago first */
    struct connection_list throttled;
    uv_timer_t throttle_timer;        /* active while there are any */
    struct negotiations negotiations; /* TLS */
    uint64_t n_tls_failures;          /* since the start */
    size_t n_open;
    size_t n_scheduled;
    size_t busy_work;     /* in this turn */
    uint64_t n_accepted;  /* since the start */
    bool has_met_xml_rpc; /* a client that is too old was logged */
    uint64_t n_refused;   /* closed at once: not allowed, too many, or no memory */

    char input[64 * 1024]; /* scratch: what one of them has just read */
};

/* Initializes the connections of a server; closed is called when a descriptor became free. */
void connections_init(struct connections *connections, uv_loop_t *loop,
    const struct server_context *server, size_t max_message_bytes, void (*closed)(void *context),
    void *context);

/* ---- for a connection ---- */

/* Adds a connection, or removes it, when it was retired. */
void connections_add(struct connections *connections, struct connection_entry *entry);
void connections_remove(struct connections *connections, struct connection_entry *entry);

/* Notes that the client has sent something, or was sent something. */
void connections_note_activity(struct connections *connections, struct connection_entry *entry);

/* Answers a client of BitBake 1.50 or older in its own protocol, which is logged once. */
void connections_refuse_xml_rpc(struct connections *connections, struct transport *transport);

/* Logs that a connection was closed that had been idle so long, to accept another one. */
void connections_log_give_way(struct connections *connections, uint64_t idle_ms);

/* Notes that a client negotiates TLS. If there are too many of them, calls abandon
 * for one. Returns false if memory ran out. */
ERROR_MUST_CHECK bool connections_begin_negotiation(struct connections *connections,
    struct connection_entry *entry, void (*abandon)(struct connection *connection));
void connections_end_negotiation(struct connections *connections, struct connection_entry *entry);

/* Has the connection processed when it is the turn of its address: negotiations are long
 * computations. Returns false if memory ran out. */
ERROR_MUST_CHECK bool connections_schedule_negotiation(
    struct connections *connections, struct connection_entry *entry);

/* Counts and logs that a client could not negotiate TLS. */
void connections_log_tls_failure(
    struct connections *connections, const struct transport *transport, const char *reason);

/* Closes the socket of a client for which there is no memory. */
void connections_refuse(struct connections *connections, int descriptor);

/* A client that may connect. */
struct admission {
    struct peer peer;
    struct listener_options options; /* the listener's, without rights that the client has not */
    struct limited_address *address; /* for which its connection was counted; NULL: no limits */
};

/* Checks whether a client may connect. If not, closes the socket, which is counted and logged. */
ERROR_MUST_CHECK bool connections_admit(struct connections *connections, int descriptor,
    const struct listener_options *options, struct admission *admission);

/* Returns whether the client has asked for nothing for longer than it may. Parts of a request don't
 * count; is_all_written: it waits for nothing. Call it about once a second. */
bool connections_are_overdue(const struct connections *connections, struct connection_entry *entry,
    uint64_t now_ms, bool is_all_written);

/* Has the connection processed at the end of this turn. */
void connections_schedule(struct connections *connections, struct connection_entry *entry);

/* The same for a connection that has received input. */
void connections_schedule_input(
    struct connections *connections, struct connection_entry *entry, size_t bytes);

/* Counts a message that a connection takes. */
void connections_count_work(struct connection_entry *entry, size_t message_bytes);

/* Returns whether the address of a connection may have another request taken now. If not, the
 * connection is throttled: it is processed again when it may. */
ERROR_MUST_CHECK bool connections_may_request(
    struct connections *connections, struct connection_entry *entry);

/* Returns whether a connection may take another message in this turn. If not, schedules it. */
ERROR_MUST_CHECK bool connections_may_work(
    struct connections *connections, struct connection_entry *entry);

/* Has the connection processed in one of the next turns, because it is not admitted now. */
void connections_wait(struct connections *connections, struct connection_entry *entry);

/* Ends the throttling of a connection, because the server is stopping. */
void connections_end_throttle(struct connections *connections, struct connection_entry *entry);

/* Cancels all of these. */
void connections_retire(struct connections *connections, struct connection_entry *entry);

/* ---- for the server ---- */

/* Processes scheduled connections, at the end of each turn of the loop. Returns true if some
 * are scheduled again already: then the loop must not wait. */
ERROR_MUST_CHECK bool connections_turn(
    struct connections *connections, void (*process)(struct connection *connection));

/* Makes a step of a negotiation, if one waits. Call it once in each turn of the loop. Returns true
 * if it did: then the loop must not wait. */
ERROR_MUST_CHECK bool connections_negotiate(
    struct connections *connections, void (*process)(struct connection *connection));

/* Offers connections, beginning with the one whose last activity is longest ago, until one gives
 * way. Returns false if none does. */
ERROR_MUST_CHECK bool connections_make_room(
    struct connections *connections, bool (*give_way)(struct connection *connection));

/* Returns whether there are as many connections as there may be. */
static inline bool connections_are_full(const struct connections *connections)
{
    return connections->max_connections > 0 && connections->n_open >= connections->max_connections;
}

/* Forgets addresses that have no clients any more. Call it about once a second. */
void connections_tick(struct connections *connections);

/* Closes the timer, when no connection is left. Does nothing before connections_init. */
void connections_close(struct connections *connections);

/* Calls a function of connection.h for each connection. */
void connections_each(
    struct connections *connections, void (*function)(struct connection *connection));

#endif

/* SPDX-License-Identifier: MIT */
/* One connection of a pool, and the order of the answers that are expected on it. Only relay_pool.c
 * and relay_channel.c include this. */
#ifndef PRSERVD_RELAY_CHANNEL_H
#define PRSERVD_RELAY_CHANNEL_H

#include "relay/relay_pool.h"

/* A place in the order of answers. */
struct relay_slot {
    STAILQ_ENTRY(relay_slot) entry;
    struct relay_request *request; /* NULL: nobody waits for the answer any more */
    uint64_t sent_us;
};

STAILQ_HEAD(relay_slot_list, relay_slot);

struct relay_channel {
    TAILQ_ENTRY(relay_channel) entry;
    struct relay_pool *pool;
    struct upstream_conn *conn;
    bool is_ready;
    bool is_slow;       /* its first request has had no answer for RELAY_SLOW_MS */
    bool has_moved_all; /* nor for RELAY_VERY_SLOW_MS: what was behind it went elsewhere */
    bool is_solitary;   /* it carries a suspect alone */
    bool has_answered;
    struct relay_slot_list slots; /* in the order of sending */
    unsigned n_slots;
    uint64_t heard_ms; /* the last answer, or the first request after an idle time */
};

/* Opens a connection for a pool. */
void relay_channel_open(struct relay_pool *pool);

/* Puts a request on the channel, and its message into lines. Returns false without memory. */
bool relay_channel_push(
    struct relay_channel *channel, struct relay_request *request, struct buffer *lines);

/* Sends lines. A failure ends the channel. */
void relay_channel_write(struct relay_channel *channel, struct buffer *lines);

/* Makes the requests behind the first one unsent again, unless they were moved before;
 * with_changes: also those that change something. */
void relay_channel_move(struct relay_channel *channel, bool with_changes);

/* Makes the requests of a channel unsent again, in their order and before the others. One that has
 * broken too many connections is moved to ended. */
void relay_channel_return(struct relay_channel *channel, struct relay_request_list *ended);

/* Frees a channel without requests, whose connection is closed or failed. */
void relay_channel_free(struct relay_channel *channel);

/* Ends a request that is in no list. */
void relay_fail(struct relay_request *request, const struct error *error);

#endif

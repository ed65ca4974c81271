/* SPDX-License-Identifier: MIT */
/* Calls of a relay: the central server answers them. */
#ifndef PRSERVD_CALL_RELAY_H
#define PRSERVD_CALL_RELAY_H

#include "relay/relay.h"
#include "relay/relay_stream.h"
#include "server/call.h"

/* Part of a call. */
struct call_relayed {
    struct relay_request request;
    struct relay_stream stream; /* of an export or a report */
    bool has_stream;            /* it was opened */
    bool is_over;               /* its last piece has come */
    bool is_broken;             /* it ended before that */
    struct buffer piece;        /* framed; what the client has not been sent */
};

/* Sends a call that is READY on, or lets the pieces of its answer come again. */
void call_relay_run(struct call *call);

/* Forgets what was sent on. */
void call_relay_cancel(struct call *call);

/* Says that nobody waits for the call if it has to wait for the central server. */
void call_relay_end_waiting(struct call *call);

/* Appends the pieces that have come. */
ERROR_MUST_CHECK enum call_written call_relay_write_pieces(struct call *call, struct buffer *out);

/* Frees what belongs to it. */
void call_relay_free(struct call *call);

#endif

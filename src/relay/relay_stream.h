/* SPDX-License-Identifier: MIT */
/* An answer that may be long: an export or a report. It comes over a connection of its own, piece
 * by piece, as fast as its owner takes the pieces. On the loop's thread. */
#ifndef PRSERVD_RELAY_STREAM_H
#define PRSERVD_RELAY_STREAM_H

#include "relay/relay.h"

struct upstream_conn;

/* Part of its owner; all zero before relay_stream_open. */
struct relay_stream {
    const struct request *request; /* borrowed until the stream ends */
    uint64_t arrived_ms;
    bool is_cancelled; /* as in struct relay_request */
    /* The next piece, borrowed. Some may follow after relay_stream_pause. After the last piece the
     * stream has ended. */
    void (*piece)(struct relay_stream *stream, struct text piece, bool is_last);
    /* The stream has ended without its last piece. */
    void (*failed)(struct relay_stream *stream, const struct error *error);
    void *context; /* of both */

    /* The relay's own. */
    TAILQ_ENTRY(relay_stream) entry;
    struct relay_pool *pool; /* NULL: it is not open */
    struct upstream_conn *conn;
    bool is_connected;
    bool has_begun; /* a piece was handed out: it can't be asked for again */
    bool is_paused;
    bool has_waited;
};

/* Asks for an answer. Events come later. */
void relay_stream_open(struct relay_pool *pool, struct relay_stream *stream);

/* Stops the pieces for a while, and lets them come again. */
void relay_stream_pause(struct relay_stream *stream);
void relay_stream_resume(struct relay_stream *stream);

/* Ends a stream; no more events. Allowed if it is not open. */
void relay_stream_close(struct relay_stream *stream);

/* ---- for the relay ---- */

/* Connects streams again whose connection broke, and ends those that have waited long enough. */
void relay_streams_check(struct relay *relay, uint64_t now_ms);

/* Ends all streams. */
void relay_streams_end(struct relay *relay, const struct error *error);

#endif

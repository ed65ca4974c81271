/* SPDX-License-Identifier: MIT */
/* One connection to the upstream, from the client's end: resolves the name, connects, sends
 * lines, and passes messages on. On the loop's thread. */
#ifndef PRSERVD_UPSTREAM_CONN_H
#define PRSERVD_UPSTREAM_CONN_H

#include "base/address.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "tls/endpoint.h"

#include <uv.h>

/* The longest message that is taken: an answer with a revision of 256 KiB. */
#define UPSTREAM_CONN_ANSWER_BYTES ((size_t)257 * 1024)

struct upstream_conn;

/* How a connection failed. */
enum upstream_failure {
    UPSTREAM_BROKEN,  /* it could not be made, or ended */
    UPSTREAM_INVALID, /* what the upstream sent can't be read */
};

/* Not called before upstream_conn_open has returned, and never after failed or
 * upstream_conn_close. They may call upstream_conn_close. */
struct upstream_conn_events {
    void (*opened)(void *context);
    /* The next message, borrowed; NULL for one that was too long and was skipped. */
    void (*message)(void *context, const struct text *message);
    /* In place of message, if it is set: the next piece of a message, of any length; borrowed. */
    void (*piece)(void *context, struct text piece, bool is_last);
    /* The connection failed and is freed; the reason is a phrase: "connection refused". */
    void (*failed)(void *context, enum upstream_failure failure, const char *reason);
    void *context;
};

/* Where to connect to. */
struct upstream_target {
    struct address address;
    const char *opening; /* header lines and so on; NULL: HANDSHAKE_SERVER; borrowed, as tls is, as
                            long as there are connections */
    struct tls_endpoint *tls; /* for an address with TLS */
};

/* Connects within wait_ms, with TLS if the address says so, and sends the handshake. *conn belongs
 * to the caller until failed or upstream_conn_close. Fails with ERROR_MEMORY or ERROR_SYSTEM. */
ERROR_MUST_CHECK int upstream_conn_open(struct upstream_conn **conn, uv_loop_t *loop,
    const struct upstream_target *target, unsigned wait_ms,
    const struct upstream_conn_events *events, struct error *error);

#define UPSTREAM_CONN_CANT_SEND "out of memory: nothing can be sent"

/* Sends the buffer's content; takes it over and leaves the buffer empty. Fails with ERROR_MEMORY,
 * also for a failed buffer, or with ERROR_SYSTEM: then nothing was sent, no event follows, and
 * only upstream_conn_close may be called. */
ERROR_MUST_CHECK int upstream_conn_send(struct upstream_conn *conn, struct buffer *lines);

/* Returns how many bytes wait to be sent. */
size_t upstream_conn_unsent_bytes(const struct upstream_conn *conn);

/* Stops reading, or goes on. What was read before still causes events. */
void upstream_conn_set_reading(struct upstream_conn *conn, bool is_reading);

/* Ends the connection; no more events. NULL is allowed. */
void upstream_conn_close(struct upstream_conn *conn);

#endif

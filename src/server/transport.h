/* SPDX-License-Identifier: MIT */
/* A client's socket on the loop: passes on the bytes that are received, and writes the bytes in
 * out as fast as the client reads them; with TLS or without, which its owner sees only while the
 * session is negotiated.
 *
 * What the bytes mean is its owner's business. A failure is reported once; the owner then
 * closes the transport. On the loop's thread. */
#ifndef PRSERVD_TRANSPORT_H
#define PRSERVD_TRANSPORT_H

#include "base/address.h"
#include "base/buffer.h"
#include "base/error.h"
#include "tls/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* All are called from the loop, received and input_ended from transport_read_now as well. */
struct transport_events {
    void (*received)(void *context, const char *bytes, size_t length); /* borrowed for the call */
    void (*read_sealed)(void *context, size_t length); /* bytes of TLS, perhaps without content */
    void (*negotiates)(void *context);                 /* transport_negotiate can go on */
    void (*input_ended)(void *context);                /* the client has shut its side */
    void (*failed)(void *context, const char *reason);
    void (*written)(void *context); /* out is empty */
    void (*closed)(void *context);  /* the transport may be freed */
};

/* Part of its owner, which reads the members but changes only out. */
struct transport {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    const struct transport_events *events;
    void *context;
    uv_buf_t input; /* where bytes are received; borrowed */
    bool is_reading;
    size_t turn_bytes; /* received since transport_begin_turn */
    bool input_ended;
    bool is_closing;
    struct buffer out; /* bytes to write; must not be changed while is_writing */
    uv_write_t write;
    bool is_writing;              /* whether libuv has all of out, or of sealed */
    size_t left_to_write;         /* when it was last measured */
    uint64_t progress_ms;         /* when the client last read some of it (clock_ms) */
    const struct tls_module *tls; /* NULL: without TLS */
    struct tls_session *session;
    bool is_negotiating;
    struct buffer sealed; /* with TLS: what is written in place of out */
};

/* Takes over a connected descriptor, also when it fails, with a code of libuv; the transport
 * has to be closed in both cases. input may be shared by the transports of one loop; it and
 * events are borrowed as long as the transport lives. */
ERROR_MUST_CHECK int transport_open(struct transport *transport, uv_loop_t *loop, int descriptor,
    uv_buf_t input, const struct transport_events *events, void *context);

/* Has the client negotiate TLS, before anything is read. Takes the session over. Until that is
 * done, no bytes are passed on, and none may be written. */
void transport_begin_tls(
    struct transport *transport, const struct tls_module *tls, struct tls_session *session);

/* Goes on with that, after the event negotiates. TLS_OK: it is done; transport_pass_on follows.
 * TLS_PLAIN: the client does not speak TLS; then the transport is one without TLS, from which
 * nothing may be read. TLS_FAILED: the client was told, and only the end may follow. */
ERROR_MUST_CHECK enum tls_result transport_negotiate(
    struct transport *transport, struct error *error);

/* Passes on what the client has sent behind its part of the negotiation. */
void transport_pass_on(struct transport *transport);

/* Returns the memory that the transport holds. */
size_t transport_held_bytes(const struct transport *transport);

/* Returns whether all of out was written. */
bool transport_is_written(const struct transport *transport);

/* Writes the address of the client, or "a unix socket". */
void transport_write_peer(const struct transport *transport, char text[ADDRESS_TEXT_BYTES]);

/* Starts or stops reading. While it is stopped, the client has to wait. Reading stops by itself
 * when TRANSPORT_TURN_BYTES have been received since transport_begin_turn, so that one client does
 * not keep the loop busy. */
#define TRANSPORT_TURN_BYTES ((size_t)64 * 1024)
void transport_set_reading(struct transport *transport, bool is_reading);
void transport_begin_turn(struct transport *transport);

/* Reads once what the kernel has received already. Returns false if there was nothing. */
bool transport_read_now(struct transport *transport);

/* Reads until there is nothing, at most so many times. */
void transport_read_received(struct transport *transport, int most);

/* Returns whether the kernel has received something that was not read yet. */
bool transport_has_unread(const struct transport *transport);

/* Returns whether the client has shut its side or is gone, also while nothing is read from it. */
bool transport_has_ended(const struct transport *transport);

/* Writes out, which must not be empty or being written. What the kernel does not take waits for
 * the client (is_writing). Returns 0, or a code of libuv if the connection is broken. */
ERROR_MUST_CHECK int transport_write(struct transport *transport);

/* Returns for how long the client has read nothing of what is being written. Call it every
 * second or so: it compares with the last time. */
uint64_t transport_measure_stall(struct transport *transport, uint64_t now_ms);

/* Ends TLS, if the connection has it: the client can tell that nothing was cut off. */
void transport_shut_tls(struct transport *transport);

/* Shuts our side, TLS included: after all that was written the client reads the end. */
void transport_shut(struct transport *transport);

/* Drops what is not written. closed is called later, and no other event. */
void transport_close(struct transport *transport);

#endif

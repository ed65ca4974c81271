/* A client's socket on the loop: hands on the bytes that come, and writes what is put into
 * out as the client takes it.
 *
 * What the bytes mean, and when it is enough, is its owner's business. On the loop's
 * thread. Whatever goes wrong is told once; the owner then closes the transport. */
#ifndef PRSERVD_TRANSPORT_H
#define PRSERVD_TRANSPORT_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* All are called from the loop, came and ended from transport_read_now as well. */
struct transport_events {
    void (*came)(void *context, const char *bytes, size_t length); /* borrowed for the call */
    void (*ended)(void *context); /* the client has shut its side: nothing more comes */
    void (*broke)(void *context, const char *reason);
    void (*written)(void *context); /* out is empty */
    void (*closed)(void *context);  /* the transport may be freed */
};

/* Part of its owner, who reads its members and changes none but out. */
struct transport {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    const struct transport_events *events;
    void *context;
    uv_buf_t input;
    bool reading;
    bool input_ended;
    bool closing;
    struct buffer out; /* not written yet; nothing is to be added while it is being written */
    uv_write_t write;
    bool writing; /* all of out is with libuv */
    size_t left_to_write;
    uint64_t progress_ms; /* when the client last took some of it (clock_ms) */
};

/* Takes over a connected descriptor, also when it fails, with a code of libuv; the
 * transport has to be closed then as well. input: where what comes is put; transports of
 * one loop may share it. The rest is borrowed as long as the transport lives. */
ERROR_MUST_CHECK int transport_open(struct transport *transport, uv_loop_t *loop, int descriptor,
    uv_buf_t input, const struct transport_events *events, void *context);

/* Reads from now on, or stops reading; the client then has to wait. */
void transport_steer(struct transport *transport, bool reading);

/* Reads once what the kernel holds already. Returns false if there was nothing. */
bool transport_read_now(struct transport *transport);

/* Hands out to the kernel, as far as it takes it; the rest waits for the client (writing).
 * Only if out has something and is not being written. Returns 0 or a code of libuv: broken. */
ERROR_MUST_CHECK int transport_write(struct transport *transport);

/* For so long the client has taken nothing of what is being written. Has to be asked every
 * second or so, to see it. */
bool transport_is_stuck(struct transport *transport, uint64_t now, uint64_t ms);

/* Shuts our side: the client reads the end after what was written. */
void transport_shut(const struct transport *transport);

/* Forgets what is not written; closed is called later, and nothing else any more. */
void transport_close(struct transport *transport);

#endif

/* SPDX-License-Identifier: MIT */
/* Reads long messages in a thread, so that the event loop does not wait for it.
 *
 * One message is read at a time, so that hostile ones take no more than one processor and leave
 * a thread to the resolver. On the loop's thread, which also calls done. */
#ifndef PRSERVD_MESSAGE_READER_H
#define PRSERVD_MESSAGE_READER_H

#include "base/buffer.h"
#include "base/error.h"
#include "wire/codec.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <uv.h>

/* The longest message that the event loop reads itself. That takes less than 2 ms for any text. */
#define MESSAGE_READER_LEAST_BYTES ((size_t)256 * 1024)

struct message_reader;

/* A message that is read. The caller sets text, done and context, and must not touch the rest
 * until done is called. Then the text is freed, and the results are set. */
struct message_reading {
    struct buffer text;
    void (*done)(void *context);
    void *context;

    enum codec_result result;
    struct request request; /* as codec_read_request fills it; the caller's (codec_release) */
    struct error error;     /* if result is neither CODEC_REQUEST nor CODEC_END */
    size_t request_bytes;   /* if it is CODEC_REQUEST: codec_request_bytes */

    struct message_reader *reader;
    STAILQ_ENTRY(message_reading) entry;
};

struct message_reader {
    uv_loop_t *loop;
    uv_work_t work;
    bool is_busy;
    STAILQ_HEAD(message_reading_list, message_reading) waiting; /* the first one is being read */
};

/* loop: borrowed. Its threads have to run already (thread_pool_start). */
void message_reader_init(struct message_reader *reader, uv_loop_t *loop);

/* Has a message read. done is called later, never from this function. */
void message_reader_submit(struct message_reader *reader, struct message_reading *reading);

/* Ends all readings that have not begun, with an error. The one that has begun ends when the loop
 * runs on. */
void message_reader_close(struct message_reader *reader);

#endif

/* SPDX-License-Identifier: MIT */
/* The framing of messages (doc/protocol.md): bytes to lines and messages, and messages to bytes. No
 * I/O, no JSON.
 *
 * A message is one line, or, if it has FRAMER_CHUNK_CHARACTERS or more, a chunk stream: the line
 * {"chunk-stream": null}, lines with the chunks, an empty line. */
#ifndef PRSERVD_FRAMER_H
#define PRSERVD_FRAMER_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

#define FRAMER_CHUNK_CHARACTERS 32767 /* in the longest chunk line that is sent */
#define FRAMER_LINE_BYTES 65536       /* in the longest line that is accepted, without its end */

/* ---- incoming ---- */

struct framer {
    struct buffer input;      /* bytes that were fed, from start on not yet consumed */
    size_t start;             /* of the next line in input */
    size_t scanned;           /* input has no line end from start to here */
    struct buffer stream;     /* the chunks of the current message */
    bool in_stream;           /* between the start of a chunk stream and its end */
    size_t max_message_bytes; /* the length of the longest message that is accepted */
};

void framer_init(struct framer *framer, size_t max_message_bytes);
void framer_free(struct framer *framer);

/* Discards what was fed and not consumed, and frees the memory. */
void framer_drop(struct framer *framer);

/* Returns the memory that the framer holds. */
static inline size_t framer_bytes(const struct framer *framer)
{
    return framer->input.capacity + framer->stream.capacity;
}

/* Returns how many bytes were fed and not consumed: whole messages, and a part of one. */
static inline size_t framer_pending(const struct framer *framer)
{
    return framer->input.length - framer->start + (framer->in_stream ? framer->stream.length : 0);
}

/* Adds a copy of bytes that have arrived. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int framer_feed(
    struct framer *framer, const char *bytes, size_t length, struct error *error);

enum framer_result {
    FRAMER_READY, /* a line, message or piece was returned */
    FRAMER_MORE,  /* more bytes are needed */
    /* error says why nothing more can be read; the caller closes the connection */
    FRAMER_LOST = ERROR_FRAMING,
};

/* Returns the next line, without its end, borrowed until the next call. A line that is longer than
 * max_bytes is an error. For the handshake. */
ERROR_MUST_CHECK enum framer_result framer_next_line(
    struct framer *framer, size_t max_bytes, struct text *line, struct error *error);

/* Returns the next message, borrowed until the next call. */
ERROR_MUST_CHECK enum framer_result framer_next_message(
    struct framer *framer, struct text *message, struct error *error);

/* Hands over the message that framer_next_message has just returned. Returns an empty buffer if it
 * was a line: a message that is longer than FRAMER_LINE_BYTES never is. */
struct buffer framer_take_message(struct framer *framer);

/* Returns the next piece of a message, borrowed until the next call: a line that is a whole
 * message, or a chunk. *last says that the message ends with it; the last piece may be empty. The
 * length of all pieces together is not limited. */
ERROR_MUST_CHECK enum framer_result framer_next_piece(
    struct framer *framer, struct text *piece, bool *last, struct error *error);

/* ---- outgoing ---- */

/* Appends a whole message to out: a line, or a chunk stream. The text is ASCII without line ends
 * (compact JSON). buffer_failed of out says whether memory ran out. */
void framer_write(struct buffer *out, struct text message);

/* Appends the next piece of a message that is made piece by piece, an export; nothing of it is
 * kept. framer_write does the same for a whole message. *is_streaming: false at first, and again at
 * the end: the start of a chunk stream is in out. */
void framer_write_piece(struct buffer *out, bool *is_streaming, struct text piece, bool is_last);

#endif

/* Bytes to lines to messages, and messages to bytes. No I/O, no JSON.
 *
 * A message is one line, or, if its text is FRAMER_CHUNK_CHARACTERS or longer, a
 * chunk stream: the line {"chunk-stream": null}, chunk lines, an empty line.
 * Source: the wire protocol PRSERVICE 1.0, doc/protocol.md. */
#ifndef PRSERVD_FRAMER_H
#define PRSERVD_FRAMER_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

#define FRAMER_CHUNK_CHARACTERS 32767 /* the longest chunk line that is sent */
#define FRAMER_LINE_BYTES 65536       /* the longest line that is taken, without its end */

/* ---- incoming ---- */

struct framer {
    struct buffer input;      /* bytes that were fed and not consumed yet */
    size_t start;             /* the first of them in input */
    size_t scanned;           /* up to here there is no line end */
    struct buffer stream;     /* the chunks of the message under way */
    bool in_stream;           /* between the start of a chunk stream and its end */
    size_t max_message_bytes; /* a longer message is an error */
};

void framer_init(struct framer *framer, size_t max_message_bytes);
void framer_free(struct framer *framer);

/* Forgets what was fed and not consumed, and gives the memory back. */
void framer_drop(struct framer *framer);

/* The memory that it holds. */
static inline size_t framer_bytes(const struct framer *framer)
{
    return framer->input.capacity + framer->stream.capacity;
}

/* What was fed and not taken: whole messages, and a part of one. */
static inline size_t framer_pending(const struct framer *framer)
{
    return framer->input.length - framer->start + (framer->in_stream ? framer->stream.length : 0);
}

/* Takes bytes as they came; they are copied. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int framer_feed(
    struct framer *framer, const char *bytes, size_t length, struct error *error);

enum framer_result {
    FRAMER_READY, /* a line or message is there */
    FRAMER_MORE,  /* more bytes are needed */
    FRAMER_LOST,  /* the framing is lost: error says why; nothing more can be read */
};

/* The next line, without its end; borrowed until the next call on the framer.
 * Longer than max_bytes is an error. For the lines that open a connection. */
ERROR_MUST_CHECK enum framer_result framer_next_line(
    struct framer *framer, size_t max_bytes, struct text *line, struct error *error);

/* The next message; borrowed until the next call on the framer. */
ERROR_MUST_CHECK enum framer_result framer_next_message(
    struct framer *framer, struct text *message, struct error *error);

/* The next piece of a message, for messages of any length: a line that is one, or one
 * chunk of a stream; *last: the message ends with it (such a piece may be empty). Pieces
 * are borrowed as above, and not limited together. */
ERROR_MUST_CHECK enum framer_result framer_next_piece(
    struct framer *framer, struct text *piece, bool *last, struct error *error);

/* ---- outgoing ---- */

/* Appends a whole message to out, as a line or as a chunk stream. The text is
 * ASCII without line ends (compact JSON). Memory: out's own failed flag. */
void framer_write(struct buffer *out, struct text message);

/* A message that is made piece by piece, in bounded memory. */
struct framer_writer {
    struct buffer pending; /* not sent yet, less than a chunk between two calls */
    bool streaming;        /* the start of a chunk stream has been sent */
};

void framer_writer_add(struct framer_writer *writer, struct buffer *out, struct text piece);

/* Ends the message; the writer is then ready for another one. */
void framer_writer_end(struct framer_writer *writer, struct buffer *out);

void framer_writer_free(struct framer_writer *writer);

#endif

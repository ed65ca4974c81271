/* SPDX-License-Identifier: MIT */
/* A growing array of bytes.
 *
 * Appending returns nothing. When memory runs out, the buffer is marked as failed and ignores
 * everything that is appended later; buffer_failed tells. So a text that is built of many pieces
 * needs one check, at its end. */
#ifndef PRSERVD_BUFFER_H
#define PRSERVD_BUFFER_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *bytes;     /* owned; NULL until something is appended */
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes allocated */
    bool failed;     /* memory ran out; the content is incomplete */
};

#define BUFFER_EMPTY ((struct buffer){.bytes = NULL})

/* Append a copy. */
void buffer_append(struct buffer *buffer, const char *bytes, size_t length);
void buffer_append_text(struct buffer *buffer, struct text text);
void buffer_append_string(struct buffer *buffer, const char *string);

/* Appends a text of less than 1,024 bytes. */
void buffer_append_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Replaces the content by a key of a hash map that identifies a pair of texts. */
void buffer_set_pair(struct buffer *buffer, struct text first, struct text second);

/* Removes the first bytes, and moves the rest to the front. */
void buffer_drop_front(struct buffer *buffer, size_t length);

#define BUFFER_KEEP_BYTES ((size_t)64 * 1024) /* what most users keep */

/* Removes the content, and the mark of a failure. Keeps the memory for the next use, unless it is
 * more than keep_bytes. */
void buffer_reset(struct buffer *buffer, size_t keep_bytes);

/* Frees the memory. The buffer is empty then, and usable. */
void buffer_free(struct buffer *buffer);

static inline bool buffer_failed(const struct buffer *buffer)
{
    return buffer->failed;
}

/* Returns the content, borrowed until the buffer is changed. */
static inline struct text buffer_text(const struct buffer *buffer)
{
    return (struct text){.bytes = buffer->bytes, .length = buffer->length};
}

#endif

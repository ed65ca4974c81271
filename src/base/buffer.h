/* Bytes that grow.
 *
 * Appending can't fail at the call: a buffer that could not get memory stays
 * failed, ignores what is appended, and says so when it is asked at the end
 * (buffer_failed). So what is built of many pieces is checked once. */
#ifndef PRSERVD_BUFFER_H
#define PRSERVD_BUFFER_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *bytes;     /* owned; NULL while nothing was appended */
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes allocated */
    bool failed;     /* memory ran out; the content is worthless */
};

#define BUFFER_EMPTY ((struct buffer){.bytes = NULL})

void buffer_append(struct buffer *buffer, const char *bytes, size_t length);
void buffer_append_text(struct buffer *buffer, struct text text);
void buffer_append_string(struct buffer *buffer, const char *string);

/* Makes the content what identifies a pair of texts: the key of a hash table. */
void buffer_set_pair(struct buffer *buffer, struct text first, struct text second);

/* Takes the first bytes away and moves the rest to the front. */
void buffer_drop_front(struct buffer *buffer, size_t length);

/* Forgets the content. Memory is kept up to keep_bytes, for the next use. */
void buffer_reset(struct buffer *buffer, size_t keep_bytes);

/* Gives the memory back; the buffer is empty and usable again. */
void buffer_free(struct buffer *buffer);

static inline bool buffer_failed(const struct buffer *buffer)
{
    return buffer->failed;
}

/* The content; borrowed until the buffer is next changed. */
static inline struct text buffer_text(const struct buffer *buffer)
{
    return (struct text){.bytes = buffer->bytes, .length = buffer->length};
}

#endif

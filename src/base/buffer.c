/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static bool buffer_grow(struct buffer *buffer, size_t more)
{
    size_t wanted = buffer->capacity ? buffer->capacity : 128;
    char *bytes;

    if (more > SIZE_MAX / 4 - buffer->length)
        return false;
    while (wanted < buffer->length + more)
        wanted *= 2;
    bytes = realloc(buffer->bytes, wanted);
    if (!bytes)
        return false;
    buffer->bytes = bytes;
    buffer->capacity = wanted;
    return true;
}

void buffer_append(struct buffer *buffer, const char *bytes, size_t length)
{
    if (buffer->failed || length == 0)
        return;
    if (buffer->capacity - buffer->length < length && !buffer_grow(buffer, length)) {
        buffer->failed = true;
        return;
    }
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}

void buffer_append_text(struct buffer *buffer, struct text text)
{
    buffer_append(buffer, text.bytes, text.length);
}

void buffer_append_string(struct buffer *buffer, const char *string)
{
    buffer_append(buffer, string, strlen(string));
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buffer_append_string(buffer, text);
}

void buffer_drop_front(struct buffer *buffer, size_t length)
{
    if (length == 0)
        return;
    buffer->length -= length;
    memmove(buffer->bytes, buffer->bytes + length, buffer->length);
}

void buffer_reset(struct buffer *buffer, size_t keep_bytes)
{
    if (buffer->capacity > keep_bytes)
        buffer_free(buffer);
    buffer->length = 0;
    buffer->failed = false;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = BUFFER_EMPTY;
}

void buffer_set_pair(struct buffer *buffer, struct text first, struct text second)
{
    buffer_reset(buffer, 4096);
    buffer_append(buffer, (const char *)&first.length, sizeof first.length);
    buffer_append_text(buffer, first);
    buffer_append_text(buffer, second);
}

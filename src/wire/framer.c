/* SPDX-License-Identifier: MIT */
/* Incoming bytes are kept in one buffer. `scanned` remembers how far it was searched for a line
 * end, so that a line that arrives in many pieces is searched once. */
#include "wire/framer.h"

#include <string.h>

#define CHUNK_STREAM "{\"chunk-stream\": null}"
#define KEEP_BYTES 4096 /* memory that an idle connection may keep */

void framer_init(struct framer *framer, size_t max_message_bytes)
{
    *framer = (struct framer){.max_message_bytes = max_message_bytes};
}

void framer_free(struct framer *framer)
{
    buffer_free(&framer->input);
    buffer_free(&framer->stream);
}

void framer_drop(struct framer *framer)
{
    size_t max_message_bytes = framer->max_message_bytes;

    framer_free(framer);
    framer_init(framer, max_message_bytes);
}

int framer_feed(struct framer *framer, const char *bytes, size_t length, struct error *error)
{
    buffer_drop_front(&framer->input, framer->start);
    framer->scanned -= framer->start;
    framer->start = 0;
    buffer_append(&framer->input, bytes, length);
    return buffer_failed(&framer->input) ? error_set_memory(error) : 0;
}

enum framer_result framer_next_line(
    struct framer *framer, size_t max_bytes, struct text *line, struct error *error)
{
    size_t unscanned = framer->input.length - framer->scanned;
    const char *end;
    size_t length;

    if (framer->start == framer->input.length) {
        buffer_reset(&framer->input, KEEP_BYTES);
        framer->start = framer->scanned = 0;
    }
    if (unscanned == 0)
        return FRAMER_MORE;
    end = memchr(framer->input.bytes + framer->scanned, '\n', unscanned);
    framer->scanned = end ? (size_t)(end - framer->input.bytes) + 1 : framer->input.length;
    length = framer->scanned - framer->start - (end ? 1 : 0);
    if (length > max_bytes + 1 || (end && length == max_bytes + 1 && end[-1] != '\r'))
        return error_set(error, FRAMER_LOST, "a line is longer than %zu bytes", max_bytes);
    if (!end)
        return FRAMER_MORE;
    line->bytes = framer->input.bytes + framer->start;
    line->length = length > 0 && end[-1] == '\r' ? length - 1 : length;
    framer->start = framer->scanned;
    return FRAMER_READY;
}

static enum framer_result framer_too_long(const struct framer *framer, struct error *error)
{
    return error_set(error, FRAMER_LOST,
        "a message is longer than %zu bytes; the limit is --max-message-bytes",
        framer->max_message_bytes);
}

/* Returns whether a line is {"chunk-stream": null}, with blanks wherever JSON allows them. */
static bool framer_starts_chunk_stream(struct text line)
{
    static const char *const tokens[] = {"{", "\"chunk-stream\"", ":", "null", "}"};

    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        line = text_strip(line);
        if (!text_starts_with(line, tokens[i]))
            return false;
        line = text_from(line, strlen(tokens[i]));
    }
    return text_strip(line).length == 0;
}

/* Takes a line outside a chunk stream. FRAMER_MORE: the line starts one. */
static enum framer_result framer_take_line(
    struct framer *framer, struct text line, struct error *error)
{
    if (line.length == 0)
        return error_set(error, FRAMER_LOST, "an empty line instead of a message");
    framer->in_stream = framer_starts_chunk_stream(line);
    if (framer->in_stream)
        return FRAMER_MORE;
    return line.length > framer->max_message_bytes ? framer_too_long(framer, error) : FRAMER_READY;
}

enum framer_result framer_next_piece(
    struct framer *framer, struct text *piece, bool *last, struct error *error)
{
    enum framer_result result = FRAMER_MORE;

    while (result == FRAMER_MORE) {
        result = framer_next_line(framer, FRAMER_LINE_BYTES, piece, error);
        if (result != FRAMER_READY)
            return result;
        *last = !framer->in_stream || piece->length == 0;
        if (!framer->in_stream)
            result = framer_take_line(framer, *piece, error);
        else
            framer->in_stream = !*last;
    }
    return result;
}

/* Adds a chunk to those of its message. */
static enum framer_result framer_add_chunk(
    struct framer *framer, struct text chunk, struct error *error)
{
    if (chunk.length > framer->max_message_bytes - framer->stream.length)
        return framer_too_long(framer, error);
    buffer_append_text(&framer->stream, chunk);
    if (buffer_failed(&framer->stream)) {
        (void)error_set_memory(error);
        return FRAMER_LOST;
    }
    return FRAMER_READY;
}

enum framer_result framer_next_message(
    struct framer *framer, struct text *message, struct error *error)
{
    bool is_last = false;

    if (!framer->in_stream)
        buffer_reset(&framer->stream, KEEP_BYTES);
    while (!is_last) {
        enum framer_result result = framer_next_piece(framer, message, &is_last, error);

        if (result == FRAMER_READY && (framer->stream.length > 0 || !is_last))
            result = framer_add_chunk(framer, *message, error);
        if (result != FRAMER_READY)
            return result;
    }
    if (framer->stream.length > 0)
        *message = buffer_text(&framer->stream);
    return FRAMER_READY;
}

struct buffer framer_take_message(struct framer *framer)
{
    struct buffer message = framer->stream;

    framer->stream = BUFFER_EMPTY;
    return message;
}

/* Writes one chunk line of a text, and returns how much of the text it holds. BitBake strips white
 * space from the end of each line, so a blank there is escaped. */
static size_t framer_write_chunk(struct buffer *out, struct text text)
{
    static const char blank[] = "\\u0020";
    static const size_t escaped_room = FRAMER_CHUNK_CHARACTERS + 1 - (sizeof blank - 1);
    size_t take = text.length < FRAMER_CHUNK_CHARACTERS ? text.length : FRAMER_CHUNK_CHARACTERS;

    if (text.bytes[take - 1] == ' ' && take > escaped_room)
        take = escaped_room;
    if (text.bytes[take - 1] == ' ') {
        buffer_append(out, text.bytes, take - 1);
        buffer_append_string(out, blank);
    } else {
        buffer_append(out, text.bytes, take);
    }
    buffer_append(out, "\n", 1);
    return take;
}

void framer_write_piece(struct buffer *out, bool *is_streaming, struct text piece, bool is_last)
{
    if (is_last && !*is_streaming && piece.length < FRAMER_CHUNK_CHARACTERS) {
        buffer_append_text(out, piece);
        buffer_append(out, "\n", 1);
        return;
    }
    if (!*is_streaming)
        buffer_append_string(out, CHUNK_STREAM "\n");
    while (piece.length > 0)
        piece = text_from(piece, framer_write_chunk(out, piece));
    if (is_last)
        buffer_append(out, "\n", 1);
    *is_streaming = !is_last;
}

void framer_write(struct buffer *out, struct text message)
{
    bool is_streaming = false;

    framer_write_piece(out, &is_streaming, message, true);
}

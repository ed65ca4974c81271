/* Incoming bytes are kept in one buffer; `scanned` remembers how far it was
 * searched for a line end, so that a line that comes in many pieces is looked at
 * once. Framing is lost for good after FRAMER_LOST: the caller closes. */
#include "wire/framer.h"

#include <string.h>

#define CHUNK_STREAM "{\"chunk-stream\": null}"
#define KEEP_BYTES 4096 /* memory that an idle connection may hold on to */

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
    if (length > max_bytes + 1 || (end && length == max_bytes + 1 && end[-1] != '\r')) {
        (void)error_set(error, ERROR_FRAMING, "a line is longer than %zu bytes", max_bytes);
        return FRAMER_LOST;
    }
    if (!end)
        return FRAMER_MORE;
    line->bytes = framer->input.bytes + framer->start;
    line->length = length > 0 && end[-1] == '\r' ? length - 1 : length;
    framer->start = framer->scanned;
    return FRAMER_READY;
}

/* {"chunk-stream": null}, with blanks wherever JSON allows them. */
static bool starts_chunk_stream(struct text line)
{
    static const char *const tokens[] = {"{", "\"chunk-stream\"", ":", "null", "}"};

    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        size_t length = strlen(tokens[i]);

        line = text_strip(line);
        if (line.length < length || memcmp(line.bytes, tokens[i], length) != 0)
            return false;
        line.bytes += length;
        line.length -= length;
    }
    return text_strip(line).length == 0;
}

static enum framer_result too_long(const struct framer *framer, struct error *error)
{
    (void)error_set(
        error, ERROR_FRAMING, "a message is longer than %zu bytes", framer->max_message_bytes);
    return FRAMER_LOST;
}

/* A line outside a chunk stream. FRAMER_MORE: it was the start of one. */
static enum framer_result take_line(
    struct framer *framer, struct text line, struct text *message, struct error *error)
{
    if (line.length == 0) {
        (void)error_set(error, ERROR_FRAMING, "an empty line stands where a message should be");
        return FRAMER_LOST;
    }
    if (starts_chunk_stream(line)) {
        framer->in_stream = true;
        return FRAMER_MORE;
    }
    if (line.length > framer->max_message_bytes)
        return too_long(framer, error);
    *message = line;
    return FRAMER_READY;
}

/* A line inside a chunk stream. FRAMER_MORE: it was not the end. */
static enum framer_result take_chunk(
    struct framer *framer, struct text line, struct text *message, struct error *error)
{
    if (line.length == 0) {
        framer->in_stream = false;
        *message = buffer_text(&framer->stream);
        return FRAMER_READY;
    }
    if (line.length > framer->max_message_bytes - framer->stream.length)
        return too_long(framer, error);
    buffer_append_text(&framer->stream, line);
    if (buffer_failed(&framer->stream)) {
        (void)error_set_memory(error);
        return FRAMER_LOST;
    }
    return FRAMER_MORE;
}

enum framer_result framer_next_message(
    struct framer *framer, struct text *message, struct error *error)
{
    if (!framer->in_stream)
        buffer_reset(&framer->stream, KEEP_BYTES);
    for (;;) {
        struct text line;
        enum framer_result result = framer_next_line(framer, FRAMER_LINE_BYTES, &line, error);

        if (result != FRAMER_READY)
            return result;
        result = framer->in_stream ? take_chunk(framer, line, message, error)
                                   : take_line(framer, line, message, error);
        if (result != FRAMER_MORE)
            return result;
    }
}

enum framer_result framer_next_piece(
    struct framer *framer, struct text *piece, bool *last, struct error *error)
{
    for (;;) {
        enum framer_result result = framer_next_line(framer, FRAMER_LINE_BYTES, piece, error);

        if (result != FRAMER_READY)
            return result;
        *last = !framer->in_stream || piece->length == 0;
        if (framer->in_stream) {
            framer->in_stream = piece->length > 0;
            return FRAMER_READY;
        }
        result = take_line(framer, *piece, piece, error);
        if (result != FRAMER_MORE)
            return result;
    }
}

/* Writes one chunk line of the text and returns how much of it that was. BitBake
 * strips white space at the end of each line, so a blank there is escaped. */
static size_t write_chunk(struct buffer *out, const char *bytes, size_t length)
{
    static const char blank[] = "\\u0020";
    static const size_t escaped_room = FRAMER_CHUNK_CHARACTERS + 1 - (sizeof blank - 1);
    size_t take = length < FRAMER_CHUNK_CHARACTERS ? length : FRAMER_CHUNK_CHARACTERS;

    if (bytes[take - 1] == ' ' && take > escaped_room)
        take = escaped_room;
    if (bytes[take - 1] == ' ') {
        buffer_append(out, bytes, take - 1);
        buffer_append_string(out, blank);
    } else {
        buffer_append(out, bytes, take);
    }
    buffer_append(out, "\n", 1);
    return take;
}

void framer_writer_add(struct framer_writer *writer, struct buffer *out, struct text piece)
{
    size_t sent = 0;

    buffer_append_text(&writer->pending, piece);
    if (buffer_failed(&writer->pending)) {
        out->failed = true;
        return;
    }
    if (writer->pending.length >= FRAMER_CHUNK_CHARACTERS && !writer->streaming) {
        buffer_append_string(out, CHUNK_STREAM "\n");
        writer->streaming = true;
    }
    while (writer->pending.length - sent >= FRAMER_CHUNK_CHARACTERS)
        sent += write_chunk(out, writer->pending.bytes + sent, writer->pending.length - sent);
    buffer_drop_front(&writer->pending, sent);
}

void framer_writer_end(struct framer_writer *writer, struct buffer *out)
{
    struct text rest = buffer_text(&writer->pending);

    while (writer->streaming && rest.length > 0) {
        size_t written = write_chunk(out, rest.bytes, rest.length);

        rest.bytes += written;
        rest.length -= written;
    }
    buffer_append_text(out, rest);
    buffer_append(out, "\n", 1);
    buffer_reset(&writer->pending, 0);
    writer->streaming = false;
}

void framer_writer_free(struct framer_writer *writer)
{
    buffer_free(&writer->pending);
}

void framer_write(struct buffer *out, struct text message)
{
    struct framer_writer writer = {.streaming = false};

    if (message.length < FRAMER_CHUNK_CHARACTERS) {
        buffer_append_text(out, message);
        buffer_append(out, "\n", 1);
        return;
    }
    framer_writer_add(&writer, out, message);
    framer_writer_end(&writer, out);
    framer_writer_free(&writer);
}

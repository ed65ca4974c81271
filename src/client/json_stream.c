/* SPDX-License-Identifier: MIT */
/* A state for each place between two tokens, and one for the inside of a name, a value and an
 * element:
 *
 *                 {            "            "          :
 *     START ──→ FIRST_KEY ──→ IN_KEY ──→ COLON ──→ VALUE ──→ IN_VALUE ──→ KEY or END
 *                                                    │  [                    ↑
 *                                                    └──→ FIRST_ELEMENT      │
 *                                                              ↓             │
 *                                         ELEMENT ←──→ IN_ELEMENT ──→ AFTER_LIST
 *
 * Inside values, only strings and brackets are followed, to find the end. */
#include "client/json_stream.h"

static int json_stream_go(struct json_stream *stream, enum json_stream_state next)
{
    stream->state = next;
    return 0;
}

static int json_stream_expect(
    struct json_stream *stream, char byte, char expected, enum json_stream_state next)
{
    return byte == expected ? json_stream_go(stream, next) : JSON_STREAM_INVALID;
}

/* ---- what is found ---- */

static int json_stream_hand_on(struct json_stream *stream, enum json_stream_part part)
{
    int result;

    if (buffer_failed(&stream->value) || buffer_failed(&stream->key))
        return JSON_STREAM_NO_MEMORY;
    result = stream->found(
        stream->context, part, buffer_text(&stream->key), buffer_text(&stream->value));
    buffer_reset(&stream->value, BUFFER_KEEP_BYTES);
    return result;
}

/* Ends a value, or an element, with the byte behind it. */
static int json_stream_end_value(struct json_stream *stream, enum json_stream_part part, char byte)
{
    const bool is_element = part == JSON_STREAM_LIST_ELEMENT;
    const bool is_empty = stream->value.length == 0 && !buffer_failed(&stream->value);
    int result;

    if (is_empty || byte == (is_element ? '}' : ']'))
        return JSON_STREAM_INVALID;
    result = json_stream_hand_on(stream, part);
    if (result != 0)
        return result;
    if (byte == ',')
        return json_stream_go(stream, is_element ? JSON_STREAM_ELEMENT : JSON_STREAM_KEY);
    if (!is_element)
        return json_stream_go(stream, JSON_STREAM_END);
    stream->state = JSON_STREAM_AFTER_LIST;
    return json_stream_hand_on(stream, JSON_STREAM_LIST_END);
}

/* ---- inside names and values ---- */

/* Takes a byte of a name. A name with an escape is none that an answer has. */
static int json_stream_take_in_key(struct json_stream *stream, char byte)
{
    if (byte == '"')
        return json_stream_go(stream, JSON_STREAM_COLON);
    buffer_append(&stream->key, &byte, 1);
    if (stream->key.length > JSON_STREAM_KEY_BYTES)
        return JSON_STREAM_TOO_LONG;
    return byte == '\\' ? JSON_STREAM_INVALID : 0;
}

/* Keeps a byte of a value, and follows strings and brackets. */
static int json_stream_keep(struct json_stream *stream, char byte)
{
    buffer_append(&stream->value, &byte, 1);
    if (stream->is_escaped)
        stream->is_escaped = false;
    else if (byte == '"')
        stream->in_string = !stream->in_string;
    else if (stream->in_string)
        stream->is_escaped = byte == '\\';
    else if (byte == '{' || byte == '[')
        stream->depth++;
    else if (byte == '}' || byte == ']')
        stream->depth--;
    return stream->value.length > JSON_STREAM_VALUE_BYTES ? JSON_STREAM_TOO_LONG : 0;
}

static int json_stream_take_inside(struct json_stream *stream, char byte)
{
    const bool ends =
        !stream->in_string && stream->depth == 0 && (byte == ',' || byte == '}' || byte == ']');

    if (!ends)
        return json_stream_keep(stream, byte);
    return json_stream_end_value(stream,
        stream->state == JSON_STREAM_IN_ELEMENT ? JSON_STREAM_LIST_ELEMENT
                                                : JSON_STREAM_MEMBER_VALUE,
        byte);
}

/* Begins a value or an element with its first byte. */
static int json_stream_begin(struct json_stream *stream, enum json_stream_state inside, char byte)
{
    stream->state = inside;
    return json_stream_take_inside(stream, byte);
}

/* ---- between tokens ---- */

static int json_stream_begin_key(struct json_stream *stream, char byte)
{
    buffer_reset(&stream->key, BUFFER_KEEP_BYTES);
    return json_stream_expect(stream, byte, '"', JSON_STREAM_IN_KEY);
}

static int json_stream_take_between(struct json_stream *stream, char byte)
{
    switch (stream->state) {
    case JSON_STREAM_START:
        return json_stream_expect(stream, byte, '{', JSON_STREAM_FIRST_KEY);
    case JSON_STREAM_FIRST_KEY:
        return byte == '}' ? json_stream_go(stream, JSON_STREAM_END)
                           : json_stream_begin_key(stream, byte);
    case JSON_STREAM_KEY:
        return json_stream_begin_key(stream, byte);
    case JSON_STREAM_COLON:
        return json_stream_expect(stream, byte, ':', JSON_STREAM_VALUE);
    case JSON_STREAM_VALUE:
        return byte == '[' ? json_stream_go(stream, JSON_STREAM_FIRST_ELEMENT)
                           : json_stream_begin(stream, JSON_STREAM_IN_VALUE, byte);
    case JSON_STREAM_FIRST_ELEMENT:
        if (byte != ']')
            return json_stream_begin(stream, JSON_STREAM_IN_ELEMENT, byte);
        stream->state = JSON_STREAM_AFTER_LIST;
        return json_stream_hand_on(stream, JSON_STREAM_LIST_END);
    case JSON_STREAM_ELEMENT:
        return json_stream_begin(stream, JSON_STREAM_IN_ELEMENT, byte);
    case JSON_STREAM_AFTER_LIST:
        return byte == ',' ? json_stream_go(stream, JSON_STREAM_KEY)
                           : json_stream_expect(stream, byte, '}', JSON_STREAM_END);
    default:
        return JSON_STREAM_INVALID; /* text behind the end */
    }
}

static int json_stream_take(struct json_stream *stream, char byte)
{
    switch (stream->state) {
    case JSON_STREAM_IN_KEY:
        return json_stream_take_in_key(stream, byte);
    case JSON_STREAM_IN_VALUE:
    case JSON_STREAM_IN_ELEMENT:
        return json_stream_take_inside(stream, byte);
    default:
        if (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n')
            return 0;
        return json_stream_take_between(stream, byte);
    }
}

/* Does the byte begin or end a string, an escape, a value or a bracket? */
static bool json_stream_is_special(bool in_string, char byte)
{
    return byte == '"' ||
           (in_string ? byte == '\\'
                      : byte == ',' || byte == '{' || byte == '}' || byte == '[' || byte == ']');
}

/* Returns how many bytes only belong to the value, and change no state. */
static size_t json_stream_count_plain(const struct json_stream *stream, struct text piece)
{
    const bool in_string = stream->in_string;
    size_t n = 0;

    if ((stream->state != JSON_STREAM_IN_VALUE && stream->state != JSON_STREAM_IN_ELEMENT) ||
        stream->is_escaped)
        return 0;
    while (n < piece.length && !json_stream_is_special(in_string, piece.bytes[n]))
        n++;
    return n;
}

int json_stream_feed(struct json_stream *stream, struct text piece)
{
    int result = 0;

    while (piece.length > 0 && result == 0) {
        const size_t n = json_stream_count_plain(stream, piece);

        buffer_append(&stream->value, piece.bytes, n);
        if (stream->value.length > JSON_STREAM_VALUE_BYTES)
            return JSON_STREAM_TOO_LONG;
        piece = text_from(piece, n);
        if (piece.length > 0) {
            result = json_stream_take(stream, *piece.bytes++);
            piece.length--;
        }
    }
    return result;
}

void json_stream_deinit(struct json_stream *stream)
{
    buffer_free(&stream->key);
    buffer_free(&stream->value);
}

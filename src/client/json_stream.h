/* SPDX-License-Identifier: MIT */
/* Takes a JSON object apart while it arrives, in memory for one value: hands on the value of each
 * member, or each element where the value is a list, as JSON text.
 *
 * It does not check that text; the codec does when it reads it. After a result other than 0, only
 * json_stream_deinit may be called. */
#ifndef PRSERV_JSON_STREAM_H
#define PRSERV_JSON_STREAM_H

#include "base/buffer.h"
#include "base/text.h"

#include <stdbool.h>

enum json_stream_state {
    JSON_STREAM_START,
    JSON_STREAM_FIRST_KEY, /* before a name, or the end of the object */
    JSON_STREAM_KEY,       /* before a name */
    JSON_STREAM_IN_KEY,
    JSON_STREAM_COLON, /* before a colon */
    JSON_STREAM_VALUE, /* before a member's value */
    JSON_STREAM_IN_VALUE,
    JSON_STREAM_FIRST_ELEMENT, /* before an element, or the end of the list */
    JSON_STREAM_ELEMENT,       /* before an element */
    JSON_STREAM_IN_ELEMENT,
    JSON_STREAM_AFTER_LIST,
    JSON_STREAM_END,
};

enum json_stream_part {
    JSON_STREAM_MEMBER_VALUE, /* a member's value that is not a list */
    JSON_STREAM_LIST_ELEMENT, /* an element of a member's list */
    JSON_STREAM_LIST_END,     /* the end of that list; value is empty */
};

struct json_stream {
    /* Called for each part, before json_stream_feed returns. Both texts are borrowed. Returns 0
     * to go on; anything else is what json_stream_feed returns. */
    int (*found)(void *context, enum json_stream_part part, struct text key, struct text value);
    void *context;
    enum json_stream_state state;
    bool in_string;      /* inside the value */
    bool is_escaped;     /* behind a backslash */
    unsigned depth;      /* open brackets inside the value */
    struct buffer key;   /* the member's name */
    struct buffer value; /* as much of the value or element as has arrived */
};

/* Results; found may return others. */
#define JSON_STREAM_INVALID 1
#define JSON_STREAM_NO_MEMORY 2
#define JSON_STREAM_TOO_LONG 3

#define JSON_STREAM_KEY_BYTES ((size_t)1024)
#define JSON_STREAM_VALUE_BYTES ((size_t)256 * 1024 * 1024)

/* Takes the next bytes. Returns 0, JSON_STREAM_INVALID if this is not a JSON object,
 * JSON_STREAM_NO_MEMORY, JSON_STREAM_TOO_LONG if a name or a value is longer than these, or what
 * found returned. */
int json_stream_feed(struct json_stream *stream, struct text piece);

/* Has the object ended? */
static inline bool json_stream_is_complete(const struct json_stream *stream)
{
    return stream->state == JSON_STREAM_END;
}

void json_stream_deinit(struct json_stream *stream);

#endif

/* SPDX-License-Identifier: MIT */
/* The incremental JSON reader: the split of an object into pieces does not change the result, and
 * in valid JSON it finds what a JSON library finds.
 *
 * Input: a byte that seeds the pieces, and the object. */
#include "client/json_stream.h"

#include "fuzz.h"

#include <jansson.h>

#define READ_FLAGS (JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES)

struct found {
    struct buffer notes;
    const json_t *object; /* the library's result, or NULL */
    size_t members;
    size_t elements; /* of the current list */
};

static void note(struct buffer *notes, struct text text)
{
    char head[32];

    (void)snprintf(head, sizeof head, "%zu:", text.length);
    buffer_append_string(notes, head);
    buffer_append_text(notes, text);
}

static const json_t *find(const json_t *object, struct text key)
{
    char name[JSON_STREAM_KEY_BYTES + 1] = "";

    if (key.length > 0)
        memcpy(name, key.bytes, key.length);
    name[key.length] = '\0';
    return json_object_get(object, name);
}

static void check_value(struct text text, const json_t *expected)
{
    json_t *value = json_loadb(text.bytes, text.length, READ_FLAGS | JSON_DECODE_ANY, NULL);

    REQUIRE(value && json_equal(value, expected));
    json_decref(value);
}

static void check_part(
    struct found *found, enum json_stream_part part, struct text key, struct text value)
{
    const json_t *entry = find(found->object, key);

    REQUIRE(entry != NULL);
    switch (part) {
    case JSON_STREAM_MEMBER_VALUE:
        REQUIRE(!json_is_array(entry));
        check_value(value, entry);
        found->members++;
        break;
    case JSON_STREAM_LIST_ELEMENT:
        REQUIRE(found->elements < json_array_size(entry));
        check_value(value, json_array_get(entry, found->elements++));
        break;
    case JSON_STREAM_LIST_END:
        REQUIRE(json_is_array(entry) && found->elements == json_array_size(entry));
        found->elements = 0;
        found->members++;
        break;
    }
}

static int take_part(void *context, enum json_stream_part part, struct text key, struct text value)
{
    struct found *found = context;

    buffer_append_string(&found->notes, part == JSON_STREAM_LIST_END ? "]" : ",");
    note(&found->notes, key);
    note(&found->notes, value);
    if (found->object)
        check_part(found, part, key, value);
    return 0;
}

/* Reads in these pieces, or in one piece if NULL. Returns the reader's result. */
static int split(struct text text, struct fuzz_pieces *pieces, struct found *found, bool *complete)
{
    struct json_stream stream = {.found = take_part, .context = found};
    int result = 0;

    while (text.length > 0 && result == 0) {
        size_t length = pieces ? fuzz_piece_length(pieces, text.length) : text.length;

        result = json_stream_feed(&stream, (struct text){.bytes = text.bytes, .length = length});
        text.bytes += length;
        text.length -= length;
    }
    *complete = json_stream_is_complete(&stream);
    json_stream_deinit(&stream);
    return result;
}

/* Tells whether the object has names that no answer has, which are refused. */
static bool has_odd_key(struct text text, json_t *object)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        if (strlen(key) > JSON_STREAM_KEY_BYTES)
            return true;
    }
    return text.length > 0 && memchr(text.bytes, '\\', text.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {.at = data, .left = size};
    struct fuzz_pieces pieces = {.state = fuzz_take_byte(&input)};
    struct text text = fuzz_take_rest(&input);
    json_t *object = json_loadb(text.length ? text.bytes : "", text.length, READ_FLAGS, NULL);
    struct found whole = {.object = json_is_object(object) ? object : NULL};
    struct found cut_up = {.object = NULL};
    bool whole_complete;
    bool cut_complete;
    int result = split(text, NULL, &whole, &whole_complete);

    REQUIRE(split(text, &pieces, &cut_up, &cut_complete) == result);
    REQUIRE(whole_complete == cut_complete);
    REQUIRE(text_equal(buffer_text(&whole.notes), buffer_text(&cut_up.notes)));
    if (whole.object && (result == 0 || !has_odd_key(text, object))) {
        REQUIRE(result == 0 && whole_complete);
        REQUIRE(whole.members == json_object_size(object));
    }
    json_decref(object);
    buffer_free(&whole.notes);
    buffer_free(&cut_up.notes);
    return 0;
}

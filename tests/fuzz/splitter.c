/* The splitter: it finds the same in whatever pieces an object comes, and in an object that is
 * JSON what a JSON library finds.
 *
 * Input: a byte that cuts, then the object. */
#include "client/splitter.h"

#include "fuzz.h"

#include <jansson.h>

#define READ_FLAGS (JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES)

struct found {
    struct buffer notes;
    const json_t *object; /* what a library read, or NULL */
    size_t members;
    size_t elements; /* of the list under way */
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
    char name[SPLITTER_KEY_BYTES + 1] = "";

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
    struct found *found, enum splitter_part part, struct text key, struct text value)
{
    const json_t *member = find(found->object, key);

    REQUIRE(member != NULL);
    switch (part) {
    case SPLITTER_MEMBER:
        REQUIRE(!json_is_array(member));
        check_value(value, member);
        found->members++;
        break;
    case SPLITTER_ONE:
        REQUIRE(found->elements < json_array_size(member));
        check_value(value, json_array_get(member, found->elements++));
        break;
    case SPLITTER_LIST_END:
        REQUIRE(json_is_array(member) && found->elements == json_array_size(member));
        found->elements = 0;
        found->members++;
        break;
    }
}

static int take_part(void *context, enum splitter_part part, struct text key, struct text value)
{
    struct found *found = context;

    buffer_append_string(&found->notes, part == SPLITTER_LIST_END ? "]" : ",");
    note(&found->notes, key);
    note(&found->notes, value);
    if (found->object)
        check_part(found, part, key, value);
    return 0;
}

/* Splits in these pieces; NULL: all at once. Returns what the splitter does. */
static int split(struct text text, struct fuzz_pieces *pieces, struct found *found, bool *complete)
{
    struct splitter splitter = {.found = take_part, .context = found};
    int result = 0;

    while (text.length > 0 && result == 0) {
        size_t length = pieces ? fuzz_piece_length(pieces, text.length) : text.length;

        result = splitter_feed(&splitter, (struct text){.bytes = text.bytes, .length = length});
        text.bytes += length;
        text.length -= length;
    }
    *complete = splitter_is_complete(&splitter);
    splitter_free(&splitter);
    return result;
}

/* Has the object names that no answer has? They are refused. */
static bool has_odd_key(struct text text, json_t *object)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        if (strlen(key) > SPLITTER_KEY_BYTES)
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

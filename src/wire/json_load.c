/* jansson collects each string and number in a buffer that grows, and does not look whether it
 * could: when memory runs out there, characters are missing from the result, and nothing says
 * so. A checksum would become another one. So where something is long enough to make that
 * buffer grow, the text is read as the second element of a list whose first is a string
 * longer than anything in the text. The buffer has grown by then, and never shrinks: if the
 * first element is whole, all of the text is.
 *
 *     ["xxxxxxxx…",TEXT]
 *
 * TEXT can't end the list early: then it would not be at the end of what is read, or the list
 * would not have two elements. */
#include "wire/json_load.h"

#include <stdlib.h>

#define READ_FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)
#define SHORT_BYTES 12 /* fits into jansson's buffer as it is at first (16), with quotes */

/* ---- how long things are ---- */

/* The longest string or number, in bytes as it is written; blanks don't count. */
static size_t longest_token(struct text json)
{
    bool in_string = false;
    size_t longest = 0;
    size_t length = 0;

    for (size_t i = 0; i < json.length; i++) {
        char byte = json.bytes[i];

        if (byte == '"') {
            in_string = !in_string;
            length = 0;
        } else if (!in_string && strchr(" \t\r\n{}[]:,", byte)) {
            length = 0;
        } else {
            length += byte == '\\' && in_string ? 2 : 1;
            i += byte == '\\' && in_string;
        }
        if (length > longest)
            longest = length;
    }
    return longest;
}

/* ---- the list ---- */

struct list {
    size_t pad_length;
    struct text json;
    size_t at; /* what jansson has taken so far */
};

static char byte_at(const struct list *list, size_t at)
{
    static const char begin[] = {'[', '"'};
    static const char between[] = {'"', ','};

    if (at < sizeof begin)
        return begin[at];
    at -= sizeof begin;
    if (at < list->pad_length)
        return 'x';
    at -= list->pad_length;
    if (at < sizeof between)
        return between[at];
    at -= sizeof between;
    if (at < list->json.length)
        return list->json.bytes[at];
    return ']';
}

/* jansson's way of asking for more. */
static size_t hand_out(void *bytes, size_t most, void *context)
{
    struct list *list = context;
    size_t end = list->pad_length + list->json.length + 5;
    size_t taken = 0;

    while (taken < most && list->at < end)
        ((char *)bytes)[taken++] = byte_at(list, list->at++);
    return taken;
}

static json_t *load_as_second(struct text json, size_t longest)
{
    struct list list = {.pad_length = longest + 2, .json = json};
    json_t *root = json_load_callback(hand_out, &list, READ_FLAGS, NULL);
    json_t *second = NULL;

    if (json_array_size(root) == 2 &&
        json_string_length(json_array_get(root, 0)) == list.pad_length)
        second = json_incref(json_array_get(root, 1));
    json_decref(root);
    return second;
}

/* What fails while there is no memory has failed for that. */
static bool is_memory_gone(size_t length)
{
    void *volatile probe = malloc(length + 64); /* or a compiler leaves it out */
    bool gone = probe == NULL;

    free(probe);
    return gone;
}

json_t *json_load_whole(struct text json, json_error_t *reason, bool *no_memory)
{
    size_t longest = longest_token(json);
    json_t *root = longest > SHORT_BYTES ? load_as_second(json, longest)
                                         : json_loadb(json.bytes, json.length, READ_FLAGS, reason);
    json_t *unsure;

    *no_memory = false;
    if (root)
        return root;
    /* Why? If it can be read now, it was not the text. */
    unsure = json_loadb(json.bytes, json.length, READ_FLAGS, reason);
    *no_memory = unsure != NULL || is_memory_gone(json.length);
    json_decref(unsure);
    return NULL;
}

/* SPDX-License-Identifier: MIT */
#include "http/query.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

static int query_digit(char character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    if (character >= 'A' && character <= 'F')
        return character - 'A' + 10;
    return -1;
}

/* Decodes a part of the target in place, which makes it shorter. */
static int query_decode(
    char *bytes, size_t length, bool is_field, struct text *decoded, struct error *error)
{
    size_t end = 0;

    for (size_t i = 0; i < length; i++) {
        char character = bytes[i];

        if (character == '%') {
            const int high = i + 2 < length ? query_digit(bytes[i + 1]) : -1;
            const int low = i + 2 < length ? query_digit(bytes[i + 2]) : -1;

            if (high < 0 || low < 0)
                return error_set(error, ERROR_INPUT,
                    "a percent sign in the target is not followed by two hexadecimal digits");
            character = (char)(high * 16 + low);
            i += 2;
        } else if (character == '+' && is_field) {
            character = ' ';
        }
        bytes[end++] = character;
    }
    *decoded = (struct text){.bytes = bytes, .length = end};
    if (!text_is_utf8(*decoded))
        return error_set(error, ERROR_INPUT, "the target is not valid UTF-8");
    return 0;
}

static int query_add_field(struct query *query, char *field, size_t length, struct error *error)
{
    char *equals = memchr(field, '=', length);
    const size_t name_length = equals ? (size_t)(equals - field) : length;
    struct query_field *added = &query->fields[query->n_fields];
    int result;

    if (query->n_fields == QUERY_MAX_FIELDS)
        return error_set(error, ERROR_INPUT, "the query has more than %d fields", QUERY_MAX_FIELDS);
    result = query_decode(field, name_length, true, &added->name, error);
    added->value = text_of("");
    if (result == 0 && equals)
        result = query_decode(equals + 1, length - name_length - 1, true, &added->value, error);
    for (size_t i = 0; i < query->n_fields && result == 0; i++) {
        if (text_equal(query->fields[i].name, added->name))
            result = error_set(error, ERROR_INPUT, "a field of the query is there twice");
    }
    if (result == 0)
        query->n_fields++;
    return result;
}

/* Returns the path and query of a target in absolute form; others as they are. */
static char *query_skip_authority(char *target)
{
    char *authority = NULL;

    if (strncasecmp(target, "http://", 7) == 0)
        authority = target + 7;
    else if (strncasecmp(target, "https://", 8) == 0)
        authority = target + 8;
    return authority ? authority + strcspn(authority, "/?#") : target;
}

int query_parse(struct query *query, char *target, struct error *error)
{
    char *path = query_skip_authority(target);
    size_t length = strcspn(path, "?#");
    char *rest = path + length;
    int result;

    query->n_fields = 0;
    if (path[0] != '/' && !(length == 0 && path != target))
        return error_set(error, ERROR_INPUT, "the target does not begin with a slash");
    result = query_decode(path, length, false, &query->path, error);
    if (result == 0 && length == 0)
        query->path = text_of("/");
    if (*rest != '?')
        return result;
    for (rest++; result == 0 && *rest != '\0' && *rest != '#'; rest += *rest == '&') {
        length = strcspn(rest, "&#");
        if (length > 0)
            result = query_add_field(query, rest, length, error);
        rest += length;
    }
    return result;
}

struct text query_find(const struct query *query, const char *name)
{
    for (size_t i = 0; i < query->n_fields; i++) {
        if (text_is(query->fields[i].name, name))
            return query->fields[i].value;
    }
    return (struct text){.bytes = NULL};
}

int query_read_number(const struct query *query, const char *name, unsigned most, unsigned *number,
    struct error *error)
{
    const struct text value = query_find(query, name);
    unsigned found = 0;

    if (!value.bytes)
        return 0;
    for (size_t i = 0; i < value.length && found <= most; i++) {
        const bool is_digit = value.bytes[i] >= '0' && value.bytes[i] <= '9';

        found = is_digit ? found * 10 + (unsigned)(value.bytes[i] - '0') : most + 1;
    }
    if (found == 0 || found > most)
        return error_set(error, ERROR_INPUT, "%s is not a number from 1 to %u", name, most);
    *number = found;
    return 0;
}

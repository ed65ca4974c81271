/* SPDX-License-Identifier: MIT */
/* Targets of HTTP requests: whatever is accepted is a path and fields in UTF-8, within the target,
 * each field once; and numbers stay within their limits. Input: a target, up to its first NUL. */
#include "http/query.h"

#include "fuzz.h"

#include <string.h>

#define TARGET_BYTES 4096

static bool is_within(struct text text, const char *target)
{
    return text.length == 0 ||
           (text.bytes >= target && text.bytes + text.length <= target + TARGET_BYTES);
}

static void check_fields(const struct query *query, const char *target)
{
    for (size_t i = 0; i < query->n_fields; i++) {
        const struct query_field *field = &query->fields[i];

        REQUIRE(is_within(field->name, target) && is_within(field->value, target));
        REQUIRE(text_is_utf8(field->name) && text_is_utf8(field->value));
        for (size_t j = 0; j < i; j++)
            REQUIRE(!text_equal(field->name, query->fields[j].name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char target[TARGET_BYTES];
    struct query query;
    struct error error;
    unsigned number = 7;

    if (size >= sizeof target)
        return 0;
    if (size > 0)
        memcpy(target, data, size);
    target[size] = '\0';
    if (query_parse(&query, target, &error) != 0) {
        REQUIRE(error.text[0] != '\0');
        return 0;
    }
    REQUIRE(query.path.length > 0 && query.path.bytes[0] == '/');
    REQUIRE(text_is_utf8(query.path));
    check_fields(&query, target);
    if (query_read_number(&query, "limit", 200, &number, &error) == 0)
        REQUIRE(number >= 1 && number <= 200);
    else
        REQUIRE(number == 7);
    return 0;
}

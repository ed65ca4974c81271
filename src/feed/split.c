/* SPDX-License-Identifier: MIT */
#include "feed/split.h"

#include "revision/revision.h"

#include <ctype.h>

#define MIN_SOURCE_DIGITS 7 /* of a source revision */

static bool split_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

size_t split_count_dotted(struct text text)
{
    size_t at = 0;

    while (at + 1 < text.length && text.bytes[at] == '.' && split_is_digit(text.bytes[at + 1])) {
        at += 2;
        while (at < text.length && split_is_digit(text.bytes[at]))
            at++;
    }
    return at;
}

bool split_release(struct text release, struct text *pr, struct text *revision, bool *is_certain)
{
    size_t at = 0;
    size_t begin = 0;
    size_t length = 0;

    while (at < release.length) {
        const size_t run = split_count_dotted(text_from(release, at));

        if (run > 0) {
            begin = at;
            length = run;
        }
        at += run > 0 ? run : 1;
    }
    if (length == 0 || begin == 0 || release.bytes[begin - 1] == '.')
        return false;
    *pr = text_first(release, begin);
    *revision = text_first(text_from(release, begin + 1), length - 1);
    if (begin + length < release.length)
        *is_certain = false;
    return true;
}

/* Returns whether a text can be the source revisions of a version: letters, digits and signs that
 * OE-core puts between them, with one run of hexadecimal digits at least. */
static bool split_is_source(struct text text)
{
    size_t run = 0;
    bool found = false;

    for (size_t i = 0; i < text.length; i++) {
        const unsigned char byte = (unsigned char)text.bytes[i];

        if (!isalnum(byte) && !strchr("_-.", byte))
            return false;
        run = isxdigit(byte) ? run + 1 : 0;
        found = found || run >= MIN_SOURCE_DIGITS;
    }
    return found;
}

bool split_autoinc(
    struct text version, struct text *before, struct text *number, struct text *source)
{
    size_t plus = version.length;
    size_t begin;

    do {
        while (plus > 0 && version.bytes[plus - 1] != '+')
            plus--;
        if (plus < 3)
            return false;
        plus--;
    } while (!split_is_digit(version.bytes[plus - 1]));
    begin = plus;
    while (begin > 0 && split_is_digit(version.bytes[begin - 1]))
        begin--;
    if (begin == 0)
        return false;
    *before = text_first(version, begin);
    *number = text_first(text_from(version, begin), plus - begin);
    *source = text_from(version, plus + 1);
    return revision_is_valid(number->bytes, number->length) && split_is_source(*source);
}

struct text split_source_recipe(struct text source)
{
    const char *slash;
    size_t length = 0;

    while (length < source.length && source.bytes[length] != ' ')
        length++;
    source.length = length;
    slash = memrchr(source.bytes, '/', source.length);
    if (slash)
        source = text_from(source, (size_t)(slash - source.bytes) + 1);
    length = 0;
    while (length < source.length && source.bytes[length] != '_')
        length++;
    if (length == source.length && length > 3 && text_is(text_from(source, length - 3), ".bb"))
        length -= 3;
    return text_first(source, length);
}

/* SPDX-License-Identifier: MIT */
#include "base/text.h"

/* Returns how many bytes follow the first one of a UTF-8 character, or -1 if none begins so. *code
 * becomes the first one's part of the character. */
static int text_count_following(unsigned char first, uint32_t *code)
{
    const int following = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;

    *code = following == 0 ? first : first & (0x3fu >> following);
    return (first >= 0x80 && first < 0xc2) || first >= 0xf5 ? -1 : following;
}

size_t text_decode(const char *at, size_t most, uint32_t *code)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    int following = text_count_following((unsigned char)*at, code);

    if (following >= 0 && (size_t)following >= most)
        return 0;
    for (int i = 1; i <= following; i++) {
        if (((unsigned char)at[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | ((unsigned char)at[i] & 0x3fu);
    }
    if (following < 0 || *code < least[following] || *code > 0x10ffff ||
        (*code >= 0xd800 && *code < 0xe000))
        return 0;
    return (size_t)following + 1;
}

bool text_is_utf8(struct text text)
{
    size_t at = 0;

    while (at < text.length) {
        uint32_t code;
        size_t length = text_decode(text.bytes + at, text.length - at, &code);

        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

/* Not printable are control characters, line separators, and those that change the direction of
 * writing. */
static bool text_is_printable(uint32_t code)
{
    return code >= 0x20 && (code < 0x7f || code >= 0xa0) && code != 0x200e && code != 0x200f &&
           !(code >= 0x2028 && code <= 0x202e) && !(code >= 0x2066 && code <= 0x2069);
}

void text_make_printable(char *string)
{
    char *to = string;

    for (const char *from = string; *from;) {
        uint32_t code;
        size_t length = text_decode(from, SIZE_MAX, &code); /* the NUL ends every character */

        if (length > 0 && text_is_printable(code)) {
            memmove(to, from, length);
            to += length;
        } else {
            *to++ = '?';
        }
        from += length > 0 ? length : 1;
    }
    *to = '\0';
}

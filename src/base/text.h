/* SPDX-License-Identifier: MIT */
/* A borrowed text: an address and a length.
 *
 * The fields of a request may contain any character, NUL included, so they carry their length.
 * Revisions consist of digits and dots, and are C strings. */
#ifndef PRSERVD_TEXT_H
#define PRSERVD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const char *bytes; /* not terminated */
    size_t length;     /* in bytes */
};

/* Returns the text of a C string, borrowed. */
static inline struct text text_of(const char *string)
{
    return (struct text){.bytes = string, .length = strlen(string)};
}

/* Returns the same text, with an address that is not NULL. */
static inline struct text text_not_null(struct text text)
{
    if (!text.bytes) {
        text.bytes = "";
        text.length = 0;
    }
    return text;
}

/* Returns the text from this position on. */
static inline struct text text_from(struct text text, size_t at)
{
    return (struct text){.bytes = text.bytes + at, .length = text.length - at};
}

/* Returns the first bytes of the text. */
static inline struct text text_first(struct text text, size_t length)
{
    return (struct text){.bytes = text.bytes, .length = length};
}

static inline bool text_equal(struct text a, struct text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

static inline bool text_is(struct text text, const char *string)
{
    return text_equal(text, text_of(string));
}

/* Returns whether a text is a short word. Faster than text_is where most texts differ early. */
static inline bool text_is_word(struct text text, const char *word)
{
    size_t at = 0;

    while (at < text.length && word[at] != '\0' && word[at] == text.bytes[at])
        at++;
    return at == text.length && word[at] == '\0';
}

static inline bool text_starts_with(struct text text, const char *string)
{
    const size_t length = strlen(string);

    return text.length >= length && memcmp(text.bytes, string, length) == 0;
}

static inline bool text_ends_with(struct text text, const char *string)
{
    const size_t length = strlen(string);

    return text.length >= length && memcmp(text.bytes + text.length - length, string, length) == 0;
}

/* Returns the text without the white space at both ends, borrowed. */
static inline struct text text_strip(struct text text)
{
    static const char white[] = " \t\r\n\v\f";

    while (text.length > 0 && strchr(white, text.bytes[0]) && text.bytes[0] != '\0')
        text = text_from(text, 1);
    while (text.length > 0 && strchr(white, text.bytes[text.length - 1]) &&
           text.bytes[text.length - 1] != '\0')
        text.length--;
    return text;
}

/* Decodes the UTF-8 character at the beginning of at least one and at most most bytes. Returns how
 * many bytes it has, or 0 if they begin with none. */
size_t text_decode(const char *at, size_t most, uint32_t *code);

/* Returns whether the text is valid UTF-8. */
bool text_is_utf8(struct text text);

/* Makes a string safe to print on a terminal: invalid UTF-8, control characters, and characters
 * that change the direction of writing become question marks. The string does not get longer. */
void text_make_printable(char *string);

#endif

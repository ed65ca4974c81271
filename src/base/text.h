/* A piece of text that someone else owns: bytes and how many.
 *
 * Fields of a request may hold any text, a NUL included, so they travel with
 * their length. Revisions hold digits and dots only and are plain C strings. */
#ifndef PRSERVD_TEXT_H
#define PRSERVD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct text {
    const char *bytes; /* not terminated */
    size_t length;     /* in bytes */
};

/* The text of a C string; borrowed. */
static inline struct text text_of(const char *string)
{
    return (struct text){.bytes = string, .length = strlen(string)};
}

/* The same text, with a pointer even if it is empty. */
static inline struct text text_not_null(struct text text)
{
    return text.bytes ? text : (struct text){.bytes = "", .length = 0};
}

static inline bool text_equal(struct text a, struct text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

static inline bool text_is(struct text text, const char *string)
{
    return text_equal(text, text_of(string));
}

/* What is left of the text without white space at both ends; borrowed. */
static inline struct text text_strip(struct text text)
{
    static const char white[] = " \t\r\n\v\f";

    while (text.length > 0 && strchr(white, text.bytes[0]) && text.bytes[0] != '\0') {
        text.bytes++;
        text.length--;
    }
    while (text.length > 0 && strchr(white, text.bytes[text.length - 1]) &&
           text.bytes[text.length - 1] != '\0')
        text.length--;
    return text;
}

/* Is this valid UTF-8? Needs no memory: an answer that depends on memory would be a wrong one. */
bool text_is_utf8(struct text text);

/* Makes a string fit for a terminal: what is no UTF-8, controls, and what turns the direction
 * of writing become question marks. It gets no longer. */
void text_make_printable(char *string);

#endif

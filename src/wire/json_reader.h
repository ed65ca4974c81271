/* SPDX-License-Identifier: MIT */
/* Reads JSON text from memory in one pass. It builds no tree and allocates nothing: the caller
 * pulls values and members, and keeps what it wants.
 *
 *     json_reader_value ──→ a string, a number, …: complete
 *                      └──→ the beginning of an object or a list; what follows is read with
 *                           json_reader_member or json_reader_element, until they return false
 *
 * The reader is strict: RFC 8259 in UTF-8, without lone surrogates, and at most JSON_MOST_DEPTH
 * objects and lists inside each other. The first error ends the reading: all functions
 * return false from then on. json_reader_finish says whether there was an error, so a caller may
 * read to the end and check once. */
#ifndef PRSERVD_JSON_READER_H
#define PRSERVD_JSON_READER_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

#define JSON_MOST_DEPTH 2048u

struct json_reader {
    const char *begin; /* borrowed */
    const char *at;    /* the next byte */
    const char *end;
    unsigned depth;      /* objects and lists that are open */
    bool is_at_first;    /* the last thing read was the beginning of an object or a list */
    const char *problem; /* NULL, or a literal that says what is wrong before at */
};

/* The kind of a value. Zero means absent. */
enum json_kind {
    JSON_KIND_NONE,
    JSON_KIND_NULL,
    JSON_KIND_FALSE,
    JSON_KIND_TRUE,
    JSON_KIND_INTEGER, /* a number without fraction and exponent, of any length */
    JSON_KIND_REAL,
    JSON_KIND_STRING,
    JSON_KIND_LIST,
    JSON_KIND_OBJECT,
};

struct json_value {
    enum json_kind kind;
    bool has_escapes;
    struct text text; /* a string as written, without its quotes, or a number's characters (of -0,
                         the 0), or what json_reader_whole read; borrowed from the JSON text */
};

/* Starts reading. The text is borrowed while the reader and its values are in use. */
void json_reader_init(struct json_reader *reader, struct text text);

/* Reads the next value. On an error, *value is absent. */
bool json_reader_value(struct json_reader *reader, struct json_value *value);

/* Reads the name of an object's next member. False: the object, or the reading, has ended. */
bool json_reader_member(struct json_reader *reader, struct json_value *name);

/* Returns whether a list has another element. Read it with json_reader_value. */
bool json_reader_element(struct json_reader *reader);

/* Reads the next value to its end. The text of an object or a list is all of it then. */
void json_reader_whole(struct json_reader *reader, struct json_value *value);

/* Reads the beginning of an object, or another value to its end. Returns whether it is an object.
 */
bool json_reader_object(struct json_reader *reader, struct json_value *value);

/* Returns whether the text was valid and nothing but blanks follows. Otherwise, problem says what
 * is wrong, at json_reader_position. */
bool json_reader_finish(struct json_reader *reader);

/* Returns how many bytes have been read. */
static inline size_t json_reader_position(const struct json_reader *reader)
{
    return (size_t)(reader->at - reader->begin);
}

/* Returns which of the words a name is, or n_words. The words have less than 32 bytes. The time
 * does not depend on the length of the name. */
int json_value_find(const struct json_value *name, const char *const *words, int n_words);

/* Compares a name with such a word. */
static inline bool json_value_is(const struct json_value *name, const char *word)
{
    return json_value_find(name, &word, 1) == 0;
}

/* Writes the characters of a string or number that was read, and a NUL behind them. Returns the
 * address of that NUL. They never take more bytes than the text of the value. */
char *json_value_decode(const struct json_value *string, char *to);

/* Copies strings and numbers into one allocation, each with a NUL behind it; the texts are the
 * copies. Returns the allocation, the caller's (free), or NULL if memory ran out. */
char *json_values_copy(const struct json_value *values, size_t n_values, struct text *texts);

#endif

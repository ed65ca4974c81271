/* SPDX-License-Identifier: MIT */
#include "wire/json_reader.h"

#include <stdint.h>
#include <stdlib.h>

#define MAX_WORD_BYTES 32 /* a name that is at least so long is none of the words */

static bool json_reader_fail(struct json_reader *reader, const char *problem)
{
    reader->problem = problem;
    return false;
}

void json_reader_init(struct json_reader *reader, struct text text)
{
    text = text_not_null(text);
    *reader = (struct json_reader){
        .begin = text.bytes, .at = text.bytes, .end = text.bytes + text.length};
}

/* Skips blanks and returns the next byte; NUL, which is not JSON, at the end. */
static char json_reader_peek(struct json_reader *reader)
{
    while (reader->at < reader->end) {
        char byte = *reader->at;

        if (byte != ' ' && byte != '\n' && byte != '\t' && byte != '\r')
            return byte;
        reader->at++;
    }
    return '\0';
}

/* ---- strings ---- */

static int json_reader_hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Returns the code of four hexadecimal digits, or -1. */
static int json_reader_hex(const char *at)
{
    int code = 0;

    for (int i = 0; i < 4; i++) {
        int digit = json_reader_hex_digit(at[i]);

        if (digit < 0)
            return -1;
        code = code * 16 + digit;
    }
    return code;
}

static bool json_reader_is_high(int code)
{
    return code >= 0xd800 && code < 0xdc00;
}

static bool json_reader_is_low(int code)
{
    return code >= 0xdc00 && code < 0xe000;
}

/* Returns the code of the \uXXXX at this position, or -1. */
static int json_reader_escaped_code(const char *at, const char *end)
{
    return end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? json_reader_hex(at + 2) : -1;
}

/* Skips an escape: \n, \u00e9, or a pair of surrogates. */
static bool json_reader_escape(struct json_reader *reader)
{
    static const char escapes[] = {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'};
    bool is_pair;
    int code;

    if (reader->end - reader->at < 2)
        return json_reader_fail(reader, "a string that does not end");
    if (reader->at[1] != 'u') {
        if (!memchr(escapes, reader->at[1], sizeof escapes))
            return json_reader_fail(reader, "an invalid escape");
        reader->at += 2;
        return true;
    }
    code = json_reader_escaped_code(reader->at, reader->end);
    if (code < 0)
        return json_reader_fail(reader, "an invalid escape");
    is_pair = json_reader_is_high(code) &&
              json_reader_is_low(json_reader_escaped_code(reader->at + 6, reader->end));
    if (!is_pair && code >= 0xd800 && code < 0xe000)
        return json_reader_fail(reader, "a lone surrogate");
    reader->at += is_pair ? 12 : 6;
    return true;
}

/* Returns whether a byte in a string needs a closer look. As signed bytes, those of characters
 * outside ASCII are less than the control characters. */
static bool json_reader_is_special(char byte)
{
    return (signed char)byte < 0x20 || byte == '"' || byte == '\\';
}

/* Returns whether one of the bytes in a word is special. */
static bool json_reader_has_special(uint64_t word)
{
    const uint64_t each = UINT64_MAX / 255; /* 1 in each byte */
    const uint64_t quotes = word ^ (each * '"');
    const uint64_t backslashes = word ^ (each * '\\');
    const uint64_t low = (word - each * 0x20) | (quotes - each) | (backslashes - each);

    return ((low | word) & (each * 0x80)) != 0;
}

/* Skips the bytes of a string that need no closer look. */
static const char *json_reader_skip_plain(const char *at, const char *end)
{
    uint64_t word;

    while ((size_t)(end - at) >= sizeof word) {
        memcpy(&word, at, sizeof word);
        if (json_reader_has_special(word))
            break;
        at += sizeof word;
    }
    while (at < end && !json_reader_is_special(*at))
        at++;
    return at;
}

/* Skips the special byte at this position with what belongs to it: an escape, or a character
 * outside ASCII. */
static bool json_reader_special(struct json_reader *reader, struct json_value *value)
{
    const unsigned char byte = (unsigned char)*reader->at;
    uint32_t code;
    size_t length;

    if (byte == '\\') {
        value->has_escapes = true;
        return json_reader_escape(reader);
    }
    if (byte < 0x20)
        return json_reader_fail(reader, "a control character in a string");
    length = text_decode(reader->at, (size_t)(reader->end - reader->at), &code);
    if (length == 0)
        return json_reader_fail(reader, "a string that is not UTF-8");
    reader->at += length;
    return true;
}

/* Reads a string from its first quote on. */
static bool json_reader_string(struct json_reader *reader, struct json_value *value)
{
    const char *begin = ++reader->at;

    value->kind = JSON_KIND_STRING;
    value->has_escapes = false;
    for (;;) {
        reader->at = json_reader_skip_plain(reader->at, reader->end);
        if (reader->at == reader->end)
            return json_reader_fail(reader, "a string that does not end");
        if (*reader->at == '"')
            break;
        if (!json_reader_special(reader, value))
            return false;
    }
    value->text = (struct text){.bytes = begin, .length = (size_t)(reader->at - begin)};
    reader->at++;
    return true;
}

/* ---- other values ---- */

static bool json_reader_word(
    struct json_reader *reader, struct json_value *value, const char *word, enum json_kind kind)
{
    const size_t length = strlen(word);

    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return json_reader_fail(reader, "a value is expected");
    reader->at += length;
    value->kind = kind;
    return true;
}

/* Skips digits. Returns whether there was one. */
static bool json_reader_digits(struct json_reader *reader)
{
    const char *begin = reader->at;

    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
        reader->at++;
    return reader->at > begin;
}

/* Skips the next byte if it is one of these two. Returns whether it was. */
static bool json_reader_take(struct json_reader *reader, char one, char other)
{
    if (reader->at == reader->end || (*reader->at != one && *reader->at != other))
        return false;
    reader->at++;
    return true;
}

static bool json_reader_number(struct json_reader *reader, struct json_value *value)
{
    const char *begin = reader->at;

    value->kind = JSON_KIND_INTEGER;
    (void)json_reader_take(reader, '-', '-');
    if (!json_reader_take(reader, '0', '0') && !json_reader_digits(reader))
        return json_reader_fail(reader, "a value is expected");
    if (json_reader_take(reader, '.', '.')) {
        value->kind = JSON_KIND_REAL;
        if (!json_reader_digits(reader))
            return json_reader_fail(reader, "an incomplete number");
    }
    if (json_reader_take(reader, 'e', 'E')) {
        value->kind = JSON_KIND_REAL;
        (void)json_reader_take(reader, '+', '-');
        if (!json_reader_digits(reader))
            return json_reader_fail(reader, "an incomplete number");
    }
    value->text = (struct text){.bytes = begin, .length = (size_t)(reader->at - begin)};
    if (value->kind == JSON_KIND_INTEGER && text_is(value->text, "-0"))
        value->text = (struct text){.bytes = begin + 1, .length = 1};
    return true;
}

static bool json_reader_open(
    struct json_reader *reader, struct json_value *value, enum json_kind kind)
{
    if (reader->depth == JSON_MOST_DEPTH)
        return json_reader_fail(reader, "objects and lists nested too deeply");
    value->kind = kind;
    value->text.bytes = reader->at++;
    reader->depth++;
    reader->is_at_first = true;
    return true;
}

static bool json_reader_any(struct json_reader *reader, struct json_value *value)
{
    switch (json_reader_peek(reader)) {
    case '"':
        return json_reader_string(reader, value);
    case '{':
        return json_reader_open(reader, value, JSON_KIND_OBJECT);
    case '[':
        return json_reader_open(reader, value, JSON_KIND_LIST);
    case 't':
        return json_reader_word(reader, value, "true", JSON_KIND_TRUE);
    case 'f':
        return json_reader_word(reader, value, "false", JSON_KIND_FALSE);
    case 'n':
        return json_reader_word(reader, value, "null", JSON_KIND_NULL);
    default:
        return json_reader_number(reader, value);
    }
}

bool json_reader_value(struct json_reader *reader, struct json_value *value)
{
    *value = (struct json_value){.kind = JSON_KIND_NONE};
    if (reader->problem)
        return false;
    if (json_reader_any(reader, value))
        return true;
    value->kind = JSON_KIND_NONE;
    return false;
}

/* ---- objects and lists ---- */

/* Reads the comma before the next member or element; there is none before the first. At the closing
 * bracket, reads that instead and returns false. */
static bool json_reader_more(struct json_reader *reader, char close)
{
    const bool is_first = reader->is_at_first;
    char byte;

    if (reader->problem)
        return false;
    reader->is_at_first = false;
    byte = json_reader_peek(reader);
    if (byte == close) {
        reader->at++;
        reader->depth--;
        return false;
    }
    if (is_first)
        return true;
    if (byte != ',')
        return json_reader_fail(reader, "a comma or a closing bracket is expected");
    reader->at++;
    return true;
}

bool json_reader_member(struct json_reader *reader, struct json_value *name)
{
    if (!json_reader_more(reader, '}'))
        return false;
    if (json_reader_peek(reader) != '"')
        return json_reader_fail(reader, "a name in double quotes is expected");
    if (!json_reader_string(reader, name))
        return false;
    if (json_reader_peek(reader) != ':')
        return json_reader_fail(reader, "a colon is expected");
    reader->at++;
    return true;
}

bool json_reader_element(struct json_reader *reader)
{
    return json_reader_more(reader, ']');
}

static bool json_value_is_open(const struct json_value *value)
{
    return value->kind == JSON_KIND_OBJECT || value->kind == JSON_KIND_LIST;
}

/* Reads over the rest of an object or a list. */
static void json_reader_finish_open(struct json_reader *reader, struct json_value *value)
{
    const unsigned outside = reader->depth - 1;
    bool is_object[JSON_MOST_DEPTH + 1]; /* by depth */
    struct json_value inner = *value;

    is_object[reader->depth] = value->kind == JSON_KIND_OBJECT;
    while (!reader->problem && reader->depth > outside) {
        bool has_more = is_object[reader->depth] ? json_reader_member(reader, &inner)
                                                 : json_reader_element(reader);

        if (has_more && json_reader_value(reader, &inner) && json_value_is_open(&inner))
            is_object[reader->depth] = inner.kind == JSON_KIND_OBJECT;
    }
    value->text.length = (size_t)(reader->at - value->text.bytes);
}

void json_reader_whole(struct json_reader *reader, struct json_value *value)
{
    if (json_reader_value(reader, value) && json_value_is_open(value))
        json_reader_finish_open(reader, value);
}

bool json_reader_object(struct json_reader *reader, struct json_value *value)
{
    if (json_reader_value(reader, value) && value->kind == JSON_KIND_LIST)
        json_reader_finish_open(reader, value);
    return value->kind == JSON_KIND_OBJECT;
}

bool json_reader_finish(struct json_reader *reader)
{
    if (reader->problem)
        return false;
    if (json_reader_peek(reader) == '\0' && reader->at == reader->end)
        return true;
    return json_reader_fail(reader, "more text behind the end");
}

/* ---- values ---- */

/* Writes a character as UTF-8. */
static char *json_value_put(uint32_t code, char *to)
{
    static const unsigned char first_bits[] = {0, 0, 0xc0, 0xe0, 0xf0}; /* by n_bytes */
    const int n_bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (int i = n_bytes - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3f));
    to[0] = (char)(first_bits[n_bytes] | code);
    return to + n_bytes;
}

/* Decodes the valid escape at *at, and moves *at past it. */
static uint32_t json_value_take_escape(const char **at)
{
    static const char meanings[] = {
        ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
    const unsigned char letter = (unsigned char)(*at)[1];
    uint32_t code;

    if (letter != 'u') {
        *at += 2;
        return (unsigned char)(letter < sizeof meanings && meanings[letter] ? meanings[letter]
                                                                            : (char)letter);
    }
    code = (uint32_t)json_reader_hex(*at + 2);
    *at += 6;
    if (json_reader_is_high((int)code)) {
        code = 0x10000 + ((code & 0x3ff) << 10 | ((uint32_t)json_reader_hex(*at + 2) & 0x3ff));
        *at += 6;
    }
    return code;
}

/* Decodes a name, as far as it can be one of the words. Returns its length, or size if it is at
 * least so long. */
static size_t json_value_decode_name(const struct json_value *name, char *decoded, size_t size)
{
    const char *at = name->text.bytes;
    const char *end = at + name->text.length;
    char *to = decoded;

    while (at < end && to < decoded + size) {
        if (*at == '\\')
            to = json_value_put(json_value_take_escape(&at), to);
        else
            *to++ = *at++;
    }
    return at == end && to < decoded + size ? (size_t)(to - decoded) : size;
}

static int json_value_find_text(struct text name, const char *const *words, int n_words)
{
    int at = 0;

    while (at < n_words && !text_is_word(name, words[at]))
        at++;
    return at;
}

int json_value_find(const struct json_value *name, const char *const *words, int n_words)
{
    char decoded[MAX_WORD_BYTES + 4]; /* with room for the last character */
    size_t length;

    if (!name->has_escapes)
        return json_value_find_text(name->text, words, n_words);
    length = json_value_decode_name(name, decoded, MAX_WORD_BYTES);
    if (length == MAX_WORD_BYTES)
        return n_words;
    return json_value_find_text((struct text){.bytes = decoded, .length = length}, words, n_words);
}

char *json_value_decode(const struct json_value *string, char *to)
{
    const struct text text = text_not_null(string->text);
    const char *at = text.bytes;
    const char *end = at + text.length;

    while (at < end) {
        const char *escape = string->has_escapes ? memchr(at, '\\', (size_t)(end - at)) : NULL;
        size_t plain = (size_t)((escape ? escape : end) - at);

        memcpy(to, at, plain);
        to += plain;
        at += plain;
        while (at < end && *at == '\\')
            to = json_value_put(json_value_take_escape(&at), to);
    }
    *to = '\0';
    return to;
}

char *json_values_copy(const struct json_value *values, size_t n_values, struct text *texts)
{
    size_t bytes = 1; /* malloc(0) may return NULL */
    char *copies;
    char *to;

    for (size_t i = 0; i < n_values; i++)
        bytes += values[i].text.length + 1;
    to = copies = malloc(bytes);
    for (size_t i = 0; copies && i < n_values; i++) {
        char *end = json_value_decode(&values[i], to);

        texts[i] = (struct text){.bytes = to, .length = (size_t)(end - to)};
        to = end + 1;
    }
    return copies;
}

/* SPDX-License-Identifier: MIT */
/* Numbers are strings of digits. Without leading zeros, the longer of two is greater, and numbers
 * of the same length compare as text. */
#include "revision/revision.h"

#include <stdlib.h>

#define LONG_NUMBER 240 /* digits, in an order key */

static size_t revision_number_length(const char *text)
{
    return strspn(text, "0123456789");
}

bool revision_is_valid(const char *text, size_t length)
{
    size_t at = 0;

    for (;;) {
        size_t start = at;

        while (at < length && text[at] >= '0' && text[at] <= '9')
            at++;
        if (at == start || (text[start] == '0' && at - start > 1))
            return false;
        if (at == length)
            return true;
        if (text[at++] != '.')
            return false;
    }
}

int revision_compare(const char *a, const char *b)
{
    for (;;) {
        size_t a_length = revision_number_length(a);
        size_t b_length = revision_number_length(b);
        int order;

        if (a_length != b_length)
            return a_length < b_length ? -1 : 1;
        order = memcmp(a, b, a_length);
        if (order != 0)
            return order;
        a += a_length;
        b += b_length;
        if (*a == '\0' || *b == '\0')
            return (*a != '\0') - (*b != '\0');
        a++;
        b++;
    }
}

/* Returns a digit of a number, counted from its end, or 0 before its beginning. */
static int revision_digit(const char *number, size_t length, size_t at)
{
    return at < length ? number[length - 1 - at] - '0' : 0;
}

char *revision_add(const char *revision, const char *number)
{
    const char *dot = strrchr(revision, '.');
    const char *last = dot ? dot + 1 : revision;
    size_t head = (size_t)(last - revision);
    size_t last_length = strlen(last);
    size_t number_length = strlen(number);
    size_t length = last_length > number_length ? last_length : number_length;
    char *result = malloc(head + length + 2); /* one more digit, and the NUL */
    char *digits;
    int carry = 0;

    if (!result)
        return NULL;
    digits = result + head;
    memcpy(result, revision, head);
    digits[length + 1] = '\0';
    for (size_t at = 0; at < length; at++) {
        carry += revision_digit(last, last_length, at) + revision_digit(number, number_length, at);
        digits[length - at] = (char)('0' + carry % 10);
        carry /= 10;
    }
    digits[0] = '1';
    if (carry == 0)
        memmove(digits, digits + 1, length + 1);
    return result;
}

char *revision_increase(const char *revision)
{
    return revision_add(revision, "1");
}

char *revision_child(const char *revision)
{
    char *result = malloc(strlen(revision) + sizeof ".0");

    if (!result)
        return NULL;
    (void)stpcpy(stpcpy(result, revision), ".0");
    return result;
}

/* ---- order keys ---- */

/* A key has, for each number of the revision, the count of its digits and then the digits in ASCII:
 *
 *     1 to 239 digits       one byte, the count
 *     240 digits and more   one byte, 240 plus the number of bytes of the count; then the count,
 *                           most significant byte first
 *
 * Where a prefix of a key has ended, the longer key has a byte above zero. */
static void revision_key_append_byte(struct buffer *key, size_t byte)
{
    const char as_char = (char)byte;

    buffer_append(key, &as_char, 1);
}

static void revision_key_append_length(struct buffer *key, size_t length)
{
    size_t n_bytes = 0;

    if (length < LONG_NUMBER) {
        revision_key_append_byte(key, length);
        return;
    }
    while (length >> (8 * n_bytes) > 0)
        n_bytes++;
    revision_key_append_byte(key, LONG_NUMBER + n_bytes);
    while (n_bytes-- > 0)
        revision_key_append_byte(key, length >> (8 * n_bytes) & 0xff);
}

void revision_order_key(struct buffer *key, struct text revision)
{
    while (revision.length > 0) {
        const char *dot = memchr(revision.bytes, '.', revision.length);
        size_t digits = dot ? (size_t)(dot - revision.bytes) : revision.length;

        revision_key_append_length(key, digits);
        buffer_append(key, revision.bytes, digits);
        revision = text_from(revision, dot ? digits + 1 : digits);
    }
}

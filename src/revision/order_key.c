/* For each number how many digits it has, then the digits:
 *
 *     digits   1 to 239        one byte, the length; then the digits in ASCII
 *              240 and more    a byte 240 + how many bytes the length takes; the length, its
 *                              highest byte first; then the digits
 *
 * Numbers have no leading zeros, so the longer is the greater, and numbers of one length
 * compare like text. A key that goes on has a byte above zero where a prefix has ended. */
#include "revision/order_key.h"

#define LONG_NUMBER 240

static void append_byte(struct buffer *key, size_t byte)
{
    const char as_char = (char)byte;

    buffer_append(key, &as_char, 1);
}

static size_t bytes_of(size_t length)
{
    size_t n_bytes = 0;

    for (; length > 0; length >>= 8)
        n_bytes++;
    return n_bytes;
}

static void append_length(struct buffer *key, size_t length)
{
    size_t n_bytes = bytes_of(length);

    if (length < LONG_NUMBER) {
        append_byte(key, length);
        return;
    }
    append_byte(key, LONG_NUMBER + n_bytes);
    while (n_bytes-- > 0)
        append_byte(key, length >> (8 * n_bytes) & 0xff);
}

void revision_order_key(struct buffer *key, struct text revision)
{
    while (revision.length > 0) {
        const char *dot = memchr(revision.bytes, '.', revision.length);
        size_t digits = dot ? (size_t)(dot - revision.bytes) : revision.length;
        size_t taken = dot ? digits + 1 : digits;

        append_length(key, digits);
        buffer_append(key, revision.bytes, digits);
        revision.bytes += taken;
        revision.length -= taken;
    }
}

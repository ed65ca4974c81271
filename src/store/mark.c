/* SPDX-License-Identifier: MIT */
#include "store/mark.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define DIGITS (MARK_IDENTITY_BYTES - 1)
#define MOST_NUMBER_DIGITS 18 /* of a counter; fits into an int64_t */

void mark_format(const struct mark *mark, char text[MARK_TEXT_BYTES])
{
    (void)snprintf(text, MARK_TEXT_BYTES, "%s:%" PRId64, mark->identity, mark->counter);
}

bool mark_parse(struct mark *mark, struct text text)
{
    static const char hex[] = "0123456789abcdef";
    const size_t n_digits = text.length > DIGITS ? text.length - DIGITS - 1 : 0;
    const char *digits = text.bytes + DIGITS + 1;

    if (n_digits == 0 || n_digits > MOST_NUMBER_DIGITS || text.bytes[DIGITS] != ':' ||
        (digits[0] == '0' && n_digits > 1))
        return false;
    *mark = (struct mark){.counter = 0};
    for (size_t i = 0; i < DIGITS; i++) {
        if (text.bytes[i] == '\0' || !strchr(hex, text.bytes[i]))
            return false;
        mark->identity[i] = text.bytes[i];
    }
    for (size_t i = 0; i < n_digits; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        mark->counter = mark->counter * 10 + (digits[i] - '0');
    }
    return true;
}

int mark_make(struct mark *mark, struct error *error)
{
    uint64_t random = 0;

    *mark = (struct mark){.counter = 0};
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return error_set(error, ERROR_SYSTEM, "can't get random bytes: %s", strerror(errno));
    (void)snprintf(mark->identity, sizeof mark->identity, "%016" PRIx64, random);
    return 0;
}

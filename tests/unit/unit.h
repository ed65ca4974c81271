/* SPDX-License-Identifier: MIT */
/* What every unit test includes: cmocka, after the headers that it asks for. */
#ifndef PRSERVD_UNIT_H
#define PRSERVD_UNIT_H

#include "base/error.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The text of a literal, which may hold NULs. */
#define TEXT(literal) ((struct text){.bytes = "" literal, .length = sizeof(literal) - 1})

static inline void check_text(struct text text, struct text expected, const char *file, int line)
{
    if (text_equal(text, expected))
        return;
    print_error("'%.*s' (%zu bytes) is not '%.*s' (%zu bytes)\n", (int)text.length,
        text.length ? text.bytes : "", text.length, (int)expected.length,
        expected.length ? expected.bytes : "", expected.length);
    _fail(file, line);
}

#define assert_text_equal(text, expected) check_text(text, expected, __FILE__, __LINE__)
#define assert_text_is(text, string) check_text(text, text_of(string), __FILE__, __LINE__)

/* Does the error's text say this? */
static inline void check_says(
    const struct error *error, const char *words, const char *file, int line)
{
    if (strstr(error->text, words))
        return;
    print_error("'%s' does not say '%s'\n", error->text, words);
    _fail(file, line);
}

#define assert_says(error, words) check_says(error, words, __FILE__, __LINE__)

#endif

#include "client/fail.h"

#include "wire/codec.h"

#include <stdarg.h>
#include <stdio.h>

/* How many bytes the printable character there has; 0: there is none. */
static size_t character_bytes(const char *at)
{
    const unsigned char first = (unsigned char)*at;

    if (first < 0x80)
        return first >= 0x20 && first != 0x7f;
    for (size_t n = 2; n <= 4 && at[n - 1]; n++) {
        if (codec_is_utf8((struct text){.bytes = at, .length = n}))
            return n;
    }
    return 0;
}

static void make_printable(char *text)
{
    while (*text) {
        size_t n = character_bytes(text);

        if (n == 0)
            *text++ = '?';
        text += n;
    }
}

int fail(struct prserv_error *error, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    make_printable(error->text);
    error->code = code;
    return code;
}

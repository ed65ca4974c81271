#include "client/fail.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

int fail(struct prserv_error *error, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    text_make_printable(error->text);
    error->code = code;
    return code;
}

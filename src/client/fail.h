/* Describing a failure in the caller's struct prserv_error. */
#ifndef PRSERV_FAIL_H
#define PRSERV_FAIL_H

#include "client/prserv.h"

#include <stdarg.h>
#include <stdio.h>

/* Returns code. */
__attribute__((format(printf, 3, 4))) static inline int fail(
    struct prserv_error *error, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    error->code = code;
    return code;
}

#endif

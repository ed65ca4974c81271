/* SPDX-License-Identifier: MIT */
#include "client/client_error.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

int client_error_set(struct prserv_error *error, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    text_make_printable(error->text);
    error->code = code;
    return code;
}

int client_error_from_codec(
    struct prserv_error *error, int codec_result, const struct error *reason)
{
    const int code = codec_result == ERROR_MEMORY  ? PRSERV_ERROR_MEMORY
                     : codec_result == ERROR_INPUT ? PRSERV_ERROR_REFUSED
                                                   : PRSERV_ERROR_PROTOCOL;

    return client_error_set(error, code, "%s", reason->text);
}

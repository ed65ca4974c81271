/* SPDX-License-Identifier: MIT */
/* Describes a failure in the caller's struct prserv_error.
 *
 * That struct is part of the public interface: it has the library's own codes, and a caller keeps
 * it beside other requests' errors. base/error.h, whose codes are returned and not stored, serves
 * everything below the library. */
#ifndef PRSERV_CLIENT_ERROR_H
#define PRSERV_CLIENT_ERROR_H

#include "base/error.h"
#include "client/prserv.h"

/* Sets code and text, and returns code. The text is cut to what the struct holds, and is one line
 * of UTF-8: control characters and invalid bytes in what it quotes become question marks. */
int client_error_set(struct prserv_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the text of an error of the codec, and the code of prserv.h for it. Returns that code. */
PRSERV_CHECK int client_error_from_codec(
    struct prserv_error *error, int codec_result, const struct error *reason);

#endif

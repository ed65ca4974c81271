/* What went wrong, for programs (a code) and for people (a text).
 *
 * Fallible functions return 0 or one of these negative codes, and describe the
 * failure in a struct error that the caller owns. The text says what happened,
 * to what, and what to do about it; it is one line: control characters in what it
 * quotes become question marks. */
#ifndef PRSERVD_ERROR_H
#define PRSERVD_ERROR_H

#include <stddef.h>

enum error_code {
    ERROR_MEMORY = -1,   /* an allocation failed; the request was not carried out */
    ERROR_INPUT = -2,    /* what came from outside is wrong; it can be refused and forgotten */
    ERROR_FRAMING = -3,  /* what came from outside can't be read any further */
    ERROR_LOCKED = -4,   /* another process holds the database; it may work later */
    ERROR_STORE = -5,    /* the database failed; nothing of the transaction was stored */
    ERROR_UPSTREAM = -6, /* the upstream can't be asked */
    ERROR_SYSTEM = -7,   /* the operating system refused something */
};

struct error {
    char text[512];
};

#define ERROR_MUST_CHECK __attribute__((warn_unused_result))

/* Describes the failure (cut to what the text holds) and returns code, so that
 * a function can end with `return error_set(error, ERROR_INPUT, "…")`. */
int error_set(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For ERROR_MEMORY; needs no memory itself. */
int error_set_memory(struct error *error);

#endif

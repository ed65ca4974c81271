/* Describing a failure in the caller's struct prserv_error. */
#ifndef PRSERV_FAIL_H
#define PRSERV_FAIL_H

#include "client/prserv.h"

/* Returns code. The text is cut to what the struct holds, and is one line of UTF-8,
 * whatever it quotes: a question mark stands for what is not. */
int fail(struct prserv_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

/* SPDX-License-Identifier: MIT */
/* Errors: a code for the program, a text for people.
 *
 * Fallible functions return 0 or one of these negative codes, and describe the failure in a
 * struct error that the caller owns. The text says what happened, to what, and what to do about it.
 * It is one line: control characters in what it quotes become question marks. */
#ifndef PRSERVD_ERROR_H
#define PRSERVD_ERROR_H

enum error_code {
    ERROR_MEMORY = -1,   /* an allocation failed; the request was not carried out */
    ERROR_INPUT = -2,    /* the input is invalid; the next input may be valid */
    ERROR_FRAMING = -3,  /* the input is invalid, and nothing behind it can be read */
    ERROR_LOCKED = -4,   /* another process has locked the database; it may work later */
    ERROR_STORE = -5,    /* the database failed; nothing of the transaction was stored */
    ERROR_UPSTREAM = -6, /* the upstream can't be reached */
    ERROR_SYSTEM = -7,   /* a system call failed */
};

struct error {
    char text[512];
};

#define ERROR_MUST_CHECK __attribute__((warn_unused_result))

/* Sets the text, cut to the size of the struct, and returns code, so that a function can end with
 * `return error_set(error, ERROR_INPUT, "…")`. */
int error_set(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Describes, and returns, ERROR_MEMORY. Needs no memory itself. */
int error_set_memory(struct error *error);

#endif

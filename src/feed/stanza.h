/* SPDX-License-Identifier: MIT */
/* Stanzas of lines "Name: value" or "NAME = value": Packages and control files, the data of a
 * build. Lines that begin with a blank continue a value; only its first line is kept. One thread.
 */
#ifndef PRSERV_FEED_STANZA_H
#define PRSERV_FEED_STANZA_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define STANZA_MAX_VALUE                                                    \
    ((size_t)4096) /* bytes of a field that is wanted; others have any size \
                    */
#define STANZA_MAX_LINE (STANZA_MAX_VALUE + 1024)

/* A field that is wanted. Names are compared without case. */
struct stanza_field {
    const char *name;
    struct text value; /* empty if the stanza does not have it; borrowed until the next stanza */
    size_t at;         /* where the value begins */
};

struct stanza_reader {
    FILE *file;            /* borrowed */
    char separator;        /* ':' or '=' */
    bool one_stanza;       /* blank lines don't end a stanza */
    unsigned long n_lines; /* read so far */
    unsigned long first;   /* the stanza's first line */
    unsigned long damaged; /* the line that is damaged */
    char line[STANZA_MAX_LINE];
    size_t length; /* of the line */
    struct buffer values;
};

enum stanza_result {
    STANZA_READ = 1,
    STANZA_END = 0,
    STANZA_DAMAGED = -1, /* error says what is wrong with line damaged; the next can be read */
    STANZA_NO_MEMORY = -2,
};

/* Reads the next stanza. The end of the file may also be a failure to read it (ferror). */
enum stanza_result stanza_read(struct stanza_reader *reader, struct stanza_field *wanted,
    size_t n_wanted, struct error *error);

void stanza_free(struct stanza_reader *reader);

#endif

/* SPDX-License-Identifier: MIT */
/* A file that is read byte by byte, with its line number. */
#ifndef PRSERV_SOURCE_H
#define PRSERV_SOURCE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>
#include <stdio.h>

/* The longest row. A longer one is refused and ends reading. */
#define MAX_ROW_BYTES ((size_t)256 * 1024 * 1024)

struct source {
    FILE *file;
    const char *name;    /* for messages; borrowed */
    unsigned long line;  /* line number of the next byte, from 1 */
    uint64_t at_bytes;   /* number of bytes read */
    uint64_t size_bytes; /* 0: unknown */
};

/* Opens a file ("-" is standard input) and skips a byte order mark and blanks at its beginning.
 * name is borrowed until the source is closed. Fails with ERROR_SYSTEM or ERROR_INPUT. */
ERROR_MUST_CHECK int source_open(struct source *source, const char *name, struct error *error);

/* Closes the file. */
void source_close(struct source *source);

/* Reads the next byte. Returns EOF at the end of the file or on failure (source_failed). */
static inline int source_next(struct source *source)
{
    int byte = getc_unlocked(source->file);

    source->at_bytes++;
    if (byte == '\n')
        source->line++;
    return byte;
}

/* Returns the next byte without reading it; EOF as source_next. */
int source_peek(struct source *source);

/* Reads a line without its end. Returns 1, or 0 at the end of the file. Of a line longer than
 * MAX_ROW_BYTES it reads one byte more than that. */
int source_next_line(struct source *source, struct buffer *line);

/* Returns 0, or ERROR_SYSTEM if reading has failed. */
int source_failed(const struct source *source, struct error *error);

#endif

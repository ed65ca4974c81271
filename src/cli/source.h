/* A file that is read byte by byte, and which line that is. */
#ifndef PRSERV_SOURCE_H
#define PRSERV_SOURCE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>
#include <stdio.h>

/* A row is no longer than this; what is longer is refused, and ends the reading. */
#define MOST_ROW_BYTES ((size_t)256 * 1024 * 1024)

struct source {
    FILE *file;
    const char *name;    /* as messages have it; borrowed */
    unsigned long line;  /* of the byte that comes next, from 1 */
    uint64_t at_bytes;   /* so many were taken */
    uint64_t size_bytes; /* 0: nobody knows */
};

/* Opens a file; "-" is standard input. A byte order mark and what is blank at the
 * beginning are passed over. name has to live on. Fails with ERROR_SYSTEM and ERROR_INPUT. */
ERROR_MUST_CHECK int source_open(struct source *source, const char *name, struct error *error);

/* A source that was never opened (all zero) is allowed. */
void source_close(struct source *source);

/* The next byte, or EOF: it ended, or reading failed (source_failed). */
static inline int source_take(struct source *source)
{
    int byte = getc_unlocked(source->file);

    source->at_bytes++;
    if (byte == '\n')
        source->line++;
    return byte;
}

/* The byte that comes next, which stays. */
int source_peek(struct source *source);

/* Takes a line without its end. Returns 1, or 0 at the end of the file. A line that is too
 * long is taken until it is longer than MOST_ROW_BYTES. */
int source_take_line(struct source *source, struct buffer *line);

/* Has reading failed, not ended? Then describes it. */
int source_failed(const struct source *source, struct error *error);

#endif

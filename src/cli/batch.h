/* Rows that are sent to the server together. */
#ifndef PRSERV_BATCH_H
#define PRSERV_BATCH_H

#include "client/prserv.h"

#include <stdbool.h>

#define BATCH_ROWS 512

struct batch {
    struct prserv_request requests[BATCH_ROWS]; /* their texts are in one allocation each */
    unsigned long lines[BATCH_ROWS];            /* of the file, where they stand */
    size_t n;
    size_t bytes;
};

/* As many rows, or bytes, as are sent together? */
bool batch_is_full(const struct batch *batch);

/* Takes a copy of the row, which stands at line. False: out of memory. */
bool batch_add(struct batch *batch, const struct prserv_row *row, unsigned long line);

/* Keeps those of which keep says 1, and drops those of which it says 0; what is less it
 * returns, and leaves the batch fit for batch_empty alone. */
int batch_filter(
    struct batch *batch, int (*keep)(void *context, const struct prserv_row *row), void *context);

/* Drops all. */
void batch_empty(struct batch *batch);

#endif

/* Rows of a database that are on their way to another: copies of a few thousand. */
#ifndef PRSERV_ROW_BATCH_H
#define PRSERV_ROW_BATCH_H

#include "base/buffer.h"
#include "store/store.h"

#define ROW_BATCH_ROWS 10000
#define ROW_BATCH_BYTES ((size_t)4 * 1024 * 1024) /* then it is full, too */

struct row_batch {
    struct row rows[ROW_BATCH_ROWS]; /* after row_batch_seal; they point into bytes */
    size_t n;
    struct buffer bytes;
};

/* Copies a row. Until row_batch_seal, rows holds no pointers. */
void row_batch_add(struct row_batch *batch, const struct row *row);

bool row_batch_is_full(const struct row_batch *batch);

/* Nothing more is added: rows can be used. ERROR_MEMORY. */
ERROR_MUST_CHECK int row_batch_seal(struct row_batch *batch, struct error *error);

/* Takes the row at that place out of a sealed batch. */
void row_batch_take_out(struct row_batch *batch, size_t at);

void row_batch_empty(struct row_batch *batch);
void row_batch_free(struct row_batch *batch);

#endif

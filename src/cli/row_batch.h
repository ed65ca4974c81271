/* SPDX-License-Identifier: MIT */
/* Copies of rows that are stored together. */
#ifndef PRSERV_ROW_BATCH_H
#define PRSERV_ROW_BATCH_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/row.h"

#define ROW_BATCH_ROWS 10000

struct row_batch {
    struct row rows[ROW_BATCH_ROWS]; /* valid once sealed; they point into bytes */
    size_t n;
    struct buffer bytes;
};

/* Adds a copy of the row. rows can't be used before row_batch_seal. */
void row_batch_add(struct row_batch *batch, const struct row *row);

/* Returns whether the batch has as many rows or bytes, or can't hold more. */
bool row_batch_is_full(const struct row_batch *batch, size_t rows, size_t bytes);

/* Makes rows usable, once all are added. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int row_batch_seal(struct row_batch *batch, struct error *error);

/* Removes a row from a sealed batch. */
void row_batch_remove(struct row_batch *batch, size_t at);

void row_batch_empty(struct row_batch *batch);
void row_batch_deinit(struct row_batch *batch);

#endif

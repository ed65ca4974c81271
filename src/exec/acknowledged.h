/* SPDX-License-Identifier: MIT */
/* The rows that this server has acknowledged last. If the database loses them, because an older
 * state was restored under the running server, they can be added again.
 *
 * Used by one thread at a time. */
#ifndef PRSERVD_ACKNOWLEDGED_H
#define PRSERVD_ACKNOWLEDGED_H

#include "base/row.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct acknowledged;

/* limit_bytes: when they take more, the oldest rows are forgotten. Returns NULL when memory ran
 * out. */
struct acknowledged *acknowledged_create(size_t limit_bytes);
void acknowledged_free(struct acknowledged *rows);

/* Copies a row of the transaction under way. If memory runs out, the row is left out. */
void acknowledged_add(struct acknowledged *rows, const struct row *row);

/* Ends the transaction: its rows are kept, with the counter of the mark after it; or forgotten. */
void acknowledged_keep(struct acknowledged *rows, int64_t counter);
void acknowledged_drop(struct acknowledged *rows);

/* A position among the rows; {0}: before the first one. Valid until rows are kept. */
struct acknowledged_place {
    const void *block;
    size_t at;
};

/* Returns the row after a position, and moves the position; false after the last one. The row is
 * borrowed until rows are kept. */
bool acknowledged_next(const struct acknowledged *rows, struct acknowledged_place *place,
    struct row *row, int64_t *counter);

#endif

/* SPDX-License-Identifier: MIT */
/* Rows whose value is not a revision, left by another program. They are ignored, and each is
 * reported once in the log. Thread-safe. */
#ifndef PRSERVD_INVALID_ROWS_H
#define PRSERVD_INVALID_ROWS_H

#include "base/log.h"
#include "store/store.h"

#include <stdbool.h>

struct invalid_rows;

/* Returns NULL when memory ran out. The log is borrowed. */
struct invalid_rows *invalid_rows_create(struct log *log);
void invalid_rows_free(struct invalid_rows *invalid_rows);

/* Returns whether the row's value is a revision. If it is not, reports the row unless that was done
 * before. */
bool invalid_rows_check(struct invalid_rows *invalid_rows, const struct row *row);

#endif

/* SPDX-License-Identifier: MIT */
/* A set of rows, and a map from names to their greatest revision, which may both be larger than
 * memory. They live in a private temporary SQLite database, in $SQLITE_TMPDIR, $TMPDIR, /var/tmp
 * or /tmp, which disappears with the process; up to 16 MiB stay in memory.
 *
 * Functions return 0 or ERROR_STORE (usually because that folder is full). One thread. */
#ifndef PRSERV_ROW_SET_H
#define PRSERV_ROW_SET_H

#include "base/error.h"
#include "base/row.h"

#include <stdbool.h>
#include <stdint.h>

struct row_set;

/* *set is the caller's (row_set_close, which allows NULL). */
ERROR_MUST_CHECK int row_set_open(struct row_set **set, struct error *error);
void row_set_close(struct row_set *set);

/* ---- the set of rows; each row has a bit mask of its origins ---- */

/* Adds a row of an origin. *is_new (may be NULL): no origin had the row. */
ERROR_MUST_CHECK int row_set_add(
    struct row_set *set, const struct row *row, int origin, bool *is_new, struct error *error);

ERROR_MUST_CHECK int row_set_contains(
    struct row_set *set, const struct row *row, bool *has, struct error *error);

/* *history: a package has several revisions, or a row without one. */
ERROR_MUST_CHECK int row_set_has_history(struct row_set *set, bool *history, struct error *error);

/* Calls found for each row that not all these origins have, or with origins 0 for each row, in the
 * order of the bytes. The row is borrowed until found returns. */
ERROR_MUST_CHECK int row_set_each_not_in_all(struct row_set *set, int origins,
    void (*found)(void *context, const struct row *row, int origins), void *context,
    struct error *error);

/* Calls found for each value of a package that several checksums have, without floors: with the row
 * of the first of these checksums, the last one, and the number of rows. Borrowed until found
 * returns. */
ERROR_MUST_CHECK int row_set_each_shared(struct row_set *set,
    void (*found)(void *context, const struct row *row, struct text last_checksum, uint64_t n_rows),
    void *context, struct error *error);

/* ---- the greatest revision by name ---- */

/* Stores the revision for the name, unless the stored one is greater. */
ERROR_MUST_CHECK int row_set_raise_greatest(
    struct row_set *set, struct text name, const char *revision, struct error *error);

/* Calls found for each name, in the order of the names. */
ERROR_MUST_CHECK int row_set_each_greatest(struct row_set *set,
    void (*found)(void *context, struct text name, const char *revision), void *context,
    struct error *error);

#endif

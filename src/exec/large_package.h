/* SPDX-License-Identifier: MIT */
/* The facts about a package that has too many rows to be kept in memory.
 *
 * Its greatest value and its greatest floor are kept, and what was asked for and can't be found by
 * an index: whether a value is held, and the values of a checksum that has very many. Scans of the
 * package's rows find these facts, in pieces, so that other packages don't wait; each scan answers
 * all questions that were asked before it began. Rows that are added meanwhile are passed to
 * large_package_add. The memory does not grow with the rows. One thread at a time, inside
 * transactions of one store. */
#ifndef PRSERVD_LARGE_PACKAGE_H
#define PRSERVD_LARGE_PACKAGE_H

#include "base/error.h"
#include "exec/invalid_rows.h"
#include "exec/package_facts.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

struct large_package;

/* How much of a package is read without a scan: more rows, or bytes in them, make it large. */
struct large_package_limits {
    size_t rows;
    size_t bytes;
};

/* The rows that have been read, as they count towards the limits. */
struct large_package_count {
    size_t rows;
    size_t bytes;
};

/* Counts a row. Returns whether a limit is exceeded. */
bool large_package_count_row(struct large_package_count *count,
    const struct large_package_limits *limits, const struct row *row);

/* Returns NULL when memory ran out. Copies the names. */
struct large_package *large_package_create(struct text version, struct text pkgarch);
void large_package_free(struct large_package *large);

/* Answers a question. Returns 0; PACKAGE_IS_SCANNED if a scan has to find the answer; or an error
 * of the store. */
ERROR_MUST_CHECK int large_package_ask(struct large_package *large, struct store *store,
    struct invalid_rows *invalid_rows, const struct large_package_limits *limits,
    const struct package_question *question, struct package_facts *facts, struct error *error);

/* Takes a row that was added. After ERROR_MEMORY, call large_package_reset. */
ERROR_MUST_CHECK int large_package_add(
    struct large_package *large, struct text checksum, struct text value);

/* Forgets the facts, because others may have added rows: a scan has to begin anew. */
void large_package_reset(struct large_package *large);

/* Returns whether a question waits for a scan that was asked since the last reset. */
bool large_package_is_scanning(const struct large_package *large);

/* Returns whether the facts were forgotten so often, before they led to an answer, that the next
 * scan must not be interrupted. */
bool large_package_is_restless(const struct large_package *large);

/* Scans until a time (clock_ms; UINT64_MAX: to the end), and about a millisecond more. */
ERROR_MUST_CHECK int large_package_scan(struct large_package *large, struct store *store,
    struct invalid_rows *invalid_rows, uint64_t until_ms, struct error *error);

/* Returns about how much memory it takes. */
size_t large_package_bytes(const struct large_package *large);

#endif

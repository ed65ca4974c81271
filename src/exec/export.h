/* SPDX-License-Identifier: MIT */
/* An export in pieces, each from a transaction of its own. Between two pieces only the place is
 * kept at which the next one begins, and without history the package that it begins in.
 *
 * Used by the export thread. */
#ifndef PRSERVD_EXPORT_H
#define PRSERVD_EXPORT_H

#include "exec/invalid_rows.h"
#include "exec/job.h"
#include "store/scan.h"

#include <stdbool.h>

struct export_scan;

/* Makes the next piece of a job's answer, in a reading transaction of the store, which the caller
 * ends: sets piece, more, is_long and wanted_bytes. The piece takes some milliseconds, and may be
 * empty. *is_begun: set to false at first; if it is still so after ERROR_LOCKED, the same piece can
 * be tried again. After any other error the export is over. */
ERROR_MUST_CHECK int export_make_piece(struct job *job, struct store *store,
    struct invalid_rows *invalid_rows, bool *is_begun, struct error *error);

/* Reads on, for some milliseconds, in the long package of a job with is_long, to find its greatest
 * revision: all in one transaction, that of the store. is_begun: false at first, and set. Returns 1
 * if this has to be called again, 0 when the job has its next piece, or an error: then the export
 * is over. */
ERROR_MUST_CHECK int export_read_package(struct job *job, struct store *store,
    struct invalid_rows *invalid_rows, bool *is_begun, struct error *error);

/* Frees what an export keeps between two pieces. NULL is allowed. Any thread, but not while a piece
 * is made. */
void export_free(struct export_scan *scan);

/* Returns the memory that an export keeps between two pieces, in bytes. NULL is allowed. */
size_t export_bytes(const struct export_scan *scan);

/* Returns whether a request has a filter and no index finds the rows that pass it. */
bool export_is_search(const struct request *request);

#endif

/* SPDX-License-Identifier: MIT */
/* What the writer does while its database is rolled back (store/mark.h): it refuses new revisions,
 * adds the rows again that it has acknowledged, and lets the rollback be accepted.
 *
 * Belongs to the writer; used by one thread at a time. */
#ifndef PRSERVD_ROLLBACK_H
#define PRSERVD_ROLLBACK_H

#include "base/error.h"
#include "base/log.h"
#include "exec/job.h"
#include "exec/package_cache.h"
#include "store/store.h"

#include <stdbool.h>

struct rollback;

/* Everything is borrowed. Returns NULL when memory ran out. */
struct rollback *rollback_create(struct store *store, struct package_cache *cache, struct log *log);
void rollback_free(struct rollback *rollback);

/* Inside a transaction: notes a row that it adds. */
void rollback_note(struct rollback *rollback, const struct row *row);

/* Notes the end of a transaction. */
void rollback_end(struct rollback *rollback, bool is_committed);

/* Returns whether rows are to be added again. To be asked when a writing transaction has begun. */
bool rollback_must_restore(const struct rollback *rollback);

/* Adds the rows again, in transactions of its own. ERROR_LOCKED: to be called again. Any other
 * failure is logged. */
ERROR_MUST_CHECK int rollback_restore(struct rollback *rollback, struct error *error);

/* Refuses a job that needs a new revision, found: what is known of the database. Returns whether it
 * did. */
bool rollback_refuses(const struct store_rollback *found, struct job *job, struct log *log);

/* Refuses a look-up for a server below, which would give revisions that are too small. */
bool rollback_refuses_look_up(const struct store_rollback *found, struct job *job, struct log *log);

/* Inside a writing transaction: carries out a request that accepts the rollback, and sets the job's
 * result. Returns false if it is another request. */
bool rollback_accepts(struct rollback *rollback, struct job *job);

#endif

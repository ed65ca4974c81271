/* SPDX-License-Identifier: MIT */
/* Look-ups in a large package to which others add rows all the time, so that a scan in several
 * transactions would begin anew again and again.
 *
 * They are answered from one snapshot, on a connection of their own, in pieces of some
 * milliseconds: between two pieces the reader answers others. The snapshot is younger than all that
 * it answers; what arrives meanwhile waits for the next one. One thread at a time. */
#ifndef PRSERVD_LONG_READS_H
#define PRSERVD_LONG_READS_H

#include "base/error.h"
#include "exec/invalid_rows.h"
#include "exec/job.h"
#include "exec/package_cache.h"
#include "store/store.h"

#include <stdbool.h>

struct long_reads {
    const struct store_options *options;
    struct invalid_rows *invalid_rows;
    struct store *store; /* NULL until it is needed */
    struct package_cache *cache;
    struct job_list waiting; /* for the next snapshot */
    struct job_list reading; /* answered from the snapshot that is open */
};

/* Borrows the options and invalid_rows. */
void long_reads_init(struct long_reads *reads, const struct store_options *options,
    struct invalid_rows *invalid_rows);
void long_reads_deinit(struct long_reads *reads);

/* Takes a job. */
void long_reads_add(struct long_reads *reads, struct job *job);

/* Returns whether there are jobs. */
static inline bool long_reads_any(const struct long_reads *reads)
{
    return !STAILQ_EMPTY(&reads->waiting) || !STAILQ_EMPTY(&reads->reading);
}

/* Answers jobs, and scans a piece for the others. answer: asks the cache, and returns 0 if the job
 * has its answer or its error, otherwise PACKAGE_IS_SCANNED or ERROR_LOCKED. After an error the
 * jobs are still there, and the snapshot is not. */
typedef int (*long_reads_answer_fn)(void *context, struct package_cache *cache, struct job *job);
ERROR_MUST_CHECK int long_reads_work(struct long_reads *reads, struct job_list *finished,
    long_reads_answer_fn answer, void *context, struct error *error);

/* Moves all jobs to a list, and ends the snapshot. */
void long_reads_take_all(struct long_reads *reads, struct job_list *jobs);

#endif

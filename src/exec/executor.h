/* The threads that use the database, and the queues to them.
 *
 * A writer thread commits what has queued up since its last commit together; a
 * look-up thread answers from snapshots, which no writer blocks; an export thread
 * makes pieces of exports in turn. What needs no commit and little time is done on the
 * loop's thread instead, while the thread whose work it is has none. All functions are
 * called on the loop's thread. */
#ifndef PRSERVD_EXECUTOR_H
#define PRSERVD_EXECUTOR_H

#include "base/error.h"
#include "base/log.h"
#include "exec/batch_stats.h"
#include "exec/job.h"
#include "store/store.h"

#include <stdbool.h>

struct executor;

struct executor_options {
    const char *file;      /* see store.h; borrowed as long as the executor lives */
    const char *file_read; /* likewise */
    bool read_only;
    enum store_sync sync;
    int tidy_at_pages; /* see store.h */
    struct log *log;   /* borrowed */
    /* Called on any thread when jobs are finished: makes the loop call
     * executor_deliver soon. */
    void (*wake)(void *context);
    void *context;
};

/* Opens the database and starts the threads. Fails with what store_open says, or
 * ERROR_SYSTEM. */
ERROR_MUST_CHECK int executor_create(
    struct executor **executor, const struct executor_options *options, struct error *error);

/* Hands a job over; executor_turn has to follow. done is not called before that. */
void executor_submit(struct executor *executor, struct job *job);

/* Starts what was submitted, all of it from one state of the database, and calls done of
 * what that finished. Returns true if there may be more to start. */
bool executor_turn(struct executor *executor);

/* Calls done of each job that the threads have finished. */
void executor_deliver(struct executor *executor);

/* Gives back what a job keeps of an export that won't go on: the thread does it, before it
 * works on what is submitted from now on. Not while submitted. */
void executor_end_export(struct executor *executor, struct job *job);

/* What the writer has done so far; all zero for a read-only server. */
void executor_batch_stats(struct executor *executor, struct batch_stats *stats);

/* From now on locks are not waited for: who waits for one gets an error. */
void executor_hurry(struct executor *executor);

/* Carries out what was submitted, calls done of it, ends the threads and closes the
 * database. NULL is allowed. */
void executor_free(struct executor *executor);

#endif

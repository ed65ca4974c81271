/* SPDX-License-Identifier: MIT */
/* The executor owns the threads that use the database, and the queues to them.
 *
 * The writer's thread commits together what has queued up since its last commit; the reader's
 * thread answers from snapshots, which no writer blocks; the export thread makes pieces of exports.
 * Work that needs no commit and little time is done on the event loop's thread instead, while the
 * thread that it belongs to is idle. All functions are called on the loop's thread. */
#ifndef PRSERVD_EXECUTOR_H
#define PRSERVD_EXECUTOR_H

#include "base/error.h"
#include "exec/batch_stats.h"
#include "exec/job.h"
#include "exec/readiness.h"
#include "exec/row_count.h"
#include "store/store.h"

#include <stdbool.h>

struct executor;

/* Opens the database and starts the threads. What the options point to is borrowed; the executor
 * sets is_startup, wait_ms, shutting_down and read_deadline_ms itself. wake is called on any thread
 * when jobs are finished: it makes the loop call executor_deliver soon. Fails as store_open does,
 * or with ERROR_SYSTEM. */
ERROR_MUST_CHECK int executor_create(struct executor **executor,
    const struct store_options *options, void (*wake)(void *context), void *context,
    struct error *error);

/* Takes a job over. Call executor_turn afterwards; done is not called before that. */
void executor_submit(struct executor *executor, struct job *job);

/* Starts the submitted jobs, and calls done of those that it has finished itself. Returns true if
 * done was called, because done may have submitted more jobs. */
bool executor_turn(struct executor *executor);

/* Calls done of each job that the threads have finished. */
void executor_deliver(struct executor *executor);

/* Frees what the export of a job that is not submitted has kept. NULL is allowed as its scan. */
void executor_end_export(struct executor *executor, struct job *job);

/* Does what is due from time to time: to be called about once a second. */
void executor_tick(struct executor *executor);

/* Copies what is known about a rollback of the database. While there is one, executor_tick keeps it
 * up to date. Not rolled back for a read-only server. */
void executor_find_rollback(struct executor *executor, struct store_rollback *found);

/* Return what any thread may ask, until executor_free: about the writer, NULL for a read-only
 * server; and the number of rows. */
struct readiness *executor_readiness(const struct executor *executor);
struct row_count *executor_row_count(struct executor *executor);

/* Returns the options of the executor's own connections, for one more: for a reader that must not
 * slow down those that answer clients. Any thread, until executor_free. */
const struct store_options *executor_store_options(const struct executor *executor);

/* Copies the statistics of the writer; all zero for a read-only server. */
void executor_batch_stats(struct executor *executor, struct batch_stats *stats);

/* Returns how many rows of older tables the start has added. */
uint64_t executor_taken_over(const struct executor *executor);

/* Says that the client of a submitted job has gone, or has at least ended its input. If the job
 * waits for something that is away, or comes to wait for it, it is finished with an error. */
void executor_cancel(struct executor *executor, struct job *job);

/* Returns the name of the database (base/identity.h); "" while it is not known. */
const char *executor_instance(const struct executor *executor);

/* Returns whether servers below are refused, because the database is a standby. */
bool executor_is_stale(const struct executor *executor);

/* Ends all waits for locks. From now on, a request that would have to wait gets an error. */
void executor_begin_shutdown(struct executor *executor);

/* Carries out the submitted jobs, calls done of them, ends the threads and closes the database.
 * NULL is allowed. */
void executor_free(struct executor *executor);

#endif

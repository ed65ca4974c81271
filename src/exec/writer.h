/* SPDX-License-Identifier: MIT */
/* The writer decides and stores requests, many in one transaction.
 *
 * Used by one thread at a time. Requests that need no new row are answered from a snapshot and wait
 * for no lock. The others wait, in their order, for the lock on the database; then they are
 * decided, stored and committed together. */
#ifndef PRSERVD_WRITER_H
#define PRSERVD_WRITER_H

#include "base/error.h"
#include "exec/batch_stats.h"
#include "exec/invalid_rows.h"
#include "exec/job.h"
#include "exec/readiness.h"
#include "store/store.h"

#include <stdbool.h>

struct writer;

/* Opens the store. What the options point to and invalid_rows are borrowed. Fails as store_open. */
ERROR_MUST_CHECK int writer_create(struct writer **writer, const struct store_options *options,
    struct invalid_rows *invalid_rows, struct error *error);
void writer_free(struct writer *writer);

/* Appends the jobs that have arrived, if there are at least so many. Returns how many have arrived.
 * Must not wait. */
typedef size_t (*writer_take_fn)(void *context, struct job_list *arrived, size_t least);

/* Sets where a store pass takes more jobs from, so that their transaction can begin with its
 * commit. */
void writer_set_source(struct writer *writer, writer_take_fn take, void *context);

/* The read pass: takes the jobs of arrived, and moves those that need no new row to finished. The
 * others wait in the writer for the store pass. With STORE_NONBLOCK, jobs that can't be decided
 * without waiting stay in arrived. */
void writer_read_pass(struct writer *writer, struct job_list *arrived, struct job_list *finished,
    enum store_blocking blocking);

/* Finds out from time to time, while no job waits, whether the database is rolled back, whether a
 * rollback is over, and, after a failure, whether commits work again. */
void writer_tick(struct writer *writer);

/* The store pass: decides the waiting jobs, stores their rows, and appends the jobs to finished:
 * their results are set, and durable. Jobs whose lock is held elsewhere go on waiting. It may leave
 * jobs for the next pass whose transaction it has begun (writer_set_source); until then nothing is
 * read for others. Returns whether the checkpointer should run now. */
bool writer_store_pass(struct writer *writer, struct job_list *finished);

/* Reads a piece of a package that is too large to be read at once, for a few milliseconds, if jobs
 * wait for that. They are decided by the next store pass after the last piece. Moves them to
 * finished if it can't be read. */
void writer_scan(struct writer *writer, struct job_list *finished);

/* Returns how long to wait for more jobs before the next passes; 0: not at all. n_arrived jobs have
 * arrived since the last passes. *n_enough: the number of arrived jobs that ends the wait. */
uint64_t writer_delay_us(const struct writer *writer, size_t n_arrived, size_t *n_enough);

/* Returns when the store pass is to be tried again, after one that failed (clock_ms); before, it
 * does nothing. */
uint64_t writer_next_try_ms(const struct writer *writer);

/* Returns whether an earlier job of the same client for the same package waits in the writer, so
 * that this one can't be answered before it. During a store pass, on another thread. */
bool writer_is_behind(struct writer *writer, struct job *job);

/* Returns how long a store pass may take before the answerer helps, in ms. */
unsigned writer_lends_after_ms(const struct writer *writer);

/* Returns whether jobs wait that no store pass has tried, though the last one has succeeded. */
bool writer_has_untried(const struct writer *writer);

/* Returns whether jobs wait for a store pass. */
bool writer_has_waiting(const struct writer *writer);

/* Returns whether the checkpointer should review the database now. At most once a minute. */
bool writer_wants_review(struct writer *writer);

/* Copies the statistics. Any thread. */
void writer_stats(struct writer *writer, struct batch_stats *stats);

/* Copies what is known about a rollback of the database. Any thread. */
void writer_find_rollback(struct writer *writer, struct store_rollback *found);

/* Return whether the file of the mark is behind, and write it. Any thread. */
bool writer_wants_mark_file(const struct writer *writer);
void writer_write_mark_file(struct writer *writer);

/* Returns what any thread may ask about the writer, until writer_free. */
struct readiness *writer_readiness(struct writer *writer);

/* Ends all waiting jobs with an error, because the server is stopping. */
void writer_give_up(struct writer *writer, struct job_list *finished);

#endif

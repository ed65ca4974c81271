/* Decides and stores: many requests, one transaction.
 *
 * Used by the executor's writer thread only. Requests that need no new row are
 * answered from a snapshot and wait for nobody. The others wait, in their order,
 * for the lock on the database; then they are decided, stored and committed
 * together. */
#ifndef PRSERVD_WRITER_H
#define PRSERVD_WRITER_H

#include "base/error.h"
#include "base/log.h"
#include "exec/batch_stats.h"
#include "exec/job.h"
#include "exec/odd_rows.h"
#include "store/store.h"

#include <stdbool.h>

struct writer;

/* odd_rows and log are borrowed. Takes the store over, also when it fails. Fails with ERROR_MEMORY.
 */
ERROR_MUST_CHECK int writer_create(struct writer **writer, struct store *store,
    struct odd_rows *odd_rows, struct log *log, struct error *error);
void writer_free(struct writer *writer);

/* Takes all jobs of arrived, and appends to finished what is done: results are set,
 * and what they say is durable. Returns true if jobs are still waiting for the
 * lock: then it is to be called again, with new arrivals or without. */
ERROR_MUST_CHECK bool writer_work(
    struct writer *writer, struct job_list *arrived, struct job_list *finished);

/* What it has done so far. Any thread. */
void writer_stats(struct writer *writer, struct batch_stats *stats);

/* Ends with an error whatever still waits for the lock. */
void writer_give_up(struct writer *writer, struct job_list *finished);

#endif

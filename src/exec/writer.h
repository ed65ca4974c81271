/* Decides and stores: many requests, one transaction.
 *
 * Used by one thread at a time. Requests that need no new row are
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

/* Takes the jobs of arrived: those that need no new row are moved to finished, the others
 * wait in the writer for writer_store. With STORE_AT_ONCE it leaves those that can't be
 * decided at once. */
void writer_look(struct writer *writer, struct job_list *arrived, struct job_list *finished,
    enum store_patience patience);

/* Stores what the waiting jobs need, and appends them to finished: results are set, and
 * what they say is durable. Those for which the database was locked go on waiting. */
void writer_store(struct writer *writer, struct job_list *finished);

/* After writer_store, when so many have arrived meanwhile: how long it pays to wait for more before
 * the next one, and until how many have arrived. A transaction with a database far away takes long,
 * however small it is, and those who got their answers just now ask again soon; or there is nothing
 * to do but to look again later. 0: not at all. */
uint64_t writer_grace_us(const struct writer *writer, size_t n_arrived, size_t *n_wanted);

/* Should a keeper tidy the database now? */
bool writer_is_untidy(const struct writer *writer);

/* Do jobs wait? */
bool writer_has_waiting(const struct writer *writer);

/* What it has done so far. Any thread. */
void writer_stats(struct writer *writer, struct batch_stats *stats);

/* Ends with an error whatever still waits for the lock. */
void writer_give_up(struct writer *writer, struct job_list *finished);

#endif

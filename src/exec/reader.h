/* SPDX-License-Identifier: MIT */
/* The reader answers from a snapshot: look-ups, and on a read-only server also get-pr and
 * max-package-pr.
 *
 * One thread at a time. */
#ifndef PRSERVD_READER_H
#define PRSERVD_READER_H

#include "base/error.h"
#include "exec/invalid_rows.h"
#include "exec/job.h"
#include "exec/writer.h"
#include "store/store.h"

struct reader;

/* Opens the store. What the options point to, invalid_rows and the writer (NULL: a read-only
 * server) are borrowed. Fails as store_open, and if the database can't be read. */
ERROR_MUST_CHECK int reader_create(struct reader **reader, const struct store_options *options,
    struct invalid_rows *invalid_rows, struct writer *writer, struct error *error);
void reader_free(struct reader *reader);

/* Answers jobs of arrived from one snapshot, and moves them to finished. Leaves the rest in arrived
 * after a while, or if the database is away, until their patience ends; with STORE_NONBLOCK also
 * the jobs that can't be answered without waiting. With STORE_BLOCK it keeps some of them, for
 * which a large package has to be read (long_reads.h). */
void reader_work(struct reader *reader, struct job_list *arrived, struct job_list *finished,
    enum store_blocking blocking);

/* Returns whether the reader has kept jobs: call reader_work again. */
bool reader_has_jobs(const struct reader *reader);

/* Moves the jobs that the reader has kept to arrived. */
void reader_take_back(struct reader *reader, struct job_list *arrived);

/* Ends the jobs that reader_work has left because the database is away, because the server is
 * stopping. */
void reader_give_up(struct reader *reader, struct job_list *arrived, struct job_list *finished);

/* Returns when jobs that reader_work has left are to be tried again (clock_ms). */
uint64_t reader_next_try_ms(const struct reader *reader);

#endif

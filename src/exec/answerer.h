/* SPDX-License-Identifier: MIT */
/* The answerer does the writer's read pass while the writer waits for a commit or a lock: it
 * answers what needs no new row, from a snapshot on a connection of its own.
 *
 * Such an answer is as good as the writer's own: the snapshot is younger than the request, and
 * shows only what is committed and durable. What a client's earlier request waits for, it leaves
 * alone. One thread at a time. */
#ifndef PRSERVD_ANSWERER_H
#define PRSERVD_ANSWERER_H

#include "base/error.h"
#include "exec/invalid_rows.h"
#include "exec/job.h"
#include "exec/writer.h"
#include "store/store.h"

struct answerer;

/* Opens the store. What the options point to, invalid_rows and the writer are borrowed. Fails as
 * store_open. */
ERROR_MUST_CHECK int answerer_create(struct answerer **answerer,
    const struct store_options *options, struct invalid_rows *invalid_rows, struct writer *writer,
    struct error *error);
void answerer_free(struct answerer *answerer);

/* Moves those jobs of arrived to finished that need no new row. The others stay there, in their
 * order. Only during a store pass of the writer. */
void answerer_work(struct answerer *answerer, struct job_list *arrived, struct job_list *finished);

/* Makes sure of the connection before it is needed: while a commit waits for a standby, a new one
 * would have to wait, too. */
void answerer_prepare(struct answerer *answerer);

/* Frees the memory that the next work can do without. */
void answerer_rest(struct answerer *answerer);

#endif

/* SPDX-License-Identifier: MIT */
/* The transactions of a store's batches, in the database (transaction.c). Which to begin, and how,
 * is decided in postgres.c. */
#ifndef PRSERVD_POSTGRES_TRANSACTION_H
#define PRSERVD_POSTGRES_TRANSACTION_H

#include "store/postgres/postgres.h"

/* Makes sure of a connection, and asks what a batch wants. Nothing is left open. Without a batch,
 * nothing is asked. Waits until until_ms. Fails as store_begin_read. */
ERROR_MUST_CHECK int postgres_transaction_read(struct postgres_store *store,
    const struct store_batch *batch, uint64_t until_ms, struct error *error);

/* Begins a transaction that writes, locks the batch's packages, and asks what it wants. Goes on
 * with the one that was begun with the last commit, if there is one. After an error, the caller
 * calls postgres_transaction_end. Fails as store_begin_write. */
ERROR_MUST_CHECK int postgres_transaction_write(struct postgres_store *store,
    const struct store_batch *batch, enum postgres_scope scope, uint64_t until_ms,
    struct error *error);

/* Adds the rows and commits. next: a batch whose transaction begins right behind the commit; NULL:
 * none. Sets has_begun_next: false if the memory for next ran out. After an error, the caller calls
 * postgres_transaction_end. */
ERROR_MUST_CHECK int postgres_transaction_commit(
    struct postgres_store *store, const struct store_batch *next, struct error *error);

/* Ends in the database what is open, and forgets what was asked. A connection in an uncertain state
 * is given up. */
void postgres_transaction_end(struct postgres_store *store);

#endif

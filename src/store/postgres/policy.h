/* SPDX-License-Identifier: MIT */
/* The policy of a store on PostgreSQL for its batches: what to do differently because a transaction
 * takes two round trips, and because other servers may hold some of the packages.
 *
 * Remembers what the last transactions were like, and says what follows for the next one. Knows
 * neither libpq nor the clock; times are those of clock_ms and clock_us. */
#ifndef PRSERVD_POSTGRES_POLICY_H
#define PRSERVD_POSTGRES_POLICY_H

#include "store/store.h"

/* A transaction gets at least this long, even for a request that has waited almost until its
 * deadline. It ends so early that the answer is there in time, with a read pass before it. */
#define POSTGRES_MIN_TRANSACTION_MS 1200
#define POSTGRES_RESERVE_MS (UINT64_C(2) * POSTGRES_MIN_TRANSACTION_MS)

/* How a transaction that writes treats packages that other servers have locked. */
enum postgres_scope {
    POSTGRES_WAIT_LOCKED,   /* waits for all of them */
    POSTGRES_SKIP_LOCKED,   /* leaves them out; waits a moment for new packages */
    POSTGRES_EXISTING_ONLY, /* leaves them out, and new packages, too */
    POSTGRES_SCOPES
};

struct postgres_policy {
    enum postgres_scope scope; /* of the next transaction */
    bool skips_read;           /* the read pass of a large batch does not pay at the moment */
    size_t n_read;             /* requests of the read pass before the next transaction */
    size_t n_items;            /* requests of the last transaction, without the held ones */
    size_t n_answered;         /* the same, if it was committed; or 0 */
    size_t n_held;             /* requests that it left out, because others held their packages */
    uint64_t held_until_ms;    /* when these are tried again */
    uint64_t began_us;         /* begin of the current transaction; 0: there is none */
    uint64_t took_us;          /* duration of the last transaction */
};

/* Returns whether a read pass of n requests would be a wasted round trip. */
bool postgres_policy_skips_read(const struct postgres_policy *policy, size_t n);

/* Returns whether a transaction of n requests would only ask again, too early, for packages that
 * others held just now. */
bool postgres_policy_is_too_early(const struct postgres_policy *policy, size_t n, uint64_t now_ms);

/* Notes that a read pass begins; and that it has succeeded, with n requests. */
void postgres_policy_begin_read(struct postgres_policy *policy);
void postgres_policy_end_read(struct postgres_policy *policy, size_t n);

/* Notes that a transaction begins. */
void postgres_policy_begin_write(struct postgres_policy *policy, uint64_t now_us);

/* Notes that the transaction of n requests has its locks, but for the packages of n_held. */
void postgres_policy_lock(struct postgres_policy *policy, size_t n, size_t n_held, uint64_t now_ms);

/* As store_least_next: the next transaction waits for its packages, and its requests get no read
 * pass. */
size_t postgres_policy_least_next(const struct postgres_policy *policy);

/* Notes that the transaction has ended: its result, and the number of rows that it has stored. */
void postgres_policy_end_write(
    struct postgres_policy *policy, int result, size_t n_rows, uint64_t now_us);

/* As store_batch_delay_us. */
uint64_t postgres_policy_delay_us(const struct postgres_policy *policy, size_t n_waiting,
    size_t n_arrived, uint64_t now_ms, size_t *n_enough);

#endif

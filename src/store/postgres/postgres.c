/* SPDX-License-Identifier: MIT */
/* A store on PostgreSQL: its batches, and the answers that they get. transaction.c has the
 * transactions, policy.c says which packages to wait for, and when a read pass or another try would
 * be in vain.
 *
 * READ COMMITTED is enough: rows of a package are only ever added under its lock, and the question
 * of a batch is a statement of its own after the locks, so it sees everything that earlier holders
 * of the locks have committed.
 *
 * When the connection breaks, is too slow, or another transaction has to give way, the result is
 * ERROR_LOCKED: the caller tries again as long as the client waits. That also settles a commit of
 * unknown outcome: the next transaction locks the same packages, so it waits until the old one has
 * ended, and decides from what the database holds then. */
#include "store/postgres/postgres.h"

#include "base/clock.h"
#include "store/postgres/transaction.h"

#include <stdlib.h>

static struct postgres_store *postgres_store_of(struct store *base)
{
    return (struct postgres_store *)base;
}

/* Counts the requests of a batch. */
static size_t postgres_store_count_items(const struct store_batch *batch)
{
    struct store_item item;
    size_t n = 0;

    for (const void *at = batch->first; at != batch->end; n++)
        at = batch->describe(at, &item);
    return n;
}

/* Returns until when a batch waits for the database. */
static uint64_t postgres_store_until_ms(const struct store_batch *batch)
{
    const uint64_t least_ms = clock_ms() + POSTGRES_MIN_TRANSACTION_MS;

    return batch->until_ms > least_ms + POSTGRES_RESERVE_MS ? batch->until_ms - POSTGRES_RESERVE_MS
                                                            : least_ms;
}

/* Lets the policy learn from the transaction that has ended, if it was one that writes. */
static void postgres_store_learn(struct postgres_store *store, int result)
{
    if (store->policy.began_us > 0)
        postgres_policy_end_write(&store->policy, result,
            result == 0 ? store->rows.arrays[ROWS_PACKAGE].count : 0, clock_us());
}

/* Ends the current transaction, if there is one. */
static void postgres_store_end(struct postgres_store *store, int result)
{
    postgres_store_learn(store, result);
    postgres_transaction_end(store);
}

/* A transaction that writes is rolled back only after an error. */
static void postgres_store_rollback(struct store *base)
{
    postgres_store_end(postgres_store_of(base), ERROR_STORE);
}

/* ---- transactions ---- */

static int postgres_store_begin_read(struct store *base, const struct store_batch *batch,
    enum store_blocking blocking, struct error *error)
{
    struct postgres_store *store = postgres_store_of(base);
    const uint64_t until_ms = batch ? postgres_store_until_ms(batch) : clock_ms() + STORE_TRY_MS;
    const size_t n = batch ? postgres_store_count_items(batch) : 0;
    int result;

    if (blocking == STORE_NONBLOCK)
        return error_set(error, ERROR_LOCKED, "the database %s has to be waited for", store->name);
    postgres_policy_begin_read(&store->policy);
    if (postgres_policy_skips_read(&store->policy, n))
        return error_set(error, ERROR_LOCKED, "most of this is probably new");
    result = postgres_transaction_read(store, batch, until_ms, error);
    if (result == 0)
        postgres_policy_end_read(&store->policy, n);
    else
        postgres_store_end(store, result);
    return result;
}

/* Counts the requests for packages that are locked elsewhere. */
static size_t postgres_store_count_held(
    struct postgres_store *store, const struct store_batch *batch)
{
    struct store_item item;
    size_t n_held = 0;

    for (const void *at = batch->first; at != batch->end;) {
        at = batch->describe(at, &item);
        if (item.may_add && !postgres_facts_hold(store->facts, item.version, item.pkgarch))
            n_held++;
    }
    return n_held;
}

static int postgres_store_fail_held(const struct postgres_store *store, struct error *error)
{
    return error_set(
        error, ERROR_LOCKED, "another server holds the package in the database %s", store->name);
}

/* Begins a transaction, unless all packages of the batch are locked elsewhere. The session's
 * lock_timeout says how long locks are waited for. */
static int postgres_store_begin_write(
    struct store *base, const struct store_batch *batch, unsigned wait_ms, struct error *error)
{
    struct postgres_store *store = postgres_store_of(base);
    struct postgres_policy *policy = &store->policy;
    const uint64_t until_ms = postgres_store_until_ms(batch);
    const size_t n = postgres_store_count_items(batch);
    size_t n_held;
    int result;

    (void)wait_ms;
    postgres_mark_begin(store);
    postgres_rows_begin(&store->rows);
    if (postgres_policy_is_too_early(policy, n, clock_ms()))
        return postgres_store_fail_held(store, error);
    postgres_policy_begin_write(policy, clock_us());
    result = postgres_transaction_write(store, batch, policy->scope, until_ms, error);
    if (result != 0) {
        postgres_store_end(store, result);
        return result;
    }
    n_held = postgres_store_count_held(store, batch);
    postgres_policy_lock(policy, n, n_held, clock_ms());
    if (n_held < n || n == 0)
        return 0;
    postgres_store_end(store, 0);
    return postgres_store_fail_held(store, error);
}

static size_t postgres_store_least_next(const struct store *base)
{
    const struct postgres_store *store = (const struct postgres_store *)base;
    const bool can_begin =
        !base->rollback.is_rolled_back && !atomic_load(store->options.shutting_down);

    return can_begin ? postgres_policy_least_next(&store->policy) : 0;
}

static int postgres_store_commit(
    struct store *base, const struct store_batch *next, struct error *error)
{
    struct postgres_store *store = postgres_store_of(base);
    int result = postgres_transaction_commit(store, next, error);

    postgres_store_learn(store, result);
    if (!store->in_transaction || result != 0)
        postgres_transaction_end(store);
    return result;
}

static bool postgres_store_has_lock(struct store *base, struct text version, struct text pkgarch)
{
    return postgres_facts_hold(postgres_store_of(base)->facts, version, pkgarch);
}

static uint64_t postgres_store_batch_delay_us(
    const struct store *base, size_t n_waiting, size_t n_arrived, size_t *n_enough)
{
    const struct postgres_store *store = (const struct postgres_store *)base;

    return postgres_policy_delay_us(&store->policy, n_waiting, n_arrived, clock_ms(), n_enough);
}

/* ---- rows ---- */

static int postgres_store_load(struct store *base, struct text version, struct text pkgarch,
    store_row_fn fn, void *context, struct error *error)
{
    return postgres_facts_load(
        postgres_store_of(base)->facts, version, pkgarch, fn, context, error);
}

static int postgres_store_look_up(struct store *base, struct text version, struct text pkgarch,
    struct text checksum, store_row_fn fn, void *context, struct error *error)
{
    return postgres_facts_look_up(
        postgres_store_of(base)->facts, version, pkgarch, checksum, fn, context, error);
}

static int postgres_store_add(struct store *base, const struct row *row, struct error *error)
{
    struct postgres_store *store = postgres_store_of(base);
    int64_t package = postgres_facts_package(store->facts, row->version, row->pkgarch);

    if (package == 0)
        return error_set(
            error, ERROR_LOCKED, "a package has been deleted from the database %s", store->name);
    postgres_rows_add(&store->rows, package, row);
    return 0;
}

/* ---- opening and closing ---- */

static void postgres_store_close(struct store *base)
{
    struct postgres_store *store = postgres_store_of(base);

    postgres_attempt_abandon(store->attempt);
    if (store->conn.connection)
        postgres_disconnect(store);
    postgres_mark_close(store);
    postgres_facts_free(store->facts);
    postgres_rows_free(&store->rows);
    digest_free(store->digest);
    free(store);
}

/* Returns whether a store waits for its connection when it is opened. Those that a server opens
 * while it is serving connect in the background when they are used. (The answerer must not: while a
 * commit waits for a standby, a new connection waits for it, too.) */
static bool postgres_store_connects_at_once(const struct postgres_store *store)
{
    return store->role != STORE_CHECKPOINTER &&
           (store->options.is_startup || store->options.wait_ms == 0);
}

static const struct store_ops postgres_ops = {
    .close = postgres_store_close,
    .check = postgres_rows_check,
    .begin_read = postgres_store_begin_read,
    .begin_write = postgres_store_begin_write,
    .has_lock = postgres_store_has_lock,
    .least_next = postgres_store_least_next,
    .commit = postgres_store_commit,
    .touch = postgres_mark_touch,
    .rollback = postgres_store_rollback,
    .batch_delay_us = postgres_store_batch_delay_us,
    .load = postgres_store_load,
    .look_up = postgres_store_look_up,
    .add = postgres_store_add,
    .find_many = postgres_find_many,
    .count = postgres_count,
    .search = postgres_search,
    .scan_begin = postgres_scan_begin,
    .scan_resume = postgres_pieces_resume,
    .scan_place = postgres_pieces_place,
    .find_greatest = postgres_pieces_find_greatest,
    .scan_next = postgres_scan_next,
    .accept_rollback = postgres_mark_accept,
    .check_mark = postgres_mark_check,
    .wants_mark_file = postgres_mark_wants_file,
    .write_mark_file = postgres_mark_write_file,
};

int postgres_open(struct store **opened, const struct store_options *options, enum store_role role,
    struct error *error)
{
    struct postgres_store *store = calloc(1, sizeof *store);
    int result = 0;

    *opened = NULL;
    if (!store)
        return error_set_memory(error);
    store->base.ops = &postgres_ops;
    store->base.identity = options->identity;
    store->options = *options;
    store->role = role;
    store->mark.hold = -1;
    postgres_calm(store);
    postgres_name(postgres_conninfo(store), store->name, sizeof store->name);
    store->conn = (struct postgres_conn){
        .name = store->name, .log = options->log, .read_deadline_ms = options->read_deadline_ms};
    store->digest = store->rows.digest = digest_create();
    store->facts = postgres_facts_create(store->digest);
    if (!store->digest || !store->facts)
        result = error_set_memory(error);
    if (result == 0)
        result = postgres_check_conninfo(postgres_conninfo(store), error);
    if (result == 0)
        result = postgres_mark_open(store, error);
    if (result == 0 && postgres_store_connects_at_once(store))
        result = postgres_connect_first(store, error);
    if (result == 0)
        result = postgres_mark_start(store, error);
    store->options.is_startup = false;
    if (result != 0) {
        postgres_store_close(&store->base);
        return result;
    }
    *opened = &store->base;
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* The transactions of a store on PostgreSQL.
 *
 *     reading    one question: the facts that a batch wants; no transaction is left open
 *     writing    BEGIN, missing packages, their locks, the same question: one round trip;
 *                then the new rows and COMMIT: another
 *
 * Two round trips, whatever the size of the batch. READ COMMITTED is enough: rows of a package are
 * only ever added under its lock, and the question is a statement of its own after the locks, so it
 * sees everything that earlier holders of the locks have committed.
 *
 * When the connection breaks, is too slow, or another transaction has to give way, the result is
 * ERROR_LOCKED: the caller tries again as long as the client waits. That also settles a commit of
 * unknown outcome: the next transaction locks the same packages, so it waits until the old one has
 * ended, and decides from what the database holds then.
 *
 * policy.c says which packages to wait for, and when a read pass or another try would be in vain.
 */
#include "store/postgres/postgres.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define ROLLBACK_MS 1000

static struct postgres_store *postgres_store_of(struct store *base)
{
    return (struct postgres_store *)base;
}

/* ---- the statements of a round trip ---- */

enum postgres_step {
    STEP_BEGIN,
    STEP_TIMEOUT,   /* a short wait for locks, where held packages are left out */
    STEP_MAKE,      /* packages that are missing */
    STEP_LOCK,      /* all packages */
    STEP_LOCK_FREE, /* those that nobody else holds; the reply says which */
    STEP_FACTS,     /* the question */
    STEP_MARK,      /* the server's mark */
    STEP_ADD,       /* the new rows */
    STEP_CHANGE,    /* of the mark */
    STEP_PROVE,     /* where it is due: a proof that the database can commit (proof.c) */
    STEP_COMMIT,
    STEPS
};

static const bool read_steps[STEPS] = {[STEP_FACTS] = true, [STEP_PROVE] = true};

static const bool write_steps[POSTGRES_SCOPES][STEPS] = {
    [POSTGRES_WAIT_LOCKED] =
        {[STEP_BEGIN] = true, [STEP_MAKE] = true, [STEP_LOCK] = true, [STEP_FACTS] = true},
    [POSTGRES_SKIP_LOCKED] = {[STEP_BEGIN] = true,
        [STEP_TIMEOUT] = true,
        [STEP_MAKE] = true,
        [STEP_LOCK_FREE] = true,
        [STEP_FACTS] = true},
    [POSTGRES_EXISTING_ONLY] =
        {[STEP_BEGIN] = true, [STEP_TIMEOUT] = true, [STEP_LOCK_FREE] = true, [STEP_FACTS] = true},
};

static int postgres_store_send_plain(
    struct postgres_store *store, const char *sql, struct error *error)
{
    if (PQsendQueryParams(store->conn.connection, sql, 0, NULL, NULL, NULL, NULL, 1) != 1)
        return postgres_lost(&store->conn, error);
    return 0;
}

static bool postgres_store_has_rows(const struct postgres_store *store)
{
    return store->rows.arrays[ROWS_PACKAGE].count > 0;
}

/* Puts one statement into the pipeline. */
static int postgres_store_send(void *context, size_t step, struct error *error)
{
    struct postgres_store *store = context;

    switch (step) {
    case STEP_BEGIN:
        store->in_transaction = true;
        return postgres_store_send_plain(store, "BEGIN", error);
    case STEP_TIMEOUT:
        return postgres_store_send_plain(store, "SET LOCAL lock_timeout = '50ms'", error);
    case STEP_MAKE:
        return postgres_facts_send_make(store->facts, &store->conn, error);
    case STEP_LOCK:
    case STEP_LOCK_FREE:
        return postgres_facts_send_lock(store->facts, &store->conn, step == STEP_LOCK_FREE, error);
    case STEP_FACTS:
        return postgres_facts_send(store->facts, &store->conn, error);
    case STEP_MARK:
        return postgres_mark_send(store, error);
    case STEP_CHANGE:
        return postgres_mark_send_change(
            store, postgres_mark_change(store, postgres_store_has_rows(store)), error);
    case STEP_ADD:
        return postgres_send(
            &store->conn, "add", &store->rows.arrays[ROWS_DIGEST], N_ROWS - ROWS_DIGEST, error);
    case STEP_PROVE:
        return postgres_store_send_plain(store, postgres_proof_sql, error);
    default:
        return postgres_store_send_plain(store, "COMMIT", error);
    }
}

/* ---- the beginning of a transaction ---- */

/* Takes the replies to the question of a batch, which was sent at began_ms, perhaps with a proof.
 */
static int postgres_store_take(struct postgres_store *store, PGresult *replies[STEPS],
    bool is_proven, uint64_t began_ms, struct error *error)
{
    int result =
        postgres_facts_take(store->facts, replies[STEP_FACTS], replies[STEP_LOCK_FREE], error);

    replies[STEP_FACTS] = NULL; /* the facts' now */
    if (result == 0)
        result = postgres_pooler_check_pid(
            &store->conn, postgres_facts_backend_pid(store->facts), error);
    if (result == 0 && is_proven)
        result = postgres_proof_take(store, replies[STEP_PROVE], began_ms, error);
    return result;
}

/* Asks for the facts that a batch wants. A question that reads makes the proof that is due. */
static int postgres_store_ask(struct postgres_store *store, const struct store_batch *batch,
    const bool steps[STEPS], struct error *error)
{
    const bool proves = steps[STEP_PROVE] && postgres_proof_is_due(store);
    const uint64_t began_ms = clock_ms();
    PGresult *replies[STEPS];
    bool wanted[STEPS];
    struct error unproven;
    int result = postgres_facts_want(store->facts, batch, error);

    memcpy(wanted, steps, sizeof wanted);
    wanted[STEP_MARK] = steps[STEP_BEGIN] && store->mark.is_on;
    wanted[STEP_PROVE] = proves;
    if (proves)
        store->conn.until_ms = postgres_proof_end_ms(store, store->conn.until_ms);
    if (result == 0)
        result = postgres_pipeline(
            &store->conn, wanted, STEPS, postgres_store_send, store, replies, error);
    if (result != 0) {
        if (proves && result == ERROR_LOCKED && postgres_proof_check(store, &unproven) != 0)
            *error = unproven;
        return result;
    }
    result = postgres_store_take(store, replies, proves, began_ms, error);
    if (result == 0 && wanted[STEP_MARK])
        result = postgres_mark_take(store, replies[STEP_MARK], error);
    postgres_clear(replies, STEPS);
    return result;
}

/* Looks for the tables: a reader may have been started before they were made. */
static int postgres_store_find_tables(struct postgres_store *store, struct error *error)
{
    const struct connect_params params = {
        .conninfo = postgres_conninfo(store),
        .proves = store->options.serves,
        .sync = store->options.sync,
    };
    struct postgres_session session;
    int result;

    if (store->has_tables)
        return 0;
    result = postgres_prepare_session(&store->conn, &params, &session, error);
    store->has_tables = session.has_tables;
    return result;
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

/* Makes sure of a connection, and asks what the batch wants. Without a batch, nothing is asked. */
static int postgres_store_begin(struct postgres_store *store, const struct store_batch *batch,
    const bool steps[STEPS], uint64_t until_ms, struct error *error)
{
    int result;

    if (!batch) /* nothing is asked now that would notice it */
        postgres_check_idle(store);
    result = postgres_connect_soon(store, error);
    if (result != 0)
        return result;
    store->conn.until_ms = until_ms;
    result = postgres_store_find_tables(store, error);
    if (result == 0 && batch && store->has_tables)
        result = postgres_store_ask(store, batch, steps, error);
    else if (result == 0)
        result = postgres_proof_run(store, error);
    if (result == 0 && steps[STEP_PROVE])
        result = postgres_proof_check(store, error);
    if (result == 0)
        postgres_calm(store);
    return result;
}

/* ---- the end of a transaction ---- */

/* Ends the current transaction in the database. A connection in an uncertain state is given up. */
static void postgres_store_clean_up(struct postgres_store *store)
{
    struct error ignored;

    postgres_facts_clear(store->facts);
    postgres_pieces_clear(store);
    if (!store->conn.connection)
        return;
    if (store->in_transaction && !store->conn.is_broken) {
        store->conn.until_ms = clock_ms() + ROLLBACK_MS;
        if (postgres_run(&store->conn, "ROLLBACK", NULL, &ignored) != 0)
            store->conn.is_broken = true;
    }
    store->in_transaction = false;
    if (!store->conn.is_broken && !store->is_scanning &&
        PQtransactionStatus(store->conn.connection) == PQTRANS_IDLE)
        return;
    postgres_disconnect(store);
    postgres_pause_attempts(store);
}

/* Ends the current transaction, if there is one, and lets the policy learn from it. */
static void postgres_store_end(struct postgres_store *store, int result)
{
    if (store->policy.began_us > 0)
        postgres_policy_end_write(&store->policy, result,
            result == 0 ? store->rows.arrays[ROWS_PACKAGE].count : 0, clock_us());
    postgres_store_clean_up(store);
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
    result = postgres_store_begin(store, batch, read_steps, until_ms, error);
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
    result = postgres_store_begin(store, batch, write_steps[policy->scope], until_ms, error);
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

/* The commit is a proof if it stores rows; if it does not, one is added where it is due. */
static int postgres_store_commit(struct store *base, struct error *error)
{
    struct postgres_store *store = postgres_store_of(base);
    const bool has_rows = postgres_store_has_rows(store);
    const enum postgres_mark_change change = postgres_mark_change(store, has_rows);
    const bool writes = has_rows || change != POSTGRES_MARK_NOTHING;
    const bool proves = !writes && postgres_proof_is_due(store);
    const bool steps[STEPS] = {[STEP_ADD] = has_rows,
        [STEP_CHANGE] = change != POSTGRES_MARK_NOTHING,
        [STEP_PROVE] = proves,
        [STEP_COMMIT] = true};
    const uint64_t began_ms = clock_ms();
    PGresult *replies[STEPS];
    int result =
        postgres_pipeline(&store->conn, steps, STEPS, postgres_store_send, store, replies, error);

    if (result == 0 && (writes || proves || store->conn.is_doubtful))
        result = postgres_proof_take(store, replies[STEP_PROVE], began_ms, error);
    postgres_clear(replies, STEPS);
    if (result == 0) {
        store->in_transaction = false;
        postgres_mark_commit(store, change);
    }
    postgres_store_end(store, result);
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

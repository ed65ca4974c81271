/* SPDX-License-Identifier: MIT */
/* The transactions of batches, as statements in libpq's pipeline:
 *
 *     reading    one question: the facts that a batch wants; no transaction is left open
 *     writing    BEGIN, missing packages, their locks, the same question: one round trip;
 *                then the new rows and COMMIT: another
 *
 * Under load, the second round trip takes the next transaction's first one along:
 *
 *     batch 1    BEGIN … question ─→ decide ─→ rows, COMMIT ─→ answers
 *     batch 2                                  BEGIN … question ─→ decide ─→ rows, COMMIT
 *
 * The database works on the second batch while the clients of the first one get their answers. It
 * begins the second transaction after the first one's commit, so the question sees its rows. If the
 * first one fails, the second one is ended before it was looked at. */
#include "store/postgres/transaction.h"

#include "base/clock.h"

#include <string.h>

#define ROLLBACK_MS 1000

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

static int postgres_transaction_send_plain(
    struct postgres_store *store, const char *sql, struct error *error)
{
    if (PQsendQueryParams(store->conn.connection, sql, 0, NULL, NULL, NULL, NULL, 1) != 1)
        return postgres_lost(&store->conn, error);
    return 0;
}

static bool postgres_transaction_has_rows(const struct postgres_store *store)
{
    return store->rows.arrays[ROWS_PACKAGE].count > 0;
}

/* Puts one statement into the pipeline. */
static int postgres_transaction_send(void *context, size_t step, struct error *error)
{
    struct postgres_store *store = context;

    switch (step) {
    case STEP_BEGIN:
        store->in_transaction = true;
        return postgres_transaction_send_plain(store, "BEGIN", error);
    case STEP_TIMEOUT:
        return postgres_transaction_send_plain(store, "SET LOCAL lock_timeout = '50ms'", error);
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
            store, postgres_mark_change(store, postgres_transaction_has_rows(store)), error);
    case STEP_ADD:
        return postgres_send(
            &store->conn, "add", &store->rows.arrays[ROWS_DIGEST], N_ROWS - ROWS_DIGEST, error);
    case STEP_PROVE:
        return postgres_transaction_send_plain(store, postgres_proof_sql, error);
    default:
        return postgres_transaction_send_plain(store, "COMMIT", error);
    }
}

/* Sets the statements that a transaction begins with. */
static void postgres_transaction_choose(
    const struct postgres_store *store, enum postgres_scope scope, bool steps[STEPS])
{
    memcpy(steps, write_steps[scope], sizeof write_steps[scope]);
    steps[STEP_MARK] = store->mark.is_on;
}

/* ---- asking ---- */

/* Takes the replies to the question of a batch, which was sent at began_ms. */
static int postgres_transaction_take(struct postgres_store *store, const bool steps[STEPS],
    PGresult *replies[STEPS], uint64_t began_ms, struct error *error)
{
    int result =
        postgres_facts_take(store->facts, replies[STEP_FACTS], replies[STEP_LOCK_FREE], error);

    replies[STEP_FACTS] = NULL; /* the facts' now */
    if (result == 0)
        result = postgres_pooler_check_pid(
            &store->conn, postgres_facts_backend_pid(store->facts), error);
    if (result == 0 && steps[STEP_PROVE])
        result = postgres_proof_take(store, replies[STEP_PROVE], began_ms, error);
    if (result == 0 && steps[STEP_MARK])
        result = postgres_mark_take(store, replies[STEP_MARK], error);
    postgres_clear(replies, STEPS);
    return result;
}

/* Asks for the facts that a batch wants, in a round trip. */
static int postgres_transaction_ask(struct postgres_store *store, const struct store_batch *batch,
    const bool steps[STEPS], struct error *error)
{
    const uint64_t began_ms = clock_ms();
    PGresult *replies[STEPS];
    int result = postgres_facts_want(store->facts, batch, error);

    if (result == 0)
        result = postgres_pipeline(
            &store->conn, steps, STEPS, postgres_transaction_send, store, replies, error);
    return result == 0 ? postgres_transaction_take(store, steps, replies, began_ms, error) : result;
}

/* Asks without a transaction, and makes the proof that is due. */
static int postgres_transaction_ask_to_read(
    struct postgres_store *store, const struct store_batch *batch, struct error *error)
{
    const bool proves = postgres_proof_is_due(store);
    bool steps[STEPS];
    struct error unproven;
    int result;

    memcpy(steps, read_steps, sizeof steps);
    steps[STEP_PROVE] = proves;
    if (proves)
        store->conn.until_ms = postgres_proof_end_ms(store, store->conn.until_ms);
    result = postgres_transaction_ask(store, batch, steps, error);
    if (proves && result == ERROR_LOCKED && postgres_proof_check(store, &unproven) != 0)
        *error = unproven;
    return result;
}

/* ---- the next transaction ---- */

/* Puts the beginning of the next transaction behind the commit. Without memory, nothing begins. */
static int postgres_transaction_send_next(
    struct postgres_store *store, const struct store_batch *next, struct error *error)
{
    bool steps[STEPS];

    if (postgres_facts_want(store->facts, next, error) != 0) {
        postgres_facts_clear(store->facts);
        return 0;
    }
    postgres_transaction_choose(store, POSTGRES_WAIT_LOCKED, steps);
    store->has_begun_next = true;
    return postgres_pipeline_send(
        &store->conn, steps, STEPS, postgres_transaction_send, store, error);
}

/* Goes on with the transaction that was begun with the last commit. */
static int postgres_transaction_take_next(struct postgres_store *store, struct error *error)
{
    PGresult *replies[STEPS];
    bool steps[STEPS];
    int result;

    postgres_transaction_choose(store, POSTGRES_WAIT_LOCKED, steps);
    store->has_begun_next = false;
    result = postgres_pipeline_take(&store->conn, steps, STEPS, true, replies, error);
    postgres_pipeline_end(&store->conn);
    return result == 0 ? postgres_transaction_take(store, steps, replies, 0, error) : result;
}

/* Takes what comes of the next transaction, to end it. */
static void postgres_transaction_skip_next(struct postgres_store *store)
{
    PGresult *replies[STEPS];
    bool steps[STEPS];
    struct error ignored;

    if (!store->has_begun_next)
        return;
    postgres_transaction_choose(store, POSTGRES_WAIT_LOCKED, steps);
    store->has_begun_next = false;
    if (store->conn.is_broken)
        return;
    if (postgres_pipeline_take(&store->conn, steps, STEPS, false, replies, &ignored) == 0)
        postgres_clear(replies, STEPS);
    else
        store->conn.is_broken = true;
    postgres_pipeline_end(&store->conn);
}

/* ---- beginning ---- */

/* Looks for the tables: a reader may have been started before they were made. */
static int postgres_transaction_find_tables(struct postgres_store *store, struct error *error)
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

/* Makes sure of a connection with tables. */
static int postgres_transaction_prepare(struct postgres_store *store,
    const struct store_batch *batch, uint64_t until_ms, struct error *error)
{
    int result;

    if (!batch) /* nothing is asked now that would notice it */
        postgres_check_idle(store);
    result = postgres_connect_soon(store, error);
    store->conn.until_ms = until_ms;
    return result == 0 ? postgres_transaction_find_tables(store, error) : result;
}

int postgres_transaction_read(struct postgres_store *store, const struct store_batch *batch,
    uint64_t until_ms, struct error *error)
{
    int result = postgres_transaction_prepare(store, batch, until_ms, error);

    if (result == 0 && batch && store->has_tables)
        result = postgres_transaction_ask_to_read(store, batch, error);
    else if (result == 0)
        result = postgres_proof_run(store, error);
    if (result == 0)
        result = postgres_proof_check(store, error);
    if (result == 0)
        postgres_calm(store);
    return result;
}

int postgres_transaction_write(struct postgres_store *store, const struct store_batch *batch,
    enum postgres_scope scope, uint64_t until_ms, struct error *error)
{
    bool steps[STEPS];
    int result;

    if (store->has_begun_next) {
        store->conn.until_ms = until_ms;
        return postgres_transaction_take_next(store, error);
    }
    result = postgres_transaction_prepare(store, batch, until_ms, error);
    if (result != 0)
        return result;
    postgres_transaction_choose(store, scope, steps);
    result = store->has_tables ? postgres_transaction_ask(store, batch, steps, error)
                               : postgres_proof_run(store, error);
    if (result == 0)
        postgres_calm(store);
    return result;
}

/* ---- ending ---- */

/* The commit is a proof if it stores rows; if it does not, one is added where it is due. */
int postgres_transaction_commit(
    struct postgres_store *store, const struct store_batch *next, struct error *error)
{
    const bool has_rows = postgres_transaction_has_rows(store);
    const enum postgres_mark_change change = postgres_mark_change(store, has_rows);
    const bool writes = has_rows || change != POSTGRES_MARK_NOTHING;
    const bool proves = !writes && postgres_proof_is_due(store);
    const bool steps[STEPS] = {[STEP_ADD] = has_rows,
        [STEP_CHANGE] = change != POSTGRES_MARK_NOTHING,
        [STEP_PROVE] = proves,
        [STEP_COMMIT] = true};
    const uint64_t began_ms = clock_ms();
    PGresult *replies[STEPS] = {NULL};
    int result =
        postgres_pipeline_send(&store->conn, steps, STEPS, postgres_transaction_send, store, error);

    if (result == 0 && next && postgres_transaction_send_next(store, next, error) != 0)
        result = ERROR_LOCKED; /* this one may have been committed */
    if (result == 0)
        result = postgres_pipeline_take(&store->conn, steps, STEPS, true, replies, error);
    if (!store->has_begun_next)
        postgres_pipeline_end(&store->conn);
    if (result == 0 && (writes || proves || store->conn.is_doubtful))
        result = postgres_proof_take(store, replies[STEP_PROVE], began_ms, error);
    postgres_clear(replies, STEPS);
    if (result != 0)
        return result;
    store->in_transaction = store->has_begun_next;
    postgres_mark_commit(store, change);
    return 0;
}

void postgres_transaction_end(struct postgres_store *store)
{
    struct error ignored;

    if (store->in_transaction)
        store->conn.until_ms = clock_ms() + ROLLBACK_MS;
    postgres_transaction_skip_next(store);
    postgres_facts_clear(store->facts);
    postgres_pieces_clear(store);
    if (!store->conn.connection)
        return;
    if (store->in_transaction && !store->conn.is_broken &&
        postgres_run(&store->conn, "ROLLBACK", NULL, &ignored) != 0)
        store->conn.is_broken = true;
    store->in_transaction = false;
    if (!store->conn.is_broken && !store->is_scanning &&
        PQtransactionStatus(store->conn.connection) == PQTRANS_IDLE)
        return;
    postgres_disconnect(store);
    postgres_pause_attempts(store);
}

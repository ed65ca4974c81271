/* A database of PostgreSQL: its transactions.
 *
 *     reading    one question: what is wanted of some packages; nothing is kept open
 *     writing    BEGIN, packages that are missing, their locks, the same question: one round trip;
 *                then the rows and COMMIT: another
 *
 * Two round trips, however much is in a batch. READ COMMITTED is enough: a package's rows are only
 * ever added under its lock, and the question is a statement of its own after the locks, so it sees
 * all that the holders before have committed.
 *
 * When the connection breaks, is too slow, or another transaction has to give way, the answer is
 * ERROR_LOCKED: the caller tries again as long as somebody waits. That settles a commit of unknown
 * outcome, too: the next transaction locks the same packages, so it waits until the old one has
 * ended, and decides from what is there then. */
#include "store/postgres.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define ROLLBACK_MS 1000
#define SHORT_LOCK_TIMEOUT "'50ms'" /* where what is held is left out */
#define MOST_RESULTS 5              /* BEGIN, SET, packages, locks, answer */

static struct postgres_store *of(struct store *base)
{
    return (struct postgres_store *)base;
}

/* ---- transactions ---- */

static void expect(struct store *base, const struct store_wants *wants)
{
    of(base)->wants = wants;
}

/* Ends what is under way. A connection whose state is not certain is given up. */
static void rollback(struct store *base)
{
    struct postgres_store *store = of(base);
    struct error ignored;

    store->wants = NULL;
    postgres_facts_clear(store->facts);
    if (!store->link.connection)
        return;
    if (store->in_transaction && !store->link.is_broken) {
        store->link.until_ms = clock_ms() + ROLLBACK_MS;
        if (postgres_run(&store->link, "ROLLBACK", NULL, &ignored) != 0)
            store->link.is_broken = true;
    }
    store->in_transaction = false;
    if (!store->link.is_broken && !store->is_scanning &&
        PQtransactionStatus(store->link.connection) == PQTRANS_IDLE)
        return;
    postgres_disconnect(store);
    postgres_pause_attempts(store);
}

/* Puts BEGIN or COMMIT into the pipeline. */
static int send_plain(struct postgres_store *store, const char *sql, struct error *error)
{
    if (PQsendQueryParams(store->link.connection, sql, 0, NULL, NULL, NULL, NULL, 1) != 1)
        return postgres_lost(&store->link, error);
    return 0;
}

/* Runs the pipeline that was filled (code 0) and leaves that mode. */
static int end_pipeline(
    struct postgres_store *store, int code, PGresult **results, size_t n, struct error *error)
{
    if (code == 0)
        code = postgres_pipeline(&store->link, results, n, error);
    if (PQexitPipelineMode(store->link.connection) != 1)
        store->link.is_broken = true;
    return code;
}

static void clear_results(PGresult **results, size_t n)
{
    for (size_t i = 0; i < n; i++)
        PQclear(results[i]);
}

/* A writer's statements before the question; *n: how many. The locks are the last of them. */
static int send_locks(
    struct postgres_store *store, enum store_scope scope, size_t *n, struct error *error)
{
    int code = send_plain(store, "BEGIN", error);

    *n = 1;
    if (code == 0 && scope != STORE_ALL) {
        code = send_plain(store, "SET LOCAL lock_timeout = " SHORT_LOCK_TIMEOUT, error);
        ++*n;
    }
    if (code == 0 && scope != STORE_THERE) {
        code = postgres_facts_send_make(store->facts, &store->link, error);
        ++*n;
    }
    if (code == 0)
        code = postgres_facts_send_lock(store->facts, &store->link, scope != STORE_ALL, error);
    ++*n;
    return code;
}

/* Asks for what is wanted; a writer, one with a scope, locks it first. */
static int ask(struct postgres_store *store, const enum store_scope *scope, struct error *error)
{
    PGresult *results[MOST_RESULTS] = {NULL};
    const PGresult *locked = NULL;
    size_t n = 0;
    int code = postgres_facts_want(store->facts, store->wants, error);

    if (code != 0)
        return code;
    if (PQenterPipelineMode(store->link.connection) != 1)
        return postgres_lost(&store->link, error);
    store->in_transaction = scope != NULL;
    if (scope)
        code = send_locks(store, *scope, &n, error);
    if (code == 0)
        code = postgres_facts_send(store->facts, &store->link, error);
    code = end_pipeline(store, code, results, n + 1, error);
    if (code == 0) {
        if (scope && *scope != STORE_ALL)
            locked = results[n - 1];
        code = postgres_facts_take(store->facts, results[n], locked, error);
        results[n] = NULL;
    }
    clear_results(results, n + 1);
    return code;
}

/* A reader may be there before the tables. */
static int look_for_tables(struct postgres_store *store, struct error *error)
{
    const struct postgres_aim aim = {.conninfo = postgres_conninfo(store)};
    struct postgres_session session;
    int code;

    if (store->has_tables)
        return 0;
    code = postgres_prepare_session(&store->link, &aim, &session, error);
    store->has_tables = session.has_tables;
    return code;
}

static int begin(struct postgres_store *store, const enum store_scope *scope, struct error *error)
{
    const struct store_wants *wants = store->wants;
    int code = postgres_connect_soon(store, error);

    if (code != 0)
        return code;
    store->link.until_ms = wants ? wants->until_ms : clock_ms() + STORE_LOCK_WAIT_MS;
    code = look_for_tables(store, error);
    if (code == 0 && wants && store->has_tables)
        code = ask(store, scope, error);
    if (code == 0)
        postgres_calm(store);
    return code;
}

static int begin_read(struct store *base, enum store_patience patience, struct error *error)
{
    struct postgres_store *store = of(base);
    int code;

    if (patience == STORE_AT_ONCE)
        return error_set(error, ERROR_LOCKED, "the database %s is far away", store->name);
    code = begin(store, NULL, error);
    if (code != 0)
        rollback(base);
    return code;
}

/* Locks are waited for as long as the session's lock_timeout says. */
static int begin_write(
    struct store *base, enum store_scope scope, unsigned wait_ms, struct error *error)
{
    struct postgres_store *store = of(base);
    int code = begin(store, &scope, error);

    (void)wait_ms;
    postgres_rows_begin(&store->rows);
    if (code != 0)
        rollback(base);
    return code;
}

static int commit(struct store *base, struct error *error)
{
    struct postgres_store *store = of(base);
    PGresult *results[2] = {NULL, NULL};
    const bool adds = store->rows.packages.count > 0;
    const size_t n = adds ? 2 : 1;
    int code = 0;

    if (PQenterPipelineMode(store->link.connection) != 1)
        code = postgres_lost(&store->link, error);
    if (code == 0 && adds)
        code = postgres_rows_send(&store->rows, &store->link, error);
    if (code == 0)
        code = send_plain(store, "COMMIT", error);
    code = end_pipeline(store, code, results, n, error);
    clear_results(results, n);
    if (code == 0 && store->link.is_doubtful) {
        store->link.is_broken = true; /* the next session waits for the standbys first */
        code = error_set(error, ERROR_LOCKED,
            "the database %s did not wait for its standby; nobody knows if it has the row",
            store->name);
    }
    if (code == 0)
        store->in_transaction = false;
    rollback(base);
    return code;
}

static bool holds(struct store *base, struct text version, struct text pkgarch)
{
    return postgres_facts_hold(of(base)->facts, version, pkgarch);
}

/* Others may have written since: nothing is kept. */
static int is_unchanged(struct store *base, bool *unchanged, struct error *error)
{
    (void)base;
    (void)error;
    *unchanged = false;
    return 0;
}

/* ---- rows ---- */

static int check(struct store *base, const struct text *texts, size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (texts[i].length > 0 && memchr(texts[i].bytes, '\0', texts[i].length))
            return error_set(error, ERROR_INPUT,
                "a text with a NUL character in it can't be held by the database %s (PostgreSQL)",
                of(base)->name);
    }
    return 0;
}

static int load(struct store *base, struct text version, struct text pkgarch, store_row_fn fn,
    void *context, struct error *error)
{
    return postgres_facts_load(of(base)->facts, version, pkgarch, fn, context, error);
}

static int look_up(struct store *base, struct text version, struct text pkgarch,
    struct text checksum, store_row_fn fn, void *context, struct error *error)
{
    return postgres_facts_look_up(of(base)->facts, version, pkgarch, checksum, fn, context, error);
}

static int add(struct store *base, const struct row *row, struct error *error)
{
    struct postgres_store *store = of(base);
    int64_t package = postgres_facts_package(store->facts, row->version, row->pkgarch);

    if (package == 0)
        return error_set(
            error, ERROR_LOCKED, "a package is gone from the database %s", store->name);
    postgres_rows_add(&store->rows, package, row);
    return 0;
}

/* ---- what others do themselves here ---- */

static bool is_untidy(const struct store *base)
{
    (void)base;
    return false;
}

static int tidy(struct store *base, struct error *error)
{
    (void)base;
    (void)error;
    return 0;
}

/* ---- opening and closing ---- */

static void close_store(struct store *base)
{
    struct postgres_store *store = of(base);

    postgres_attempt_abandon(store->attempt);
    if (store->link.connection)
        postgres_disconnect(store);
    postgres_facts_free(store->facts);
    postgres_rows_free(&store->rows);
    digest_free(store->digest);
    free(store);
}

int postgres_open(struct store **result, const struct store_options *options, enum store_role role,
    struct error *error)
{
    static const struct store_ops ops = {
        .close = close_store,
        .check = check,
        .expect = expect,
        .begin_read = begin_read,
        .begin_write = begin_write,
        .holds = holds,
        .commit = commit,
        .rollback = rollback,
        .is_unchanged = is_unchanged,
        .load = load,
        .look_up = look_up,
        .add = add,
        .add_many = postgres_add_many,
        .find_many = postgres_find_many,
        .describe = postgres_describe,
        .count = postgres_count,
        .scan_begin = postgres_scan_begin,
        .scan_next = postgres_scan_next,
        .is_untidy = is_untidy,
        .tidy = tidy,
    };
    struct postgres_store *store = calloc(1, sizeof *store);
    int code = 0;

    *result = NULL;
    if (!store)
        return error_set_memory(error);
    store->base = (struct store){.ops = &ops, .far = true};
    store->options = *options;
    store->role = role;
    postgres_calm(store);
    postgres_name(postgres_conninfo(store), store->name, sizeof store->name);
    store->link = (struct postgres_link){
        .name = store->name, .log = options->log, .give_up_ms = options->give_up_ms};
    store->digest = store->rows.digest = digest_create();
    store->facts = postgres_facts_create(store->digest);
    if (!store->digest || !store->facts)
        code = error_set_memory(error);
    if (code == 0)
        code = postgres_check_conninfo(postgres_conninfo(store), error);
    if (code == 0 && role != STORE_KEEPER)
        code = postgres_connect_first(store, error);
    if (code != 0) {
        close_store(&store->base);
        return code;
    }
    *result = &store->base;
    return 0;
}

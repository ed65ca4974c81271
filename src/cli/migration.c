/* One pass over FROM, in one snapshot, in batches. Each batch is added in a transaction of its own,
 * and then read back: its rows go into the sum of TO as they are there. So an end at any moment
 * leaves whole batches.
 *
 * A run after such an end asks first, and adds nothing, as long as all of a batch is there; from
 * the first batch on of which something is missing, it adds first.
 *
 *     TO is away or locked      the batch is tried again, until it has been away for too long
 *     FROM is away              so is the beginning of the pass
 *     FROM is lost on the way   its snapshot is gone with it: the pass begins again, as another run
 *                               would */
#include "cli/migration.h"

#include "base/clock.h"
#include "cli/cli.h"

#include <stdio.h>
#include <unistd.h>

#define TRY_MS 30000 /* a database that is away, or locked, is asked again for so long */
#define PAUSE_US 20000
#define MOST_PASSES 5

#define LOST_FROM (-1) /* instead of an exit status */

/* Is it worth another try? Waits a little, then. */
static bool tries_again(int code, uint64_t until_ms)
{
    if (code != ERROR_LOCKED || clock_ms() >= until_ms)
        return false;
    (void)usleep(PAUSE_US);
    return true;
}

static int fail(struct migration *migration, const struct error *error)
{
    progress_end(&migration->progress);
    (void)fprintf(stderr,
        "prserv migrate: %s; what was stored stays, run the same command again to go on\n",
        error->text);
    return CLI_NO;
}

/* ---- a batch ---- */

static int count_found(void *context, const struct row *row)
{
    row_sum_add(context, row);
    return 0;
}

/* What of the batch is in to. */
static int find_batch(struct migration *migration, struct row_sum *found, struct error *error)
{
    const struct row_batch *batch = &migration->batch;
    const uint64_t until_ms = clock_ms() + TRY_MS;
    int code;

    do {
        *found = (struct row_sum){.digester = migration->digester};
        code =
            store_find_many(migration->to.store, batch->rows, batch->n, count_found, found, error);
    } while (tries_again(code, until_ms));
    return code;
}

static int add_rows(
    struct migration *migration, const struct row *rows, size_t n, struct error *error)
{
    const uint64_t until_ms = clock_ms() + TRY_MS;
    int code;

    do {
        code = store_add_many(migration->to.store, rows, n, error);
    } while (tries_again(code, until_ms));
    return code;
}

static int shown(struct text text)
{
    return text.length < 60 ? (int)text.length : 60;
}

/* Names a row that to can't hold. */
static void name_row(struct migration *migration, const struct row *row, const char *reason)
{
    const struct text value = row->value.bytes ? row->value : text_of("(none)");
    struct error line;

    progress_end(&migration->progress);
    (void)error_set(&line, ERROR_INPUT,
        "version '%.*s', pkgarch '%.*s', checksum '%.*s', value '%.*s'", shown(row->version),
        row->version.bytes, shown(row->pkgarch), row->pkgarch.bytes, shown(row->checksum),
        row->checksum.bytes, shown(value), value.bytes);
    (void)fprintf(stderr, "prserv migrate: the row %s: %s\n", line.text, reason);
    migration->n_refused++;
}

/* The one that to can't hold. */
static int refuse(struct migration *migration, size_t at, struct error *error)
{
    const struct row *row = &migration->batch.rows[at];
    const struct text texts[] = {row->version, row->pkgarch, row->checksum, row->value};

    /* Says it better, if it knows. */
    (void)!store_check(migration->to.store, texts, row->value.bytes ? 4 : 3, error);
    name_row(migration, row, error->text);
    if (!migration->keep_going)
        return CLI_NO;
    row_batch_take_out(&migration->batch, at);
    return CLI_DONE;
}

/* Adds *n rows of the batch; if one among them can't be held, the halves by themselves. *n: how
 * many were not left out. */
static int add_part(struct migration *migration, size_t at, size_t *n)
{
    struct error error;
    int code = add_rows(migration, &migration->batch.rows[at], *n, &error);
    size_t half = *n / 2;
    size_t rest = *n - half;
    int status;

    if (code == 0)
        return CLI_DONE;
    if (code != ERROR_INPUT)
        return fail(migration, &error);
    if (*n == 1) {
        *n = 0;
        return refuse(migration, at, &error);
    }
    status = add_part(migration, at, &half);
    if (status == CLI_DONE)
        status = add_part(migration, at + half, &rest);
    *n = half + rest;
    return status;
}

static int add_batch(struct migration *migration)
{
    size_t n = migration->batch.n;

    return add_part(migration, 0, &n);
}

/* Are all rows of the batch there already? */
static int is_there(struct migration *migration, struct row_sum *found, bool *there)
{
    struct error error;
    int code = find_batch(migration, found, &error);

    *there = code == 0 && found->rows == migration->batch.n;
    return code == 0 || code == ERROR_INPUT ? CLI_DONE : fail(migration, &error);
}

/* Brings the batch to to, and takes what is there then into the sums. */
static int bring(struct migration *migration)
{
    const struct row_batch *batch = &migration->batch;
    struct row_sum found = {.digester = migration->digester};
    bool there = false;
    int status = CLI_DONE;

    if (!migration->adds_first)
        status = is_there(migration, &found, &there);
    if (status == CLI_DONE && !there) {
        migration->adds_first = true;
        status = add_batch(migration);
        if (status == CLI_DONE && batch->n > 0)
            status = is_there(migration, &found, &there);
    }
    for (size_t i = 0; i < batch->n && status == CLI_DONE; i++)
        row_sum_add(&migration->from.sum, &batch->rows[i]);
    row_sum_join(&migration->to.sum, &found);
    return status;
}

/* ---- all rows ---- */

static int bring_and_empty(struct migration *migration)
{
    struct error error;
    int status =
        row_batch_seal(&migration->batch, &error) == 0 ? CLI_DONE : fail(migration, &error);

    if (status == CLI_DONE)
        status = bring(migration);
    row_batch_empty(&migration->batch);
    return status;
}

static int begin_scan(struct store *from, struct error *error)
{
    static const struct store_filter all = {.version = {NULL, 0}};
    const uint64_t until_ms = clock_ms() + TRY_MS;
    int code;

    do {
        store_rollback(from);
        code = store_begin_read(from, STORE_WAITS, error);
        if (code == 0)
            code = store_scan_begin(from, &all, error);
    } while (tries_again(code, until_ms));
    return code;
}

static int lose_from(struct migration *migration, const struct error *error)
{
    progress_end(&migration->progress);
    (void)fprintf(
        stderr, "prserv migrate: %s; its rows are read again from the first one on\n", error->text);
    return LOST_FROM;
}

static int bring_all(struct migration *migration, bool is_last)
{
    struct row row;
    struct error error;
    int status = CLI_DONE;
    int more = 1;

    while (status == CLI_DONE && more == 1) {
        more = store_scan_next(migration->from.store, &row, &error);
        if (more == ERROR_LOCKED && !is_last)
            return lose_from(migration, &error);
        if (more < 0)
            return fail(migration, &error);
        if (more == 1) {
            row_batch_add(&migration->batch, &row);
            progress_row(&migration->progress, ++migration->seen, migration->total);
        }
        if (row_batch_is_full(&migration->batch) || (more == 0 && migration->batch.n > 0))
            status = bring_and_empty(migration);
    }
    return status;
}

/* All rows, from the first one on. */
static int pass(struct migration *migration, bool is_last)
{
    struct error error;
    int status;

    row_batch_empty(&migration->batch);
    migration->from.sum = migration->to.sum = (struct row_sum){.digester = migration->digester};
    migration->seen = migration->n_refused = 0;
    migration->adds_first = false;
    progress_begin(&migration->progress, "migrated");
    if (begin_scan(migration->from.store, &error) != 0)
        return fail(migration, &error);
    status = bring_all(migration, is_last);
    progress_end(&migration->progress);
    store_rollback(migration->from.store);
    return status;
}

/* How many rows a database has; false if it can't say in time. */
static bool count_rows(struct store *store, uint64_t *rows)
{
    struct error ignored;
    bool known = store_begin_read(store, STORE_WAITS, &ignored) == 0 &&
                 store_count(store, rows, &ignored) == 0;

    store_rollback(store);
    return known;
}

int migration_run(struct migration *migration)
{
    int status = LOST_FROM;

    if (!count_rows(migration->from.store, &migration->total))
        migration->total = 0;
    for (int n = 1; n <= MOST_PASSES && status == LOST_FROM; n++)
        status = pass(migration, n == MOST_PASSES);
    migration->knows_others = count_rows(migration->to.store, &migration->others);
    if (migration->others >= migration->to.sum.rows)
        migration->others -= migration->to.sum.rows;
    else
        migration->others = 0;
    return status;
}

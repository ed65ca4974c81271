/* SPDX-License-Identifier: MIT */
/* A scan reads FROM in one snapshot, in batches. Each batch is stored in a transaction of its own
 * and then read back from TO, to add its rows to the sum of TO. Whenever the program ends, TO has
 * whole batches.
 *
 * The next run looks for each batch first and stores nothing as long as TO has all of it. From the
 * first batch with a missing row on, it stores without looking.
 *
 *     TO is unreachable or locked     the batch is retried, for a limited time
 *     FROM is unreachable or locked   the beginning of the scan is retried likewise
 *     FROM is lost during the scan    its snapshot is lost, too: a new scan begins, as in a new run
 */
#include "cli/migrate/migration.h"

#include "base/clock.h"
#include "cli/cli.h"
#include "store/scan.h"

#include <stdio.h>
#include <unistd.h>

#define RETRY_MS 30000 /* time for retries while a database is unreachable or locked */
#define PAUSE_US 20000
#define MAX_SCANS 5
#define BATCH_BYTES ((size_t)4 * 1024 * 1024) /* a batch of this size is full, too */

#define SCAN_LOST (-1) /* instead of an exit status: begin another scan */

/* Pauses and returns true if a locked or unreachable database is to be tried again. */
static bool migration_wait_to_retry(int result, uint64_t until_ms)
{
    if (result != ERROR_LOCKED || clock_ms() >= until_ms)
        return false;
    (void)usleep(PAUSE_US);
    return true;
}

static int migration_fail(struct migration *migration, const struct error *error)
{
    progress_clear(&migration->progress);
    (void)fprintf(stderr,
        "prserv migrate: %s; stored rows stay, run the same command again to continue\n",
        error->text);
    return CLI_FAILED;
}

/* ---- a batch ---- */

static int migration_count_found(void *context, const struct row *row)
{
    row_sum_add(context, row);
    return 0;
}

static int migration_shown_length(struct text text)
{
    return text.length < 60 ? (int)text.length : 60;
}

/* Reports and counts a row that TO can't hold. */
static void migration_report_row(
    struct migration *migration, const struct row *row, const char *reason)
{
    const struct text value = row->value.bytes ? row->value : text_of("(none)");
    struct error line;

    progress_clear(&migration->progress);
    (void)error_set(&line, ERROR_INPUT,
        "version '%.*s', pkgarch '%.*s', checksum '%.*s', value '%.*s'",
        migration_shown_length(row->version), row->version.bytes,
        migration_shown_length(row->pkgarch), row->pkgarch.bytes,
        migration_shown_length(row->checksum), row->checksum.bytes, migration_shown_length(value),
        value.bytes);
    (void)fprintf(stderr, "prserv migrate: the row %s: %s\n", line.text, reason);
    migration->n_refused++;
}

/* Handles a row that TO can't hold. Returns CLI_OK if the migration goes on without it. */
static int migration_refuse(struct migration *migration, size_t at, struct error *error)
{
    const struct row *row = &migration->batch.rows[at];
    const struct text texts[] = {row->version, row->pkgarch, row->checksum, row->value};

    /* Replaces the error with a more exact one if the store has it. */
    (void)!store_check(migration->to.store, texts, row->value.bytes ? 4 : 3, error);
    migration_report_row(migration, row, error->text);
    if (!migration->keep_going)
        return CLI_FAILED;
    row_batch_remove(&migration->batch, at);
    return CLI_OK;
}

/* Stores *n rows of the batch. If TO can't hold one of them, stores each half by itself, down to
 * the single row. *n becomes the number of rows that were not left out. */
static int migration_add_part(struct migration *migration, size_t at, size_t *n)
{
    const uint64_t until_ms = clock_ms() + RETRY_MS;
    const struct row *rows = &migration->batch.rows[at];
    struct error error;
    size_t half = *n / 2;
    size_t rest = *n - half;
    int result;
    int status;

    do {
        result = store_add_many(migration->to.store, rows, *n, &error);
    } while (migration_wait_to_retry(result, until_ms));
    if (result == 0)
        return CLI_OK;
    if (result != ERROR_INPUT)
        return migration_fail(migration, &error);
    if (*n == 1) {
        *n = 0;
        return migration_refuse(migration, at, &error);
    }
    status = migration_add_part(migration, at, &half);
    if (status == CLI_OK)
        status = migration_add_part(migration, at + half, &rest);
    *n = half + rest;
    return status;
}

/* Adds up the rows of the batch that TO has. *complete: it has all of them. */
static int migration_check_batch(struct migration *migration, struct row_sum *found, bool *complete)
{
    const struct row_batch *batch = &migration->batch;
    const uint64_t until_ms = clock_ms() + RETRY_MS;
    struct error error;
    int result;

    do {
        *found = (struct row_sum){.digester = migration->digester};
        result = store_find_many(
            migration->to.store, batch->rows, batch->n, migration_count_found, found, &error);
    } while (migration_wait_to_retry(result, until_ms));
    *complete = result == 0 && found->rows == batch->n;
    return result == 0 || result == ERROR_INPUT ? CLI_OK : migration_fail(migration, &error);
}

/* Stores the batch in TO, reads it back and adds its rows to the sums. */
static int migration_copy_batch(struct migration *migration)
{
    const struct row_batch *batch = &migration->batch;
    struct row_sum found = {.digester = migration->digester};
    size_t n = batch->n;
    bool complete = false;
    int status = CLI_OK;

    if (!migration->adds_first)
        status = migration_check_batch(migration, &found, &complete);
    if (status == CLI_OK && !complete) {
        migration->adds_first = true;
        status = migration_add_part(migration, 0, &n);
        if (status == CLI_OK && batch->n > 0)
            status = migration_check_batch(migration, &found, &complete);
    }
    for (size_t i = 0; i < batch->n && status == CLI_OK; i++)
        row_sum_add(&migration->from.sum, &batch->rows[i]);
    row_sum_join(&migration->to.sum, &found);
    return status;
}

/* ---- all rows ---- */

static int migration_flush(struct migration *migration)
{
    struct error error;
    int status =
        row_batch_seal(&migration->batch, &error) == 0 ? CLI_OK : migration_fail(migration, &error);

    if (status == CLI_OK)
        status = migration_copy_batch(migration);
    row_batch_empty(&migration->batch);
    return status;
}

static int migration_begin_scan(struct store *from, struct error *error)
{
    static const struct store_filter all = {.version = {NULL, 0}};
    const uint64_t until_ms = clock_ms() + RETRY_MS;
    int result;

    do {
        store_rollback(from);
        result = store_begin_read(from, NULL, STORE_BLOCK, error);
        if (result == 0)
            result = store_scan_begin(from, &all, error);
    } while (migration_wait_to_retry(result, until_ms));
    return result;
}

static int migration_restart_scan(struct migration *migration, const struct error *error)
{
    progress_clear(&migration->progress);
    (void)fprintf(
        stderr, "prserv migrate: %s; reading its rows again from the first one\n", error->text);
    return SCAN_LOST;
}

static int migration_copy_rows(struct migration *migration, bool is_last)
{
    struct row row;
    struct error error;
    int status = CLI_OK;
    int more = 1;

    while (status == CLI_OK && more == 1) {
        more = store_scan_next(migration->from.store, &row, &error);
        if (more == ERROR_LOCKED && !is_last)
            return migration_restart_scan(migration, &error);
        if (more < 0)
            return migration_fail(migration, &error);
        if (more == 1) {
            row_batch_add(&migration->batch, &row);
            progress_row(&migration->progress, ++migration->seen, migration->total);
        }
        if (row_batch_is_full(&migration->batch, ROW_BATCH_ROWS, BATCH_BYTES) ||
            (more == 0 && migration->batch.n > 0))
            status = migration_flush(migration);
    }
    return status;
}

/* Copies all rows in one scan. Returns SCAN_LOST if another scan has to begin. */
static int migration_scan(struct migration *migration, bool is_last)
{
    struct error error;
    int status;

    row_batch_empty(&migration->batch);
    migration->from.sum = migration->to.sum = (struct row_sum){.digester = migration->digester};
    migration->seen = migration->n_refused = 0;
    migration->adds_first = false;
    progress_begin(&migration->progress, "migrated");
    if (migration_begin_scan(migration->from.store, &error) != 0)
        return migration_fail(migration, &error);
    status = migration_copy_rows(migration, is_last);
    progress_clear(&migration->progress);
    store_rollback(migration->from.store);
    return status;
}

/* Copies the rows, in several scans if necessary. */
static int migration_copy_all(struct migration *migration)
{
    struct error error;
    int status = SCAN_LOST;

    migration->digester = digest_create();
    if (!migration->digester) {
        (void)error_set_memory(&error);
        return migration_fail(migration, &error);
    }
    for (int n = 1; n <= MAX_SCANS && status == SCAN_LOST; n++)
        status = migration_scan(migration, n == MAX_SCANS);
    row_batch_deinit(&migration->batch);
    digest_free(migration->digester);
    return status;
}

/* Counts the rows of a database. Returns false if that fails, or is only an estimate. */
static bool migration_count_rows(struct store *store, uint64_t *rows)
{
    struct error ignored;
    bool is_estimate = false;
    bool known = store_begin_read(store, NULL, STORE_BLOCK, &ignored) == 0 &&
                 store_count(store, rows, &is_estimate, &ignored) == 0;

    store_rollback(store);
    return known && !is_estimate;
}

int migration_run(struct migration *migration)
{
    int status;

    if (!migration_count_rows(migration->from.store, &migration->total))
        migration->total = 0;
    status = migration_copy_all(migration);
    migration->knows_others = migration_count_rows(migration->to.store, &migration->others);
    if (migration->others >= migration->to.sum.rows)
        migration->others -= migration->to.sum.rows;
    else
        migration->others = 0;
    return status;
}

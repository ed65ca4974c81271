/* SPDX-License-Identifier: MIT */
/* Rows are added again in batches, each in a transaction. Nobody has got a new revision from a
 * server that knew of the rollback, but others may not have known: so a row is only added if no
 * other content has its revision by then. Otherwise the package gets a floor above everything that
 * may have been given.
 *
 * The rollback is accepted by an import-one without version and pkgarch, whose checksum is
 * floor:IDENTITY:COUNTER (doc/protocol.md). */
#include "exec/rollback.h"

#include "base/clock.h"
#include "exec/acknowledged.h"
#include "revision/floor.h"
#include "revision/revision.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KEPT_BYTES ((size_t)64 * 1024 * 1024)
#define BATCH_ROWS 256
#define BATCH_MS 50000 /* for a transaction */
#define LOCK_WAIT_MS 1000

struct rollback {
    struct store *store;
    struct package_cache *cache;
    struct log *log;
    struct acknowledged *rows;
    int64_t restored;                /* the counter of the rollback whose rows were added again */
    struct acknowledged_place place; /* before the next row to be added */
    uint64_t n_added;
    uint64_t n_refused;
};

struct rollback *rollback_create(struct store *store, struct package_cache *cache, struct log *log)
{
    struct rollback *rollback = calloc(1, sizeof *rollback);

    if (!rollback)
        return NULL;
    *rollback = (struct rollback){
        .store = store, .cache = cache, .log = log, .rows = acknowledged_create(KEPT_BYTES)};
    if (rollback->rows)
        return rollback;
    free(rollback);
    return NULL;
}

void rollback_free(struct rollback *rollback)
{
    if (!rollback)
        return;
    acknowledged_free(rollback->rows);
    free(rollback);
}

void rollback_note(struct rollback *rollback, const struct row *row)
{
    acknowledged_add(rollback->rows, row);
}

void rollback_end(struct rollback *rollback, bool is_committed)
{
    if (is_committed)
        acknowledged_keep(rollback->rows, rollback->store->counter);
    else
        acknowledged_drop(rollback->rows);
}

/* ---- adding rows again ---- */

bool rollback_must_restore(const struct rollback *rollback)
{
    const struct store_rollback *found = &rollback->store->rollback;

    return found->is_rolled_back && found->mark.counter != rollback->restored;
}

/* Rows of the ring, as a batch of the store. */
struct batch {
    struct row rows[BATCH_ROWS];
    size_t n;
};

/* Takes the next rows that the database may lack. */
static void rollback_take(struct rollback *rollback, struct batch *batch)
{
    struct row *row = batch->rows;
    int64_t counter;

    batch->n = 0;
    while (batch->n < BATCH_ROWS &&
           acknowledged_next(rollback->rows, &rollback->place, row, &counter)) {
        if (counter <= rollback->store->rollback.lost_after)
            continue;
        batch->n++;
        row++;
    }
}

static const void *rollback_describe(const void *at, struct store_item *item)
{
    const struct row *row = at;

    *item = (struct store_item){
        .version = row->version,
        .pkgarch = row->pkgarch,
        .checksum = row->checksum,
        .wants_smallest = true,
        .wants_largest = true,
        .value = row->value,
        .may_add = true,
    };
    return row + 1;
}

/* A search for the contents that have a revision. */
struct holders {
    const struct row *row;
    bool is_own;    /* the row's own content has it */
    bool is_other;  /* another one has it */
    char other[80]; /* the checksum of that one, perhaps shortened */
};

static int rollback_take_holder(void *context, const struct row *found)
{
    struct holders *holders = context;

    if (!text_equal(found->value, holders->row->value))
        return 0;
    if (text_equal(found->checksum, holders->row->checksum)) {
        holders->is_own = true;
    } else if (!floor_is_checksum(found->checksum)) {
        const size_t most = sizeof holders->other - 1;

        holders->is_other = true;
        (void)snprintf(holders->other, sizeof holders->other, "%.*s",
            (int)(found->checksum.length < most ? found->checksum.length : most),
            found->checksum.bytes);
    }
    return 0;
}

static int rollback_add_row(
    struct rollback *rollback, struct package *package, const struct row *row, struct error *error)
{
    if (package_add(package, row->checksum, row->value) != 0)
        return error_set_memory(error);
    return store_add(rollback->store, row, error);
}

/* Raises the package above its greatest value, unless a floor is above the row's value already. */
static int rollback_add_floor(
    struct rollback *rollback, struct package *package, const struct row *row, struct error *error)
{
    struct row floor = *row;
    char *value = package_is_raised(package) ? NULL : revision_increase(package_greatest(package));
    char *checksum = value ? floor_checksum(value) : NULL;
    int result = 0;

    if (checksum) {
        floor.checksum = text_of(checksum);
        floor.value = text_of(value);
        result = rollback_add_row(rollback, package, &floor, error);
    } else if (!package_is_raised(package)) {
        result = error_set_memory(error);
    }
    free(checksum);
    free(value);
    return result;
}

/* Names a row whose revision other content has, and gives its package a floor. */
static int rollback_refuse_row(struct rollback *rollback, struct package *package,
    const struct holders *holders, struct error *error)
{
    const struct row *row = holders->row;

    log_write(rollback->log, LOG_ERROR,
        "The row version %.*s, pkgarch %.*s, checksum %.*s, value %.*s was acknowledged and is "
        "missing, and %s has its revision by now: it was not added again, and the package was "
        "raised",
        (int)row->version.length, row->version.bytes, (int)row->pkgarch.length, row->pkgarch.bytes,
        (int)row->checksum.length, row->checksum.bytes, (int)row->value.length, row->value.bytes,
        holders->other);
    rollback->n_refused++;
    return rollback_add_floor(rollback, package, row, error);
}

static int rollback_restore_row(
    struct rollback *rollback, const struct row *row, struct error *error)
{
    struct holders holders = {.row = row};
    struct package *package;
    int result = package_cache_get(rollback->cache, row->version, row->pkgarch, &package, error);

    if (result == 0 && !store_has_lock(rollback->store, row->version, row->pkgarch))
        result = error_set(error, ERROR_LOCKED, "another server holds a package in the database");
    if (result == 0 && package_has(package, row->value))
        result = store_load(
            rollback->store, row->version, row->pkgarch, rollback_take_holder, &holders, error);
    if (result != 0 || holders.is_own)
        return result;
    if (holders.is_other)
        return rollback_refuse_row(rollback, package, &holders, error);
    rollback->n_added++;
    return rollback_add_row(rollback, package, row, error);
}

/* Adds the rows of a batch in a transaction. */
static int rollback_restore_batch(
    struct rollback *rollback, const struct batch *batch, struct error *error)
{
    const struct store_batch rows = {.first = batch->rows,
        .end = batch->rows + batch->n,
        .describe = rollback_describe,
        .until_ms = clock_ms() + BATCH_MS};
    int result = store_begin_write(rollback->store, &rows, LOCK_WAIT_MS, error);

    if (result != 0)
        return result;
    result = package_cache_refresh(rollback->cache, STORE_BLOCK, error);
    for (size_t i = 0; i < batch->n && result == 0; i++)
        result = rollback_restore_row(rollback, &batch->rows[i], error);
    if (result == 0)
        result = store_commit(rollback->store, error);
    if (result != 0) {
        store_rollback(rollback->store);
        package_cache_clear(rollback->cache);
    }
    return result;
}

static void rollback_finish(struct rollback *rollback, int result, const struct error *error)
{
    if (result != 0)
        log_write(rollback->log, LOG_ERROR,
            "Rows that the database has lost can't be added again: %s", error->text);
    if (rollback->n_added + rollback->n_refused > 0)
        log_write(rollback->log, LOG_WARNING,
            "Added %" PRIu64 " rows again that the database had lost; %" PRIu64
            " were not added, because other content has their revisions",
            rollback->n_added, rollback->n_refused);
    rollback->restored = rollback->store->rollback.mark.counter;
    rollback->place = (struct acknowledged_place){.block = NULL};
    rollback->n_added = rollback->n_refused = 0;
}

int rollback_restore(struct rollback *rollback, struct error *error)
{
    struct batch *batch = malloc(sizeof *batch);
    struct error reason = {""};
    int result = batch ? 0 : error_set_memory(&reason);

    while (batch && result == 0 && rollback_must_restore(rollback)) {
        const struct rollback before = *rollback;

        rollback_take(rollback, batch);
        if (batch->n == 0)
            break;
        result = rollback_restore_batch(rollback, batch, &reason);
        if (result == ERROR_LOCKED)
            *rollback = before;
    }
    free(batch);
    if (result == ERROR_LOCKED) {
        *error = reason;
        return result;
    }
    rollback_finish(rollback, result, &reason);
    return 0;
}

/* ---- requests ---- */

bool rollback_refuses(const struct store_rollback *found, struct job *job, struct log *log)
{
    if (!found->is_rolled_back || job->request->kind != REQUEST_GET_PR)
        return false;
    job_reset(job);
    job->result = error_set(&job->error, ERROR_STORE,
        "get-pr: the database went back to an older state, so a new revision could be one that was "
        "given before; new content is refused until an administrator has raised all packages "
        "(prserv floor --all)");
    job->is_logged = true;
    log_often(log, LOG_ERROR, "Refused a new revision: the database is rolled back");
    return true;
}

bool rollback_refuses_look_up(const struct store_rollback *found, struct job *job, struct log *log)
{
    const enum request_kind kind = job->request->kind;

    if (!found->is_rolled_back || !job->is_for_server ||
        (kind != REQUEST_TEST_PR && kind != REQUEST_MAX_PACKAGE_PR))
        return false;
    job_reset(job);
    job->result = error_set(&job->error, ERROR_STORE,
        "%s: the database of this server went back to an older state, so a server below would give "
        "revisions that are too small, until an administrator has raised all packages (prserv "
        "floor --all)",
        request_name(kind));
    job->is_logged = true;
    log_often(log, LOG_ERROR, "Refused a server below: the database is rolled back");
    return true;
}

bool rollback_accepts(struct rollback *rollback, struct job *job)
{
    const struct request *request = job->request;
    struct mark mark;

    if (request->kind != REQUEST_IMPORT_ONE || request->version.length > 0 ||
        request->pkgarch.length > 0 || !floor_is_checksum(request->checksum) ||
        !mark_parse(&mark, text_from(request->checksum, strlen(FLOOR_PREFIX))))
        return false;
    job->result = store_accept_rollback(rollback->store, &mark, &job->error);
    return true;
}

/* SPDX-License-Identifier: MIT */
/* Rows of older tables that PRMAIN lacks: late rows.
 *
 * A server of BitBake 2.8 or older may have written to its own tables at any time, also after they
 * were taken over, and it replaces rows as well. So each start compares row by row, in a read
 * transaction, and takes the write lock only if rows are missing. A running server can't merge the
 * rows, because it may have given their values to other content already; it only warns.
 *
 * Late rows come in the order of packages, so that one package at a time is in memory. */
#include "store/sqlite/old_tables.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/map.h"
#include "revision/floor.h"
#include "revision/revision.h"
#include "store/sqlite/fingerprints.h"
#include "store/sqlite/sqlite.h"

#include <stdio.h>
#include <stdlib.h>

#define REVIEW_MS 60000 /* the shortest time from one review of a running server to the next */
#define MAX_NAMED 20    /* shared values, by lines in the log */

/* ---- reading ---- */

/* Called with a late row; its value's bytes are NULL if it is not a revision, or if the row has no
 * key. Returns 0 to go on, or an error. */
typedef int (*late_row_fn)(void *context, const struct row *row, struct error *error);

static struct text sqlite_old_column(sqlite3_stmt *statement, int column)
{
    const struct text text = {.bytes = (const char *)sqlite3_column_text(statement, column),
        .length = (size_t)sqlite3_column_bytes(statement, column)};

    return text;
}

/* Returns SQLITE_NOMEM if memory ran out, otherwise SQLITE_OK. */
static int sqlite_old_read_row(sqlite3_stmt *statement, struct row *row)
{
    const bool has_key = sqlite3_column_int(statement, 4) != 0;

    row->version = sqlite_old_column(statement, 0);
    row->pkgarch = sqlite_old_column(statement, 1);
    row->checksum = sqlite_old_column(statement, 2);
    row->value = sqlite_old_column(statement, 3);
    if (!row->value.bytes && sqlite3_column_type(statement, 3) == SQLITE_TEXT)
        return SQLITE_NOMEM;
    if (has_key && (!row->version.bytes || !row->pkgarch.bytes || !row->checksum.bytes))
        return SQLITE_NOMEM;
    if (!has_key || (row->value.bytes && !revision_is_valid(row->value.bytes, row->value.length)))
        row->value.bytes = NULL;
    return SQLITE_OK;
}

/* Calls back for the late rows of a table. */
static int sqlite_old_each_late_row(struct sqlite_store *store, const char *table, late_row_fn fn,
    void *context, struct error *error)
{
    char sql[1024];
    sqlite3_stmt *statement = NULL;
    int result = 0;
    int code;

    (void)snprintf(sql, sizeof sql,
        "SELECT old.version, old.pkgarch, old.checksum, " SQLITE_OLD_VALUE ", " SQLITE_OLD_HAS_KEY
        " FROM %s AS old WHERE " SQLITE_OLD_NOT_IN_MAIN " ORDER BY old.version, old.pkgarch",
        table);
    code = sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL);
    while (result == 0 && code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct row row;

        code = sqlite_old_read_row(statement, &row);
        if (code == SQLITE_OK)
            result = fn(context, &row, error);
    }
    if (result == 0 && code != SQLITE_DONE)
        result = sqlite_fail(store, code, "read", error);
    (void)sqlite3_finalize(statement);
    return result;
}

struct late_rows {
    uint64_t n_revisions;
    uint64_t n_invalid;
};

static int sqlite_old_count_row(void *context, const struct row *row, struct error *error)
{
    struct late_rows *late = context;

    (void)error;
    if (row->value.bytes)
        late->n_revisions++;
    else
        late->n_invalid++;
    return 0;
}

/* Counts the late rows of each old table, in a read transaction. late: zero; sources: those that
 * exist. Only look-ups are certain that rows are missing; fingerprints tell sooner that none is. */
static int sqlite_old_count_late_rows(struct sqlite_store *store, unsigned sources,
    struct late_rows late[SQLITE_SOURCES], struct error *error)
{
    bool is_complete = false;
    int result = sqlite_fingerprints_compare(store, sources, &is_complete, error);

    for (size_t i = 0; i < SQLITE_SOURCES && result == 0; i++) {
        if (!is_complete && sources & sqlite_sources[i].source & ~(unsigned)SQLITE_SOURCE_MAIN)
            result = sqlite_old_each_late_row(
                store, sqlite_sources[i].table, sqlite_old_count_row, &late[i], error);
    }
    return result;
}

/* ---- values that two contents share ---- */

/* A value of the package whose rows are being taken over. */
struct owner {
    struct map_entry entry;
    char *checksum; /* the first content with this value; owned */
    bool is_shared;
};

struct take_over {
    struct sqlite_store *store;
    struct buffer package; /* the pair of version and pkgarch */
    struct map owners;     /* of struct owner, by value: the contents of that package */
    uint64_t n_rows;       /* taken over from the table */
    uint64_t n_shared;     /* values, from all tables */
    int result;            /* of a callback that can't return it */
};

static void sqlite_old_release_owner(void *item)
{
    struct owner *owner = item;

    free(owner->checksum);
    free(owner);
}

static void sqlite_old_report_shared(
    struct take_over *take_over, const struct row *row, const struct owner *owner)
{
    if (++take_over->n_shared <= MAX_NAMED)
        log_write(take_over->store->options.log, LOG_WARNING,
            "Revision %.*s of version %.*s, pkgarch %.*s belongs to two contents, %s and %.*s",
            (int)row->value.length, row->value.bytes, (int)row->version.length, row->version.bytes,
            (int)row->pkgarch.length, row->pkgarch.bytes, owner->checksum,
            (int)row->checksum.length, row->checksum.bytes);
}

/* Notes that a row's content has its value. Reports it if is_late and another content has it. */
static int sqlite_old_note_owner(
    struct take_over *take_over, const struct row *row, bool is_late, struct error *error)
{
    struct owner *owner;

    if (floor_is_checksum(row->checksum))
        return 0;
    owner = map_find_or_add(&take_over->owners, row->value, sizeof *owner);
    if (owner && !owner->checksum)
        owner->checksum = strndup(row->checksum.bytes, row->checksum.length);
    if (!owner || !owner->checksum)
        return error_set_memory(error);
    if (is_late && !owner->is_shared && !text_is(row->checksum, owner->checksum)) {
        owner->is_shared = true;
        sqlite_old_report_shared(take_over, row, owner);
    }
    return 0;
}

static int sqlite_old_on_stored_row(void *context, const struct row *row)
{
    struct take_over *take_over = context;
    struct error ignored; /* running out of memory is the only one */

    if (row->value.bytes)
        take_over->result = sqlite_old_note_owner(take_over, row, false, &ignored);
    return take_over->result;
}

/* Loads the contents of the row's package, unless that was done for the row before. */
static int sqlite_old_enter_package(
    struct take_over *take_over, const struct row *row, struct error *error)
{
    struct buffer package = BUFFER_EMPTY;
    int result;

    buffer_set_pair(&package, row->version, row->pkgarch);
    if (buffer_failed(&package))
        return error_set_memory(error);
    if (take_over->package.bytes &&
        text_equal(buffer_text(&package), buffer_text(&take_over->package))) {
        buffer_free(&package);
        return 0;
    }
    buffer_free(&take_over->package);
    take_over->package = package;
    map_clear(&take_over->owners, sqlite_old_release_owner);
    result = sqlite_load(&take_over->store->base, row->version, row->pkgarch,
        sqlite_old_on_stored_row, take_over, error);
    if (result == 0 && take_over->result != 0)
        result = error_set_memory(error);
    return result;
}

/* ---- the start of a writer ---- */

static int sqlite_old_take_over_row(void *context, const struct row *row, struct error *error)
{
    struct take_over *take_over = context;
    int result;

    if (!row->value.bytes)
        return 0;
    result = sqlite_old_enter_package(take_over, row, error);
    if (result == 0)
        result = sqlite_old_note_owner(take_over, row, true, error);
    if (result == 0)
        result = sqlite_add(&take_over->store->base, row, error);
    take_over->n_rows++;
    return result;
}

/* Takes over the late rows of all old tables, inside a writing transaction. */
static int sqlite_old_take_over_tables(
    struct sqlite_store *store, unsigned sources, struct error *error)
{
    struct take_over take_over = {.store = store};
    struct log *log = store->options.log;
    int result = 0;

    for (size_t i = 0; i < SQLITE_SOURCES && result == 0; i++) {
        const char *table = sqlite_sources[i].table;

        if (!(sources & sqlite_sources[i].source & ~(unsigned)SQLITE_SOURCE_MAIN))
            continue;
        take_over.n_rows = 0;
        result =
            sqlite_old_each_late_row(store, table, sqlite_old_take_over_row, &take_over, error);
        if (result == 0 && take_over.n_rows > 0)
            log_write(log, LOG_INFO, "Taking over %llu rows from %s in %s",
                (unsigned long long)take_over.n_rows, table, store->options.file);
        if (store->options.n_taken_over)
            *store->options.n_taken_over += take_over.n_rows;
    }
    if (result == 0 && take_over.n_shared > 0)
        log_write(log, LOG_WARNING,
            "%llu revisions belong to two contents each, as older tables and PRMAIN have "
            "them; new content gets greater ones: to publish both contents anew, change them",
            (unsigned long long)take_over.n_shared);
    map_clear(&take_over.owners, sqlite_old_release_owner);
    buffer_free(&take_over.package);
    return result;
}

/* Compares the tables in a read transaction. From here on, find_changes tells of other writers. */
static int sqlite_old_compare(
    struct sqlite_store *store, unsigned *sources, bool *has_late_rows, struct error *error)
{
    struct late_rows late[SQLITE_SOURCES] = {{.n_revisions = 0}};
    int result = sqlite_run(store, "BEGIN", error);

    if (result == 0)
        result = sqlite_step_once(
            store, STATEMENT_DATA_VERSION, "read", &store->compared_version, error);
    if (result == 0)
        result = sqlite_schema_find_tables(store, sources, error);
    if (result == 0)
        result = sqlite_old_count_late_rows(store, *sources, late, error);
    if (result == 0)
        result = sqlite_run(store, "COMMIT", error);
    for (size_t i = 0; i < SQLITE_SOURCES && result == 0; i++) {
        *has_late_rows = *has_late_rows || late[i].n_revisions > 0;
        if (late[i].n_invalid > 0)
            log_write(store->options.log, LOG_WARNING,
                "%llu rows of %s hold no revision; they were not taken over",
                (unsigned long long)late[i].n_invalid, sqlite_sources[i].table);
    }
    return result;
}

int sqlite_old_tables_take_over(struct sqlite_store *store, struct error *error)
{
    bool has_late_rows = false;
    unsigned sources;
    int result = sqlite_old_compare(store, &sources, &has_late_rows, error);

    if (result != 0 || !has_late_rows)
        return result;
    store->lock_until_ms = clock_ms() + STORE_LOCK_WAIT_MS;
    result = sqlite_run(store, "BEGIN IMMEDIATE", error);
    if (result == 0)
        result = sqlite_old_take_over_tables(store, sources, error);
    if (result == 0)
        result = sqlite_mark_count_late(store, error);
    return result == 0 ? sqlite_run(store, "COMMIT", error) : result;
}

/* ---- a running server ---- */

bool sqlite_old_tables_want_review(struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    const uint64_t now_ms = clock_ms();

    if (!store->others_wrote || now_ms < store->next_review_ms)
        return false;
    store->others_wrote = false;
    store->next_review_ms = now_ms + REVIEW_MS;
    return true;
}

int sqlite_old_tables_review(struct store *base, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    struct late_rows late[SQLITE_SOURCES] = {{.n_revisions = 0}};
    unsigned sources = 0;
    int result = store_begin_read(base, NULL, STORE_BLOCK, error);

    if (result == 0)
        result = sqlite_schema_find_tables(store, &sources, error);
    if (result == 0)
        result = sqlite_old_count_late_rows(store, sources, late, error);
    store_rollback(base);
    for (size_t i = 0; i < SQLITE_SOURCES && result == 0; i++) {
        if (late[i].n_revisions > 0)
            log_write(store->options.log, LOG_WARNING,
                "A server of BitBake 2.8 or older writes to %s: %llu rows of %s are not in "
                "PRMAIN, and this server may give their revisions to other content; stop that "
                "server, then restart prservd, which takes the rows over",
                store->options.file, (unsigned long long)late[i].n_revisions,
                sqlite_sources[i].table);
    }
    return result == ERROR_LOCKED ? 0 : result; /* the server is stopping */
}

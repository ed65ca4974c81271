/* SPDX-License-Identifier: MIT */
/* Searches for packages, for people. The index over the rows leads from one package to the next;
 * the rows of each package are read for its greatest revision, because no index has their order.
 * So the rows of a search are limited: a page ends early, and what is said of a package with very
 * many rows is incomplete. */
#include "base/buffer.h"
#include "revision/floor.h"
#include "revision/revision.h"
#include "store/sqlite/sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ROWS 10000     /* of one package */
#define MOST_ALL_ROWS 20000 /* of one search; then it ends */

/* A search under way. */
struct search_walk {
    struct sqlite_store *store;
    sqlite3_stmt *next[SQLITE_SOURCES]; /* NULL: no such table */
    struct buffer version;              /* the package found last, or where to begin */
    struct buffer pkgarch;
    unsigned n_rows; /* that were read */
};

/* The rows of one package. */
struct search_rows {
    unsigned n;
    struct buffer greatest; /* with a NUL */
    struct buffer checksum; /* of the last row */
    struct store_package *package;
};

static int search_prepare(struct search_walk *walk, struct error *error)
{
    char sql[200];

    for (size_t i = 0; i < SQLITE_SOURCES; i++) {
        int code;

        if (!(walk->store->sources & sqlite_sources[i].source))
            continue;
        (void)snprintf(sql, sizeof sql,
            "SELECT version, pkgarch FROM %s WHERE (version, pkgarch) >= (?1, ?2) "
            "ORDER BY version, pkgarch LIMIT 1",
            sqlite_sources[i].table);
        code = sqlite3_prepare_v2(walk->store->database, sql, -1, &walk->next[i], NULL);
        if (code != SQLITE_OK)
            return sqlite_fail(walk->store, code, "read", error);
    }
    return 0;
}

static struct text search_column(sqlite3_stmt *statement, int index)
{
    struct text text = {.bytes = NULL};

    if (sqlite3_column_type(statement, index) != SQLITE_TEXT)
        return text; /* left by another program */
    text.bytes = (const char *)sqlite3_column_text(statement, index);
    text.length = (size_t)sqlite3_column_bytes(statement, index);
    return text;
}

static int search_compare(struct text a, struct text b)
{
    const size_t length = a.length < b.length ? a.length : b.length;
    const int order = length > 0 ? memcmp(a.bytes, b.bytes, length) : 0;

    return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

/* Finds the next package of one table. Texts are borrowed; bytes NULL: there is none. */
static int search_step(struct search_walk *walk, sqlite3_stmt *statement, struct text *version,
    struct text *pkgarch, struct error *error)
{
    const struct text first = text_not_null(buffer_text(&walk->version));
    const struct text second = text_not_null(buffer_text(&walk->pkgarch));
    int code;

    (void)sqlite3_reset(statement);
    version->bytes = NULL;
    code =
        sqlite3_bind_text64(statement, 1, first.bytes, first.length, SQLITE_TRANSIENT, SQLITE_UTF8);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text64(
            statement, 2, second.bytes, second.length, SQLITE_TRANSIENT, SQLITE_UTF8);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_DONE)
        return 0;
    if (code != SQLITE_ROW)
        return sqlite_fail(walk->store, code, "read", error);
    *version = search_column(statement, 0);
    *pkgarch = search_column(statement, 1);
    if (!pkgarch->bytes)
        version->bytes = NULL;
    return 0;
}

/* Finds the next package of all tables, and moves there. */
static int search_next(struct search_walk *walk, bool *is_end, struct error *error)
{
    struct text version = {.bytes = NULL};
    struct text pkgarch = version;
    int result = 0;

    for (size_t i = 0; i < SQLITE_SOURCES && result == 0; i++) {
        struct text found;
        struct text found_pkgarch;
        int order;

        if (!walk->next[i])
            continue;
        result = search_step(walk, walk->next[i], &found, &found_pkgarch, error);
        if (result != 0 || !found.bytes)
            continue;
        order = version.bytes ? search_compare(found, version) : -1;
        if (order < 0 || (order == 0 && search_compare(found_pkgarch, pkgarch) < 0)) {
            version = found;
            pkgarch = found_pkgarch;
        }
    }
    *is_end = !version.bytes;
    if (result != 0 || *is_end)
        return result;
    buffer_reset(&walk->version, BUFFER_KEEP_BYTES);
    buffer_append_text(&walk->version, version);
    buffer_reset(&walk->pkgarch, BUFFER_KEEP_BYTES);
    buffer_append_text(&walk->pkgarch, pkgarch);
    return 0;
}

/* Takes a row: those of one checksum come one after the other. */
static int search_take_row(void *context, const struct row *row)
{
    struct search_rows *rows = context;
    struct store_package *package = rows->package;

    if (rows->n == MOST_ROWS) {
        package->is_complete = false;
        return 1;
    }
    rows->n++;
    if (!row->value.bytes || !revision_is_valid(row->value.bytes, row->value.length))
        return 0;
    if (!floor_is_checksum(row->checksum) &&
        (package->n_contents == 0 || !text_equal(row->checksum, buffer_text(&rows->checksum)))) {
        package->n_contents++;
        buffer_reset(&rows->checksum, BUFFER_KEEP_BYTES);
        buffer_append_text(&rows->checksum, row->checksum);
    }
    if (rows->greatest.length == 0 ||
        revision_compare(row->value.bytes, rows->greatest.bytes) > 0) {
        buffer_reset(&rows->greatest, BUFFER_KEEP_BYTES);
        buffer_append_text(&rows->greatest, row->value);
        buffer_append(&rows->greatest, "", 1);
    }
    return buffer_failed(&rows->greatest) || buffer_failed(&rows->checksum);
}

/* Describes the package that the walk has come to. */
static int search_tell(struct search_walk *walk, store_package_fn fn, void *context,
    bool *is_stopped, struct error *error)
{
    struct store_package package = {.version = buffer_text(&walk->version),
        .pkgarch = text_not_null(buffer_text(&walk->pkgarch)),
        .is_complete = true};
    struct search_rows rows = {.package = &package};
    int result = sqlite_load(
        &walk->store->base, package.version, package.pkgarch, search_take_row, &rows, error);

    walk->n_rows += rows.n;
    if (result == 0 && (buffer_failed(&rows.greatest) || buffer_failed(&rows.checksum)))
        result = error_set_memory(error);
    if (package.is_complete && rows.greatest.length > 0)
        package.greatest =
            (struct text){.bytes = rows.greatest.bytes, .length = rows.greatest.length - 1};
    if (result == 0)
        *is_stopped = fn(context, &package) != 0;
    buffer_free(&rows.greatest);
    buffer_free(&rows.checksum);
    return result;
}

/* Returns whether the search asks for the package that the walk has come to. */
static bool search_is_wanted(const struct search_walk *walk, const struct store_search *search)
{
    const struct text version = buffer_text(&walk->version);
    const struct text prefix = text_not_null(search->prefix);

    if (search->is_one)
        return text_equal(version, search->version) &&
               text_equal(text_not_null(buffer_text(&walk->pkgarch)), search->pkgarch);
    return version.length >= prefix.length &&
           memcmp(version.bytes, prefix.bytes, prefix.length) == 0;
}

/* Walks from package to package. The key behind a package is its own with a NUL appended. */
static int search_walk(struct search_walk *walk, const struct store_search *search,
    store_package_fn fn, void *context, bool *is_end, struct error *error)
{
    bool is_stopped = false;
    int result = 0;

    for (unsigned n = 0; result == 0 && n < search->limit && !is_stopped; n++) {
        if (walk->n_rows >= MOST_ALL_ROWS)
            return 0;
        result = search_next(walk, is_end, error);
        if (result != 0 || *is_end)
            return result;
        if (buffer_failed(&walk->version) || buffer_failed(&walk->pkgarch))
            return error_set_memory(error);
        *is_end = !search_is_wanted(walk, search);
        if (*is_end)
            return 0;
        result = search_tell(walk, fn, context, &is_stopped, error);
        buffer_append(&walk->pkgarch, "", 1);
    }
    return result;
}

int sqlite_search(struct store *base, const struct store_search *search, store_package_fn fn,
    void *context, bool *is_end, struct error *error)
{
    struct search_walk walk = {.store = (struct sqlite_store *)base};
    const struct text prefix = text_not_null(search->prefix);
    const bool has_key =
        search->is_one || (search->has_after && search_compare(search->version, prefix) >= 0);
    int result;

    *is_end = true;
    if (!walk.store->database || walk.store->sources == 0)
        return 0;
    buffer_append_text(&walk.version, has_key ? text_not_null(search->version) : prefix);
    if (has_key)
        buffer_append_text(&walk.pkgarch, text_not_null(search->pkgarch));
    if (has_key && search->has_after)
        buffer_append(&walk.pkgarch, "", 1);
    result = search_prepare(&walk, error);
    if (result == 0)
        result = search_walk(&walk, search, fn, context, is_end, error);
    for (size_t i = 0; i < SQLITE_SOURCES; i++)
        (void)sqlite3_finalize(walk.next[i]);
    buffer_free(&walk.version);
    buffer_free(&walk.pkgarch);
    return result;
}

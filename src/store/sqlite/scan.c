/* SPDX-License-Identifier: MIT */
/* Scans: whole ones, in one transaction, and those that go through many, piece by piece.
 *
 * A piece returns the rows at and behind a place, in the order of all four columns: the order of
 * the key of PRMAIN, in which SQLite finds the place with a look-up. Other programs may have left
 * NULL (which sorts before all texts) and blobs (behind them) in the key. A comparison with NULL is
 * never true, so a place whose key holds NULL is found by a condition that uses no index; a place
 * in front of a row without value has three columns. A statement returns so many rows at most:
 * where it has to sort, because a table lacks the index, it keeps no more than these in memory.
 *
 * A place also holds the mark of the database, or, if it has none, which file it is. */
#include "base/clock.h"
#include "store/sqlite/files.h"
#include "store/sqlite/old_tables.h"
#include "store/sqlite/query.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 4
#define PIECE_ROWS 4096
#define FILTERS 3 /* the filters are the parameters behind the place */

/* The beginning of a place. The columns' bytes follow. */
struct sqlite_place {
    struct mark mark;
    dev_t device;
    ino_t inode;
    int n_columns;       /* 0: at the first row */
    char types[COLUMNS]; /* text, blob, null */
    size_t lengths[COLUMNS];
};

enum { TYPE_TEXT = 't', TYPE_BLOB = 'b', TYPE_NULL = 'n' };

static const char *const scan_columns[COLUMNS] = {"version", "pkgarch", "checksum", "value"};

/* ---- whole scans ---- */

int sqlite_scan_begin(struct store *base, const struct store_filter *filter, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    const struct text filters[] = {filter->version, filter->pkgarch, filter->checksum};
    char condition[80];
    struct buffer sql = BUFFER_EMPTY;
    int n_filters = 0; /* the number of the last parameter */
    int result;

    store->scan.is_piece = false;
    buffer_free(&store->scan.sql);
    if (!store->database || store->sources == 0)
        return 0;
    result = sqlite_files_check(store, error); /* as in sqlite_find_changes */
    if (result != 0)
        return result;
    for (int i = 0; i < FILTERS; i++)
        n_filters = filters[i].length > 0 ? i + 1 : n_filters;
    (void)snprintf(condition, sizeof condition, " WHERE 1%s%s%s",
        filter->version.length > 0 ? " AND version = ?1" : "",
        filter->pkgarch.length > 0 ? " AND pkgarch = ?2" : "",
        filter->checksum.length > 0 ? " AND checksum = ?3" : "");
    sqlite_query_append_all(&sql, store, condition);
    buffer_append_string(&sql, " ORDER BY version, pkgarch");
    result = sqlite_query_prepare(store, STATEMENT_SCAN, &sql, error);
    if (result == 0 &&
        sqlite_query_bind(store->statements[STATEMENT_SCAN], filters, n_filters) != SQLITE_OK)
        result = error_set_memory(error);
    return result;
}

/* ---- the SQL of a piece ---- */

/* Appends the condition for rows at or behind a place, from a column on. names: of the columns. */
static void sqlite_scan_append_place(struct buffer *sql, const struct sqlite_place *place,
    const char *const names[COLUMNS], int from)
{
    const char *join = "(";

    assert(place->n_columns <= COLUMNS);
    if (from >= place->n_columns) {
        buffer_append_string(sql, "1");
    } else if (!memchr(place->types + from, TYPE_NULL, (size_t)(place->n_columns - from))) {
        for (int i = from; i < place->n_columns; i++, join = ", ")
            buffer_append_format(sql, "%s%s", join, names[i]);
        buffer_append_string(sql, ") >= ");
        join = "(";
        for (int i = from; i < place->n_columns; i++, join = ", ")
            buffer_append_format(sql, "%s?%d", join, i + 1);
        buffer_append_string(sql, ")");
    } else if (place->types[from] == TYPE_NULL) {
        buffer_append_format(sql, "(%s IS NOT NULL OR ", names[from]);
        sqlite_scan_append_place(sql, place, names, from + 1);
        buffer_append_string(sql, ")");
    } else {
        buffer_append_format(
            sql, "(%s > ?%d OR (%s = ?%d AND ", names[from], from + 1, names[from], from + 1);
        sqlite_scan_append_place(sql, place, names, from + 1);
        buffer_append_string(sql, "))");
    }
}

/* Returns how many filters can be found by the key: those in front of the first that is empty. */
static int sqlite_scan_key_filters(const struct text filters[FILTERS])
{
    int n = 0;

    while (n < FILTERS && filters[n].length > 0)
        n++;
    return n;
}

/* Returns whether the columns of an older table compare as those of PRMAIN do. */
static bool sqlite_scan_is_plain(struct sqlite_store *store, const char *table)
{
    bool is_plain = true;

    for (int i = 0; i < FILTERS; i++) {
        const char *type = NULL;
        const char *collation = NULL;

        is_plain = is_plain &&
                   sqlite3_table_column_metadata(store->database, "main", table, scan_columns[i],
                       &type, &collation, NULL, NULL, NULL) == SQLITE_OK &&
                   type && sqlite3_stricmp(type, "TEXT") == 0 && collation &&
                   sqlite3_stricmp(collation, "BINARY") == 0;
    }
    return is_plain;
}

/* Appends the rows of a table that are at or behind a place and pass the first filters. */
static void sqlite_scan_append_table(struct buffer *sql, struct sqlite_store *store,
    const struct sqlite_source_table *source, const struct sqlite_place *place, int n_filters)
{
    static const char *const plain[COLUMNS] = {
        "old.version", "old.pkgarch", "old.checksum", SQLITE_OLD_VALUE};
    static const char *const odd[COLUMNS] = {"CAST(old.version AS TEXT) COLLATE BINARY",
        "CAST(old.pkgarch AS TEXT) COLLATE BINARY", "CAST(old.checksum AS TEXT) COLLATE BINARY",
        SQLITE_OLD_VALUE};
    const bool is_old = source->source != SQLITE_SOURCE_MAIN;
    const char *const *names = scan_columns;

    if (is_old)
        names = sqlite_scan_is_plain(store, source->table) ? plain : odd;
    buffer_append_format(sql, "SELECT %s, %s, %s, %s FROM %s", names[0], names[1], names[2],
        names[3], source->table);
    buffer_append_string(sql, is_old ? " AS old WHERE " : " WHERE ");
    for (int i = 0; i < n_filters; i++)
        buffer_append_format(sql, "%s = ?%d AND ", names[i], COLUMNS + 1 + i);
    sqlite_scan_append_place(sql, place, names, n_filters);
    if (!is_old)
        return;
    buffer_append_string(sql, " AND " SQLITE_OLD_HAS_KEY);
    if (store->sources & SQLITE_SOURCE_MAIN)
        buffer_append_string(sql, " AND " SQLITE_OLD_NOT_IN_MAIN);
    if (source->source == SQLITE_SOURCE_HIST && store->sources & SQLITE_SOURCE_NOHIST)
        buffer_append_string(sql, " AND " SQLITE_OLD_NOT_IN_NOHIST);
}

/* Prepares the statement, unless it is the last piece's. */
static int sqlite_scan_prepare(struct sqlite_store *store, const struct sqlite_place *place,
    int n_filters, struct error *error)
{
    struct sqlite_scan *scan = &store->scan;
    struct buffer sql = BUFFER_EMPTY;
    const char *join = "";
    struct buffer prepared = BUFFER_EMPTY;
    int result;

    for (size_t i = 0; i < SQLITE_SOURCES; i++) {
        if (!(store->sources & sqlite_sources[i].source))
            continue;
        buffer_append_string(&sql, join);
        sqlite_scan_append_table(&sql, store, &sqlite_sources[i], place, n_filters);
        join = " UNION ALL ";
    }
    buffer_append_format(&sql, " ORDER BY 1, 2, 3, 4 LIMIT %d", PIECE_ROWS);
    if (store->statements[STATEMENT_SCAN] && !buffer_failed(&sql) &&
        text_equal(buffer_text(&sql), buffer_text(&scan->sql))) {
        buffer_free(&sql);
        return 0;
    }
    buffer_free(&scan->sql);
    buffer_append_text(&prepared, buffer_text(&sql));
    result = sqlite_query_prepare(store, STATEMENT_SCAN, &sql, error);
    if (result == 0 && !buffer_failed(&prepared))
        scan->sql = prepared;
    else
        buffer_free(&prepared);
    return result;
}

/* ---- pieces ---- */

static int sqlite_scan_bind(sqlite3_stmt *statement, const struct sqlite_place *place,
    const char *at, const struct text filters[FILTERS], int n_filters)
{
    int code = SQLITE_OK;

    for (int i = 0; i < place->n_columns && code == SQLITE_OK; at += place->lengths[i++]) {
        if (i < n_filters || place->types[i] == TYPE_NULL)
            continue;
        code = place->types[i] == TYPE_TEXT
                   ? sqlite3_bind_text64(
                         statement, i + 1, at, place->lengths[i], SQLITE_TRANSIENT, SQLITE_UTF8)
                   : sqlite3_bind_blob64(statement, i + 1, at, place->lengths[i], SQLITE_TRANSIENT);
    }
    for (int i = 0; i < n_filters && code == SQLITE_OK; i++)
        code = sqlite3_bind_text64(statement, COLUMNS + 1 + i, filters[i].bytes, filters[i].length,
            SQLITE_TRANSIENT, SQLITE_UTF8);
    return code;
}

/* Reads the mark, if somebody has written since it was last read. */
static int sqlite_scan_read_mark(struct sqlite_store *store, struct error *error)
{
    struct sqlite_scan *scan = &store->scan;
    int64_t version = 0;
    int result = sqlite_step_once(store, STATEMENT_DATA_VERSION, "read", &version, error);

    if (result != 0 || version == scan->mark_version)
        return result;
    result = sqlite_mark_read(store, &scan->mark, error);
    if (result == 0)
        scan->mark_version = version;
    return result;
}

/* Fails if the database is not the one of the place, or is older. */
static int sqlite_scan_require_same(
    struct sqlite_store *store, const struct sqlite_place *place, struct error *error)
{
    const struct sqlite_identity file = sqlite_files_opened(store->files, SQLITE_FILE_MAIN);
    const struct mark *mark = &store->scan.mark;
    bool is_same;

    if (place->mark.identity[0])
        is_same =
            mark_has_identity(mark, place->mark.identity) && mark->counter >= place->mark.counter;
    else
        is_same = file.device == place->device && file.inode == place->inode;
    if (is_same)
        return 0;
    return error_set(error, ERROR_STORE,
        "the database %s was replaced or went back to an older state meanwhile; try again",
        store->options.file);
}

int sqlite_scan_resume(struct store *base, const struct store_filter *filter,
    const struct buffer *bytes, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    const struct text filters[FILTERS] = {filter->version, filter->pkgarch, filter->checksum};
    const int n_filters = sqlite_scan_key_filters(filters);
    struct sqlite_place place = {.n_columns = 0};
    const char *key = NULL; /* none: from the beginning */
    int result;

    store->scan.is_piece = true;
    store->scan.n_rows = 0;
    if (bytes->length > 0) {
        memcpy(&place, bytes->bytes, sizeof place);
        key = bytes->bytes + sizeof place;
    }
    if (!store->database)
        return 0;
    (void)sqlite3_reset(store->statements[STATEMENT_SCAN]); /* of the same transaction */
    result = sqlite_files_check(store, error);              /* as in sqlite_find_changes */
    if (result == 0)
        result = sqlite_scan_read_mark(store, error);
    if (result == 0 && bytes->length > 0)
        result = sqlite_scan_require_same(store, &place, error);
    if (result != 0 || store->sources == 0)
        return result;
    result = sqlite_scan_prepare(store, &place, n_filters, error);
    if (result == 0 && sqlite_scan_bind(store->statements[STATEMENT_SCAN], &place, key, filters,
                           n_filters) != SQLITE_OK)
        result = error_set_memory(error);
    return result;
}

/* Appends the columns of the row at which the statement stands. */
static void sqlite_scan_append_columns(
    const struct sqlite_store *store, struct sqlite_place *place, struct buffer *bytes)
{
    sqlite3_stmt *statement = store->statements[STATEMENT_SCAN];

    buffer_append(bytes, (const char *)place, sizeof *place);
    for (int i = 0; i < place->n_columns; i++) {
        const void *column = place->types[i] == TYPE_BLOB ? sqlite3_column_blob(statement, i)
                                                          : sqlite3_column_text(statement, i);

        place->lengths[i] =
            place->types[i] == TYPE_NULL ? 0 : (size_t)sqlite3_column_bytes(statement, i);
        if (place->lengths[i] > 0)
            buffer_append(bytes, column, place->lengths[i]);
    }
    bytes->failed = bytes->failed || sqlite_query_has_failed(store);
    if (!buffer_failed(bytes))
        memcpy(bytes->bytes, place, sizeof *place);
}

/* Notes the types of the last row, before its texts are read. A blob is not a blob any more after
 * that, so the place of such a row is made now. */
static void sqlite_scan_note_row(struct sqlite_store *store)
{
    struct sqlite_scan *scan = &store->scan;
    struct sqlite_place place = {.n_columns = COLUMNS};
    bool has_blob = false;

    for (int i = 0; i < COLUMNS; i++) {
        const int type = sqlite3_column_type(store->statements[STATEMENT_SCAN], i);

        scan->types[i] = TYPE_BLOB;
        if (type == SQLITE_TEXT)
            scan->types[i] = TYPE_TEXT;
        else if (type == SQLITE_NULL)
            scan->types[i] = TYPE_NULL;
        has_blob = has_blob || scan->types[i] == TYPE_BLOB;
    }
    buffer_reset(&scan->odd, 0);
    memcpy(place.types, scan->types, sizeof place.types);
    if (has_blob)
        sqlite_scan_append_columns(store, &place, &scan->odd);
}

/* Makes a place in front of the row with these columns one behind it. The next value in the order
 * is the same with a NUL behind it; behind NULL comes the empty text. */
static void sqlite_scan_step_behind(struct sqlite_place *place, struct buffer *bytes)
{
    if (place->types[COLUMNS - 1] == TYPE_NULL) {
        place->types[COLUMNS - 1] = TYPE_TEXT;
        return;
    }
    buffer_append(bytes, "", 1);
    place->lengths[COLUMNS - 1]++;
}

void sqlite_scan_place(struct store *base, enum store_scan_from which, struct buffer *bytes)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    const struct sqlite_identity file = sqlite_files_opened(store->files, SQLITE_FILE_MAIN);
    struct sqlite_place place = {.n_columns = 0};

    buffer_reset(bytes, BUFFER_KEEP_BYTES);
    if (store->scan.n_rows == 0) {
        buffer_append(bytes, (const char *)&place, sizeof place);
    } else if (store->scan.odd.length > 0) {
        memcpy(&place, store->scan.odd.bytes, sizeof place);
        buffer_append_text(bytes, buffer_text(&store->scan.odd));
    } else {
        place.n_columns = COLUMNS;
        memcpy(place.types, store->scan.types, sizeof place.types);
        sqlite_scan_append_columns(store, &place, bytes);
    }
    if (place.n_columns > 0 && which == STORE_BEHIND_ROW)
        sqlite_scan_step_behind(&place, bytes);
    else if (place.n_columns > 0 && which == STORE_AT_PACKAGE)
        place.n_columns = 2;
    else if (place.types[COLUMNS - 1] == TYPE_NULL)
        place.n_columns = COLUMNS - 1;
    place.mark = store->scan.mark;
    place.device = file.device;
    place.inode = file.inode;
    bytes->failed = bytes->failed || store->scan.odd.failed;
    if (!buffer_failed(bytes))
        memcpy(bytes->bytes, &place, sizeof place);
}

/* ---- rows ---- */

int sqlite_scan_next(struct store *base, struct row *row, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    sqlite3_stmt *statement;
    int code = sqlite_files_enter_again(store, error);

    if (code != 0)
        return code;
    statement = store->statements[STATEMENT_SCAN];
    if (!store->database || store->sources == 0 || !statement)
        return STORE_SCAN_END;
    if (store->scan.is_piece && store->scan.n_rows == PIECE_ROWS)
        return STORE_SCAN_MORE; /* the statement stays at the last row, for its place */
    code = sqlite3_step(statement);
    if (code == SQLITE_DONE)
        return STORE_SCAN_END;
    if (code != SQLITE_ROW)
        return sqlite_fail(store, code, "read", error);
    if (store->scan.is_piece)
        sqlite_scan_note_row(store);
    store->scan.n_rows++;
    row->value = sqlite_query_value_column(statement, 3);
    row->version = sqlite_query_column(statement, 0);
    row->pkgarch = sqlite_query_column(statement, 1);
    row->checksum = sqlite_query_column(statement, 2);
    return sqlite_query_has_failed(store) ? error_set_memory(error) : STORE_SCAN_ROW;
}

void sqlite_pause(struct store *base)
{
    sqlite_files_leave((struct sqlite_store *)base);
}

int sqlite_resume(struct store *base, struct error *error)
{
    return sqlite_files_enter_again((struct sqlite_store *)base, error);
}

void sqlite_scan_free(struct sqlite_scan *scan)
{
    buffer_free(&scan->odd);
    buffer_free(&scan->sql);
}

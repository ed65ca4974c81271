/* SPDX-License-Identifier: MIT */
/* The statements that read and add rows.
 *
 * Rows come from PRMAIN and, for a read-only store, from the older tables as well: the SQL is built
 * from the tables that exist. Counts and scans (scan.c) leave out rows that another of them has.
 * The texts that callbacks get point into SQLite's memory. */
#include "store/sqlite/query.h"

#include "store/sqlite/fingerprints.h"
#include "store/sqlite/old_tables.h"
#include "store/sqlite/sqlite.h"

#include <stdio.h>
#include <string.h>

#define ALL_KEYS "version, pkgarch, checksum"

/* A key of a misshapen table, as text; NULL if it is not one. */
#define TEXT_OF(column)                                        \
    "CASE typeof(old." column ") WHEN 'text' THEN old." column \
    " WHEN 'integer' THEN CAST(old." column " AS TEXT) END COLLATE BINARY AS " column

int sqlite_query_bind(sqlite3_stmt *statement, const struct text *texts, int n)
{
    int code = SQLITE_OK;

    for (int i = 0; i < n && code == SQLITE_OK; i++)
        code = sqlite3_bind_text64(statement, i + 1, text_not_null(texts[i]).bytes, texts[i].length,
            SQLITE_STATIC, SQLITE_UTF8);
    return code;
}

struct text sqlite_query_column(sqlite3_stmt *statement, int index)
{
    struct text text = {.bytes = (const char *)sqlite3_column_text(statement, index)};

    text.length = (size_t)sqlite3_column_bytes(statement, index);
    return text.bytes ? text : text_of("");
}

struct text sqlite_query_value_column(sqlite3_stmt *statement, int index)
{
    for (int i = 0; i <= index; i++) {
        if (sqlite3_column_type(statement, i) != SQLITE_TEXT)
            return (struct text){.bytes = NULL};
    }
    return sqlite_query_column(statement, index);
}

bool sqlite_query_has_failed(const struct sqlite_store *store)
{
    return (sqlite3_errcode(store->database) & 0xff) == SQLITE_NOMEM;
}

/* ---- SQL ---- */

/* Appends SELECT keys, value FROM … condition for each source table. A row that several tables have
 * comes several times, unless is_distinct. */
static void sqlite_query_append_select(
    struct buffer *sql, unsigned sources, const char *keys, const char *condition, bool is_distinct)
{
    const char *join = "";

    for (size_t i = 0; i < SQLITE_SOURCES; i++) {
        const enum sqlite_source source = sqlite_sources[i].source;
        const bool is_old = source != SQLITE_SOURCE_MAIN;

        if (!(sources & source))
            continue;
        buffer_append_string(sql, join);
        buffer_append_string(sql, "SELECT ");
        buffer_append_string(sql, keys);
        buffer_append_string(sql, is_old ? ", " SQLITE_OLD_VALUE " FROM " : ", value FROM ");
        buffer_append_string(sql, sqlite_sources[i].table);
        buffer_append_string(sql, is_old ? " AS old" : "");
        buffer_append_string(sql, condition);
        if (is_old)
            buffer_append_string(sql, " AND " SQLITE_OLD_HAS_KEY);
        if (is_old && is_distinct && sources & SQLITE_SOURCE_MAIN)
            buffer_append_string(sql, " AND " SQLITE_OLD_NOT_IN_MAIN);
        if (source == SQLITE_SOURCE_HIST && is_distinct && sources & SQLITE_SOURCE_NOHIST)
            buffer_append_string(sql, " AND " SQLITE_OLD_NOT_IN_NOHIST);
        join = " UNION ALL ";
    }
}

/* Appends a query for all rows, without duplicates, of a database with a misshapen PRMAIN: each
 * value is read as the text that it stands for, and no index is relied on. */
static void sqlite_query_append_any_shape(struct buffer *sql, unsigned sources)
{
    const char *join = "SELECT * FROM (";

    for (size_t i = 0; i < SQLITE_SOURCES; i++) {
        if (!(sources & sqlite_sources[i].source))
            continue;
        buffer_append_string(sql, join);
        buffer_append_string(
            sql, "SELECT DISTINCT " TEXT_OF("version") ", " TEXT_OF("pkgarch") ", " TEXT_OF(
                     "checksum") ", " SQLITE_OLD_VALUE " COLLATE BINARY FROM ");
        buffer_append_string(sql, sqlite_sources[i].table);
        buffer_append_string(sql, " AS old");
        join = " UNION ";
    }
    buffer_append_string(sql, ")");
}

void sqlite_query_append_all(
    struct buffer *sql, const struct sqlite_store *store, const char *condition)
{
    if (store->is_misshapen) {
        sqlite_query_append_any_shape(sql, store->sources);
        buffer_append_string(sql, condition);
    } else {
        sqlite_query_append_select(sql, store->sources, ALL_KEYS, condition, true);
    }
}

int sqlite_query_prepare(struct sqlite_store *store, enum sqlite_statement which,
    struct buffer *sql, struct error *error)
{
    int code = SQLITE_NOMEM;

    (void)sqlite3_finalize(store->statements[which]);
    store->statements[which] = NULL;
    if (!buffer_failed(sql))
        code = sqlite3_prepare_v3(store->database, sql->bytes, (int)sql->length,
            SQLITE_PREPARE_PERSISTENT, &store->statements[which], NULL);
    buffer_free(sql);
    return code == SQLITE_OK ? 0 : sqlite_fail(store, code, "read", error);
}

static int sqlite_query_prepare_select(struct sqlite_store *store, enum sqlite_statement which,
    const char *condition, struct error *error)
{
    struct buffer sql = BUFFER_EMPTY;

    sqlite_query_append_select(&sql, store->sources, "checksum", condition, false);
    return sqlite_query_prepare(store, which, &sql, error);
}

/* Prepares the query for the rows behind a place. With old tables, whose keys have no value, it
 * finds the rows of the place's checksum again. */
static int sqlite_query_prepare_load_after(struct sqlite_store *store, struct error *error)
{
    struct buffer sql = BUFFER_EMPTY;
    const bool is_main = store->sources == SQLITE_SOURCE_MAIN;

    sqlite_query_append_select(&sql, store->sources, "checksum",
        is_main ? " WHERE version = ?1 AND pkgarch = ?2 AND (checksum, value) > (?3, ?4)"
                : " WHERE version = ?1 AND pkgarch = ?2 AND checksum >= ?3 AND ?4 IS NOT NULL",
        false);
    buffer_append_string(&sql, is_main ? " ORDER BY checksum, value" : " ORDER BY 1");
    return sqlite_query_prepare(store, STATEMENT_LOAD_AFTER, &sql, error);
}

int sqlite_prepare_queries(struct sqlite_store *store, struct error *error)
{
    struct buffer add = BUFFER_EMPTY;
    int result;

    if (store->sources == 0)
        return 0; /* a database without tables is treated as empty */
    result = sqlite_query_prepare_select(
        store, STATEMENT_LOAD, " WHERE version = ?1 AND pkgarch = ?2", error);
    if (result == 0)
        result = sqlite_query_prepare_select(store, STATEMENT_LOOK_UP,
            " WHERE version = ?1 AND pkgarch = ?2 AND checksum = ?3", error);
    if (result == 0)
        result = sqlite_query_prepare_load_after(store, error);
    if (result != 0 || store->options.read_only)
        return result;
    buffer_append_string(&add, "INSERT INTO PRMAIN (version, pkgarch, checksum, value) "
                               "VALUES (?1, ?2, ?3, ?4) "
                               "ON CONFLICT (version, pkgarch, checksum, value) DO NOTHING");
    return sqlite_query_prepare(store, STATEMENT_ADD, &add, error);
}

/* ---- rows ---- */

/* Calls back for the rows that a statement finds. key: version, pkgarch and, from 3 keys on, the
 * checksum and the value of a place. */
static int sqlite_query_each_row(struct sqlite_store *store, enum sqlite_statement which,
    const struct text *key, int n_keys, store_row_fn fn, void *context, struct error *error)
{
    sqlite3_stmt *statement = store->statements[which];
    struct row row = {.version = key[0], .pkgarch = key[1]};
    int stop = 0;
    int code;

    if (!store->database || store->sources == 0)
        return 0;
    code = sqlite_query_bind(statement, key, n_keys);
    while (stop == 0 && code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        row.value = sqlite_query_value_column(statement, 1);
        row.checksum = sqlite_query_column(statement, 0);
        code = sqlite_query_has_failed(store) ? SQLITE_NOMEM : SQLITE_OK;
        if (code == SQLITE_OK)
            stop = fn(context, &row);
    }
    if (code != SQLITE_OK && code != SQLITE_DONE)
        code = sqlite_fail(store, code, "read", error);
    else
        code = 0;
    (void)sqlite3_reset(statement);
    return code;
}

int sqlite_load(struct store *base, struct text version, struct text pkgarch, store_row_fn fn,
    void *context, struct error *error)
{
    const struct text key[] = {version, pkgarch};

    return sqlite_query_each_row(
        (struct sqlite_store *)base, STATEMENT_LOAD, key, 2, fn, context, error);
}

int sqlite_look_up(struct store *base, struct text version, struct text pkgarch,
    struct text checksum, store_row_fn fn, void *context, struct error *error)
{
    const struct text key[] = {version, pkgarch, checksum};

    return sqlite_query_each_row(
        (struct sqlite_store *)base, STATEMENT_LOOK_UP, key, 3, fn, context, error);
}

/* A search for one row. */
struct search {
    struct text value;
    bool is_found;
    store_row_fn fn; /* called back for the row; NULL: nobody */
    void *context;
    bool is_stopped; /* by fn */
};

/* Stops at the first row with the value: a table may hold a row without value many times. */
static int sqlite_query_compare(void *context, const struct row *row)
{
    struct search *search = context;
    const bool is_null = !search->value.bytes;

    if (is_null != !row->value.bytes || (!is_null && !text_equal(row->value, search->value)))
        return 0;
    search->is_found = true;
    search->is_stopped = search->fn && search->fn(search->context, row) != 0;
    return 1;
}

/* Rows without value are not stored, but a table that another program made may hold some. */
static int sqlite_query_require_null_row(
    struct store *base, const struct row *row, struct error *error)
{
    struct search search = {.is_found = false};
    int result = sqlite_look_up(
        base, row->version, row->pkgarch, row->checksum, sqlite_query_compare, &search, error);

    if (result != 0 || search.is_found)
        return result;
    return error_set(error, ERROR_INPUT, "this database can't hold a row without value");
}

/* Checks that a row is in the table: triggers and constraints that another program has added may
 * change it, or drop it without an error (RAISE(IGNORE), ON CONFLICT IGNORE). */
static int sqlite_query_require_row(struct store *base, const struct row *row, struct error *error)
{
    struct search search = {.value = row->value};
    int result = sqlite_look_up(
        base, row->version, row->pkgarch, row->checksum, sqlite_query_compare, &search, error);

    if (result != 0 || search.is_found)
        return result;
    return error_set(error, ERROR_STORE,
        "a trigger or a constraint of the table PRMAIN has changed or dropped a new row; nothing "
        "was stored: remove it, prserv verify names it");
}

/* A load in pieces. */
struct piece {
    sqlite3_stmt *statement;
    struct text checksum; /* of the place */
    bool may_repeat;      /* the rows of that checksum come again */
    bool *can_stop;
    store_row_fn fn;
    void *context;
};

/* Sorting means that no index has the rows in their order: the table has a key of its own. A row of
 * the place's checksum is no progress. */
static int sqlite_query_pass_row(void *context, const struct row *row)
{
    const struct piece *piece = context;

    *piece->can_stop = sqlite3_stmt_status(piece->statement, SQLITE_STMTSTATUS_SORT, 0) == 0 &&
                       !(piece->may_repeat && text_equal(row->checksum, piece->checksum));
    return piece->fn(piece->context, row);
}

int sqlite_load_after(struct store *base, struct text version, struct text pkgarch,
    const struct store_place *place, bool *can_stop, store_row_fn fn, void *context,
    struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    const struct text key[] = {version, pkgarch, place->checksum, place->value};
    struct piece piece = {
        .statement = store->statements[STATEMENT_LOAD_AFTER],
        .checksum = place->checksum,
        .may_repeat = store->sources != SQLITE_SOURCE_MAIN,
        .can_stop = can_stop,
        .fn = fn,
        .context = context,
    };

    *can_stop = false;
    if (piece.statement)
        (void)sqlite3_stmt_status(piece.statement, SQLITE_STMTSTATUS_SORT, 1);
    return sqlite_query_each_row(
        store, STATEMENT_LOAD_AFTER, key, 4, sqlite_query_pass_row, &piece, error);
}

int sqlite_add(struct store *base, const struct row *row, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    sqlite3_stmt *statement = store->statements[STATEMENT_ADD];
    const struct text texts[] = {row->version, row->pkgarch, row->checksum, row->value};
    int result;

    if (!row->value.bytes)
        return sqlite_query_require_null_row(base, row, error);
    if (sqlite_query_bind(statement, texts, 4) != SQLITE_OK)
        return sqlite_fail(store, SQLITE_TOOBIG, "write to", error);
    store->mark.has_rows = true;
    result = sqlite_step_once(store, STATEMENT_ADD, "write to", NULL, error);
    if (result != 0 || store->options.is_read_back ||
        (sqlite3_changes(store->database) > 0 && !store->has_triggers))
        return result;
    return sqlite_query_require_row(base, row, error);
}

int sqlite_find_many(struct store *base, const struct row *rows, size_t n, store_row_fn fn,
    void *context, struct error *error)
{
    struct search search = {.fn = fn, .context = context};
    int result = store_begin_read(base, NULL, STORE_BLOCK, error);

    for (size_t i = 0; i < n && result == 0 && !search.is_stopped; i++) {
        search.value = rows[i].value;
        result = sqlite_look_up(base, rows[i].version, rows[i].pkgarch, rows[i].checksum,
            sqlite_query_compare, &search, error);
    }
    store_rollback(base);
    return result;
}

/* ---- the table ---- */

int sqlite_describe(struct store *base, store_column_fn fn, void *context, struct error *error)
{
    static const char sql[] =
        "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('PRMAIN')";
    struct sqlite_store *store = (struct sqlite_store *)base;
    sqlite3_stmt *statement = NULL;
    int code;

    if (!store->database || !(store->sources & SQLITE_SOURCE_MAIN)) {
        store_describe_new(fn, context); /* a read-only store may be started before the writer */
        return 0;
    }
    code = sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        const struct store_column described = {
            .name = (const char *)sqlite3_column_text(statement, 0),
            .type = (const char *)sqlite3_column_text(statement, 1),
            .not_null = sqlite3_column_int(statement, 2) != 0,
            .default_value = (const char *)sqlite3_column_text(statement, 3),
            .primary_key = sqlite3_column_int(statement, 4),
        };

        fn(context, &described);
        code = SQLITE_OK;
    }
    code = code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "read", error);
    (void)sqlite3_finalize(statement);
    return code;
}

int sqlite_count(struct store *base, uint64_t *rows, bool *is_estimate, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    const unsigned sources = store->sources;
    struct buffer sql = BUFFER_EMPTY;
    bool is_main_enough = false;
    int64_t count = 0;
    int result = 0;

    *rows = 0;
    *is_estimate = false;
    if (!store->database || sources == 0)
        return 0;
    if (sources & SQLITE_SOURCE_MAIN && sources != SQLITE_SOURCE_MAIN && !store->is_misshapen)
        result = sqlite_fingerprints_compare(store, sources, &is_main_enough, error);
    if (result != 0)
        return result;
    buffer_append_string(&sql, "SELECT count(*) FROM (");
    if (is_main_enough)
        buffer_append_string(&sql, "SELECT 1 FROM PRMAIN");
    else
        sqlite_query_append_all(&sql, store, " WHERE 1");
    buffer_append_string(&sql, ")");
    buffer_append(&sql, "", 1);
    result =
        buffer_failed(&sql) ? error_set_memory(error) : sqlite_ask(store, sql.bytes, &count, error);
    buffer_free(&sql);
    *rows = (uint64_t)count;
    return result;
}

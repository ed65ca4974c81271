/* The statements that read and add rows.
 *
 * Rows come from PRMAIN and, for a read-only store on a database that was not
 * taken over yet, from the tables of older formats: their SQL is put together from
 * the tables that there are. The texts that callbacks get point into SQLite. */
#include "base/buffer.h"
#include "store/sqlite.h"

#include <string.h>

static int bind(sqlite3_stmt *statement, int index, struct text text)
{
    return sqlite3_bind_text64(
        statement, index, text.bytes ? text.bytes : "", text.length, SQLITE_STATIC, SQLITE_UTF8);
}

static struct text column(sqlite3_stmt *statement, int index)
{
    struct text text = {.bytes = (const char *)sqlite3_column_text(statement, index)};

    text.length = (size_t)sqlite3_column_bytes(statement, index);
    return text.bytes ? text : text_of("");
}

/* A value that is no text (NULL, a blob) is none: another program's work. */
static struct text value_column(sqlite3_stmt *statement, int index)
{
    if (sqlite3_column_type(statement, index) != SQLITE_TEXT)
        return (struct text){.bytes = NULL};
    return column(statement, index);
}

/* Did reading a column fail for want of memory? Its text is empty then, and SQLite says so
 * only now, or at the next step. */
static bool is_cut(const struct sqlite_store *store)
{
    return (sqlite3_errcode(store->database) & 0xff) == SQLITE_NOMEM;
}

/* ---- SQL ---- */

/* SELECT … FROM each source table WHERE …, together. */
static void select_from_sources(struct buffer *sql, unsigned sources, const char *columns,
    const char *legacy_columns, const char *condition)
{
    static const struct {
        enum sqlite_source source;
        const char *table;
    } tables[] = {
        {SQLITE_SOURCE_MAIN, "PRMAIN"},
        {SQLITE_SOURCE_NOHIST, "PRMAIN_nohist"},
        {SQLITE_SOURCE_HIST, "PRMAIN_hist"},
    };
    const char *join = "";

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (!(sources & tables[i].source))
            continue;
        buffer_append_string(sql, join);
        buffer_append_string(sql, "SELECT ");
        buffer_append_string(sql, i == 0 ? columns : legacy_columns);
        buffer_append_string(sql, " FROM ");
        buffer_append_string(sql, tables[i].table);
        buffer_append_string(sql, condition);
        if (i > 0)
            buffer_append_string(sql, " AND " SQLITE_LEGACY_ROWS);
        join = " UNION ";
    }
}

static int prepare(struct sqlite_store *store, enum sqlite_statement which, struct buffer *sql,
    struct error *error)
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

static int prepare_select(struct sqlite_store *store, enum sqlite_statement which,
    const char *condition, struct error *error)
{
    struct buffer sql = BUFFER_EMPTY;

    select_from_sources(
        &sql, store->sources, "checksum, value", "checksum, " SQLITE_LEGACY_VALUE, condition);
    return prepare(store, which, &sql, error);
}

int sqlite_prepare_queries(struct sqlite_store *store, struct error *error)
{
    struct buffer add = BUFFER_EMPTY;
    int result;

    if (store->sources == 0)
        return 0; /* a database without tables: nothing is known */
    result = prepare_select(store, STATEMENT_LOAD, " WHERE version = ?1 AND pkgarch = ?2", error);
    if (result == 0)
        result = prepare_select(store, STATEMENT_LOOK_UP,
            " WHERE version = ?1 AND pkgarch = ?2 AND checksum = ?3", error);
    if (result != 0 || store->options.read_only)
        return result;
    buffer_append_string(&add, "INSERT INTO PRMAIN (version, pkgarch, checksum, value) "
                               "VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING");
    return prepare(store, STATEMENT_ADD, &add, error);
}

/* ---- rows of a package ---- */

static int each_row(struct sqlite_store *store, sqlite3_stmt *statement, struct row *row,
    store_row_fn fn, void *context, struct error *error)
{
    int stop = 0;
    int code = SQLITE_OK;

    while (stop == 0 && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        row->checksum = column(statement, 0);
        row->value = value_column(statement, 1);
        if (is_cut(store)) {
            code = SQLITE_NOMEM;
            break;
        }
        stop = fn(context, row);
    }
    if (stop == 0 && code != SQLITE_DONE)
        code = sqlite_fail(store, code, "read", error);
    else
        code = 0;
    (void)sqlite3_reset(statement);
    return code;
}

int sqlite_load(struct store *base, struct text version, struct text pkgarch, store_row_fn fn,
    void *context, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    sqlite3_stmt *statement = store->statements[STATEMENT_LOAD];
    struct row row = {.version = version, .pkgarch = pkgarch};

    if (!store->database || store->sources == 0)
        return 0;
    if (bind(statement, 1, version) != SQLITE_OK || bind(statement, 2, pkgarch) != SQLITE_OK)
        return sqlite_fail(store, SQLITE_NOMEM, "read", error);
    return each_row(store, statement, &row, fn, context, error);
}

int sqlite_look_up(struct store *base, struct text version, struct text pkgarch,
    struct text checksum, store_row_fn fn, void *context, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    sqlite3_stmt *statement = store->statements[STATEMENT_LOOK_UP];
    struct row row = {.version = version, .pkgarch = pkgarch};

    if (!store->database || store->sources == 0)
        return 0;
    if (bind(statement, 1, version) != SQLITE_OK || bind(statement, 2, pkgarch) != SQLITE_OK ||
        bind(statement, 3, checksum) != SQLITE_OK)
        return sqlite_fail(store, SQLITE_NOMEM, "read", error);
    return each_row(store, statement, &row, fn, context, error);
}

int sqlite_add(struct store *base, const struct row *row, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    sqlite3_stmt *statement = store->statements[STATEMENT_ADD];
    int code;

    if (bind(statement, 1, row->version) != SQLITE_OK ||
        bind(statement, 2, row->pkgarch) != SQLITE_OK ||
        bind(statement, 3, row->checksum) != SQLITE_OK ||
        bind(statement, 4, row->value) != SQLITE_OK)
        return sqlite_fail(store, SQLITE_TOOBIG, "write to", error);
    code = sqlite3_step(statement);
    (void)sqlite3_reset(statement);
    return code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "write to", error);
}

/* ---- exports ---- */

/* The table as it will be made: a read-only store may be there before it. */
static void describe_new(store_column_fn fn, void *context)
{
    static const char *const names[] = {"version", "pkgarch", "checksum", "value"};

    for (int i = 0; i < 4; i++) {
        const struct store_column described = {
            .name = names[i], .type = "TEXT", .not_null = true, .primary_key = i + 1};

        fn(context, &described);
    }
}

int sqlite_describe(struct store *base, store_column_fn fn, void *context, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    struct buffer sql = BUFFER_EMPTY;
    sqlite3_stmt *statement;
    int code;
    int result;

    if (!store->database || !(store->sources & SQLITE_SOURCE_MAIN)) {
        describe_new(fn, context);
        return 0;
    }
    buffer_append_string(&sql, "SELECT name, type, \"notnull\", dflt_value, pk "
                               "FROM pragma_table_info('PRMAIN')");
    result = prepare(store, STATEMENT_TABLE_INFO, &sql, error);
    if (result != 0)
        return result;
    statement = store->statements[STATEMENT_TABLE_INFO];
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        const struct store_column described = {
            .name = (const char *)sqlite3_column_text(statement, 0),
            .type = (const char *)sqlite3_column_text(statement, 1),
            .not_null = sqlite3_column_int(statement, 2) != 0,
            .default_value = (const char *)sqlite3_column_text(statement, 3),
            .primary_key = sqlite3_column_int(statement, 4),
        };

        fn(context, &described);
    }
    return code == SQLITE_DONE ? 0 : sqlite_fail(store, code, "read", error);
}

int sqlite_count(struct store *base, uint64_t *rows, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    struct buffer sql = BUFFER_EMPTY;
    int64_t count = 0;
    int result;

    *rows = 0;
    if (!store->database || store->sources == 0)
        return 0;
    if (store->sources == SQLITE_SOURCE_MAIN) {
        buffer_append_string(&sql, "SELECT count(*) FROM PRMAIN");
    } else {
        buffer_append_string(&sql, "SELECT count(*) FROM (");
        select_from_sources(&sql, store->sources, "version, pkgarch, checksum, value",
            "version, pkgarch, checksum, " SQLITE_LEGACY_VALUE, " WHERE 1");
        buffer_append_string(&sql, ")");
    }
    buffer_append(&sql, "", 1);
    result =
        buffer_failed(&sql) ? error_set_memory(error) : sqlite_ask(store, sql.bytes, &count, error);
    buffer_free(&sql);
    *rows = (uint64_t)count;
    return result;
}

static void add_condition(struct buffer *sql, const char *name, int index, struct text filter)
{
    static const char *const numbers[] = {"?1", "?2", "?3"};

    if (filter.length == 0)
        return;
    buffer_append_string(sql, " AND ");
    buffer_append_string(sql, name);
    buffer_append_string(sql, " = ");
    buffer_append_string(sql, numbers[index - 1]);
}

int sqlite_scan_begin(struct store *base, const struct store_filter *filter, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    struct buffer condition = BUFFER_EMPTY;
    struct buffer sql = BUFFER_EMPTY;
    const struct text filters[] = {filter->version, filter->pkgarch, filter->checksum};
    int result;

    if (!store->database || store->sources == 0)
        return 0;
    buffer_append_string(&condition, " WHERE 1");
    add_condition(&condition, "version", 1, filter->version);
    add_condition(&condition, "pkgarch", 2, filter->pkgarch);
    add_condition(&condition, "checksum", 3, filter->checksum);
    buffer_append(&condition, "", 1);
    if (!buffer_failed(&condition))
        select_from_sources(&sql, store->sources, "version, pkgarch, checksum, value",
            "version, pkgarch, checksum, " SQLITE_LEGACY_VALUE, condition.bytes);
    sql.failed = sql.failed || buffer_failed(&condition);
    buffer_free(&condition);
    buffer_append_string(&sql, " ORDER BY version, pkgarch");
    result = prepare(store, STATEMENT_SCAN, &sql, error);
    for (int i = 0; i < 3 && result == 0; i++) {
        if (filters[i].length > 0 &&
            bind(store->statements[STATEMENT_SCAN], i + 1, filters[i]) != SQLITE_OK)
            result = error_set_memory(error);
    }
    return result;
}

int sqlite_scan_next(struct store *base, struct row *row, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    sqlite3_stmt *statement = store->statements[STATEMENT_SCAN];
    int code;

    if (!statement)
        return 0;
    code = sqlite3_step(statement);
    if (code == SQLITE_DONE)
        return 0;
    if (code != SQLITE_ROW)
        return sqlite_fail(store, code, "read", error);
    row->version = column(statement, 0);
    row->pkgarch = column(statement, 1);
    row->checksum = column(statement, 2);
    row->value = value_column(statement, 3);
    return is_cut(store) ? error_set_memory(error) : 1;
}

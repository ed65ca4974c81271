/* SPDX-License-Identifier: MIT */
/* Without TEXT affinity, SQLite stores the value 1.10 as the number 1.1. Without BINARY collation,
 * it takes two contents for one. Without the key of four columns, a row is stored many times, and
 * with a narrower one it is not stored at all. */
#include "store/sqlite/shape.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#define OUR_COLUMNS "('version', 'pkgarch', 'checksum', 'value')"

struct shape_check {
    sqlite3 *database;
    sqlite_shape_fn fn;
    void *context;
    bool has_key;
    int code; /* SQLITE_NOMEM once memory ran out: what was said may be wrong */
};

__attribute__((format(printf, 3, 4))) static void sqlite_shape_say(
    struct shape_check *check, enum sqlite_shape_effect effect, const char *format, ...)
{
    char text[200];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    check->fn(check->context, effect, text);
}

/* Calls fn for each result of a query. Returns SQLite's code. */
static int sqlite_shape_each(struct shape_check *check, const char *sql,
    void (*fn)(struct shape_check *check, sqlite3_stmt *result))
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(check->database, sql, -1, &statement, NULL);

    if (code == SQLITE_OK) {
        while (check->code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
            fn(check, statement);
    }
    (void)sqlite3_finalize(statement);
    if (check->code != SQLITE_OK)
        return check->code;
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Returns a text of a result, "" for NULL. */
static const char *sqlite_shape_text(struct shape_check *check, sqlite3_stmt *result, int column)
{
    const char *text = (const char *)sqlite3_column_text(result, column);

    if (!text && sqlite3_column_type(result, column) == SQLITE_TEXT)
        check->code = SQLITE_NOMEM;
    return text ? text : "";
}

/* ---- columns ---- */

/* Returns whether a column of this type keeps texts as they are (SQLite's rules of affinity). */
static bool sqlite_shape_is_text(const char *type)
{
    return sqlite3_strlike("%INT%", type, 0) != 0 &&
           (sqlite3_strlike("%CHAR%", type, 0) == 0 || sqlite3_strlike("%CLOB%", type, 0) == 0 ||
               sqlite3_strlike("%TEXT%", type, 0) == 0);
}

/* name, type (NULL: there is no such column), whether it is generated */
static void sqlite_shape_on_column(struct shape_check *check, sqlite3_stmt *result)
{
    const char *name = sqlite_shape_text(check, result, 0);
    const char *type = sqlite_shape_text(check, result, 1);
    const char *collation = NULL;
    int code;

    if (sqlite3_column_type(result, 1) == SQLITE_NULL) {
        sqlite_shape_say(check, SQLITE_SHAPE_UNREADABLE, "the column %s is missing", name);
        return;
    }
    if (type[0] == '\0')
        sqlite_shape_say(check, SQLITE_SHAPE_REFUSED, "the column %s has no type, not TEXT", name);
    else if (!sqlite_shape_is_text(type))
        sqlite_shape_say(
            check, SQLITE_SHAPE_REFUSED, "the column %s has the type %.60s, not TEXT", name, type);
    if (sqlite3_column_int(result, 2) != 0)
        sqlite_shape_say(check, SQLITE_SHAPE_REFUSED, "the column %s is computed", name);
    code = sqlite3_table_column_metadata(
        check->database, "main", "PRMAIN", name, NULL, &collation, NULL, NULL, NULL);
    if (code == SQLITE_NOMEM)
        check->code = code;
    if (code == SQLITE_OK && collation && sqlite3_stricmp(collation, "BINARY") != 0)
        sqlite_shape_say(check, SQLITE_SHAPE_REFUSED,
            "the column %s compares with %.60s, not with BINARY", name, collation);
}

static void sqlite_shape_on_unknown_column(struct shape_check *check, sqlite3_stmt *result)
{
    sqlite_shape_say(
        check, SQLITE_SHAPE_HARMLESS, "unknown column %.100s", sqlite_shape_text(check, result, 0));
}

static int sqlite_shape_check_columns(struct shape_check *check)
{
    int code = sqlite_shape_each(check,
        "WITH ours(name) AS (VALUES ('version'), ('pkgarch'), ('checksum'), ('value')) "
        "SELECT ours.name, c.type, c.hidden <> 0 FROM ours "
        "LEFT JOIN pragma_table_xinfo('PRMAIN') AS c ON lower(c.name) = ours.name",
        sqlite_shape_on_column);

    return code != SQLITE_OK ? code
                             : sqlite_shape_each(check,
                                   "SELECT name FROM pragma_table_xinfo('PRMAIN') "
                                   "WHERE lower(name) NOT IN " OUR_COLUMNS,
                                   sqlite_shape_on_unknown_column);
}

/* ---- keys ---- */

/* name, number of columns, number of our columns, whether it is partial */
static void sqlite_shape_on_unique_index(struct shape_check *check, sqlite3_stmt *result)
{
    const int n_columns = sqlite3_column_int(result, 1);
    const int n_ours = sqlite3_column_int(result, 2);

    if (n_ours < 4)
        sqlite_shape_say(check, SQLITE_SHAPE_REFUSED,
            "the unique index %.100s excludes rows that differ in other columns",
            sqlite_shape_text(check, result, 0));
    else if (n_columns == 4 && sqlite3_column_int(result, 3) == 0)
        check->has_key = true;
}

static int sqlite_shape_check_keys(struct shape_check *check)
{
    int code = sqlite_shape_each(check,
        "SELECT l.name, count(*), count(DISTINCT CASE WHEN lower(i.name) IN " OUR_COLUMNS
        " AND upper(i.coll) = 'BINARY' THEN lower(i.name) END), l.partial "
        "FROM pragma_index_list('PRMAIN') AS l, pragma_index_xinfo(l.name) AS i "
        "WHERE l.\"unique\" AND i.key GROUP BY l.name",
        sqlite_shape_on_unique_index);

    if (code == SQLITE_OK && !check->has_key)
        sqlite_shape_say(check, SQLITE_SHAPE_REFUSED,
            "a key of version, pkgarch, checksum and value, compared with BINARY, is missing");
    return code;
}

/* ---- the table ---- */

/* type, whether it has no pages of its own */
static void sqlite_shape_on_object(struct shape_check *check, sqlite3_stmt *result)
{
    if (sqlite3_column_int(result, 1) != 0)
        sqlite_shape_say(check, SQLITE_SHAPE_REFUSED, "it is a %s, not an ordinary table",
            sqlite3_column_int(result, 0) != 0 ? "view" : "virtual table");
}

static void sqlite_shape_on_trigger(struct shape_check *check, sqlite3_stmt *result)
{
    sqlite_shape_say(check, SQLITE_SHAPE_TRIGGER, "the trigger %.100s may change or drop rows",
        sqlite_shape_text(check, result, 0));
}

int sqlite_shape_check(sqlite3 *database, sqlite_shape_fn fn, void *context)
{
    struct shape_check check = {.database = database, .fn = fn, .context = context};
    int code = sqlite_shape_check_columns(&check);

    if (code == SQLITE_OK)
        code = sqlite_shape_each(&check,
            "SELECT type = 'view', ifnull(rootpage, 0) = 0 FROM sqlite_master "
            "WHERE type IN ('table', 'view') AND name = 'PRMAIN' COLLATE NOCASE",
            sqlite_shape_on_object);
    if (code == SQLITE_OK)
        code = sqlite_shape_check_keys(&check);
    if (code == SQLITE_OK)
        code = sqlite_shape_each(&check,
            "SELECT name FROM sqlite_master "
            "WHERE type = 'trigger' AND tbl_name = 'PRMAIN' COLLATE NOCASE",
            sqlite_shape_on_trigger);
    return code;
}

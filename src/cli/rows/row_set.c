/* SPDX-License-Identifier: MIT */
/* Texts are blobs, so that they compare as bytes and may hold a NUL. A row without a value has an
 * empty blob; a value is stored after an equals sign. */
#include "cli/rows/row_set.h"

#include "base/buffer.h"
#include "revision/floor.h"
#include "revision/revision.h"

#include <sqlite3.h>
#include <stdlib.h>

static const char schema[] =
    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384;"
    "CREATE TABLE rows (version, pkgarch, checksum, value, origins,"
    " PRIMARY KEY (version, pkgarch, checksum, value)) WITHOUT ROWID;"
    "CREATE TABLE greatest (name PRIMARY KEY, value) WITHOUT ROWID;"
    "BEGIN";

enum statement {
    ADD,
    MARK,
    HAS,
    HISTORY,
    DIFFERING,
    SHARED,
    RAISE,
    GREATEST,
    EACH_GREATEST,
    STATEMENTS
};

static const char *const texts[STATEMENTS] = {
    [ADD] = "INSERT OR IGNORE INTO rows VALUES (?1, ?2, ?3, ?4, ?5)",
    [MARK] = "UPDATE rows SET origins = origins | ?5"
             " WHERE version = ?1 AND pkgarch = ?2 AND checksum = ?3 AND value = ?4",
    [HAS] = "SELECT 1 FROM rows"
            " WHERE version = ?1 AND pkgarch = ?2 AND checksum = ?3 AND value = ?4",
    [HISTORY] = "SELECT 1 FROM rows GROUP BY version, pkgarch"
                " HAVING min(value) <> max(value) OR min(value) = x'' LIMIT 1",
    [DIFFERING] = "SELECT version, pkgarch, checksum, value, origins FROM rows WHERE origins <> ?1"
                  " ORDER BY version, pkgarch, checksum, value",
    [SHARED] =
        "SELECT version, pkgarch, min(checksum), value, max(checksum), count(*) FROM rows"
        " WHERE value <> x''"
        " AND substr(checksum, 1, length('" FLOOR_PREFIX "')) <> CAST('" FLOOR_PREFIX "' AS BLOB)"
        " GROUP BY version, pkgarch, value HAVING count(*) > 1",
    [RAISE] = "INSERT OR REPLACE INTO greatest VALUES (?1, ?2)",
    [GREATEST] = "SELECT value FROM greatest WHERE name = ?1",
    [EACH_GREATEST] = "SELECT name, value FROM greatest ORDER BY name",
};

struct row_set {
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENTS];
    struct buffer value; /* the row's value after its equals sign */
};

static int row_set_failed(const struct row_set *set, struct error *error)
{
    return error_set(error, ERROR_STORE,
        "the temporary database (in $TMPDIR, /var/tmp or /tmp) failed: %s",
        set && set->database ? sqlite3_errmsg(set->database) : "out of memory");
}

int row_set_open(struct row_set **created, struct error *error)
{
    struct row_set *set = calloc(1, sizeof *set);

    *created = set;
    if (!set || sqlite3_open("", &set->database) != SQLITE_OK ||
        sqlite3_exec(set->database, schema, NULL, NULL, NULL) != SQLITE_OK)
        goto undo;
    for (int i = 0; i < STATEMENTS; i++) {
        if (sqlite3_prepare_v2(set->database, texts[i], -1, &set->statements[i], NULL) != SQLITE_OK)
            goto undo;
    }
    return 0;
undo:
    (void)row_set_failed(set, error);
    row_set_close(set);
    *created = NULL;
    return ERROR_STORE;
}

void row_set_close(struct row_set *set)
{
    if (!set)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(set->statements[i]);
    (void)sqlite3_close(set->database);
    buffer_free(&set->value);
    free(set);
}

/* ---- binding and reading ---- */

static int row_set_bind(sqlite3_stmt *statement, int at, struct text text)
{
    return sqlite3_bind_blob64(
        statement, at, text.length > 0 ? text.bytes : "", text.length, SQLITE_STATIC);
}

static struct text row_set_column(sqlite3_stmt *statement, int at)
{
    const char *bytes = sqlite3_column_blob(statement, at);

    return (struct text){
        .bytes = bytes ? bytes : "", .length = (size_t)sqlite3_column_bytes(statement, at)};
}

static bool row_set_bind_row(struct row_set *set, sqlite3_stmt *statement, const struct row *row)
{
    buffer_reset(&set->value, 1024);
    if (row->value.bytes) {
        buffer_append_string(&set->value, "=");
        buffer_append_text(&set->value, row->value);
    }
    return !buffer_failed(&set->value) && row_set_bind(statement, 1, row->version) == SQLITE_OK &&
           row_set_bind(statement, 2, row->pkgarch) == SQLITE_OK &&
           row_set_bind(statement, 3, row->checksum) == SQLITE_OK &&
           row_set_bind(statement, 4, buffer_text(&set->value)) == SQLITE_OK;
}

static struct row row_set_read_row(sqlite3_stmt *statement)
{
    struct text value = row_set_column(statement, 3);
    struct row row = {
        .version = row_set_column(statement, 0),
        .pkgarch = row_set_column(statement, 1),
        .checksum = row_set_column(statement, 2),
    };

    if (value.length > 0)
        row.value = text_from(value, 1);
    return row;
}

/* Runs one step. Returns SQLITE_ROW or SQLITE_DONE, or fails. */
static int row_set_step(struct row_set *set, sqlite3_stmt *statement, struct error *error)
{
    int result = sqlite3_step(statement);

    return result == SQLITE_ROW || result == SQLITE_DONE ? result : row_set_failed(set, error);
}

/* ---- the set of rows ---- */

static int row_set_run_with_row(struct row_set *set, enum statement which, const struct row *row,
    int origin, struct error *error)
{
    sqlite3_stmt *statement = set->statements[which];
    int result;

    if (!row_set_bind_row(set, statement, row) ||
        (origin != 0 && sqlite3_bind_int(statement, 5, origin) != SQLITE_OK))
        return row_set_failed(set, error);
    result = row_set_step(set, statement, error);
    (void)sqlite3_reset(statement);
    return result;
}

int row_set_add(
    struct row_set *set, const struct row *row, int origin, bool *is_new, struct error *error)
{
    int result = row_set_run_with_row(set, ADD, row, origin, error);
    bool added = result == SQLITE_DONE && sqlite3_changes(set->database) > 0;

    if (result == SQLITE_DONE && !added)
        result = row_set_run_with_row(set, MARK, row, origin, error);
    if (is_new)
        *is_new = added;
    return result == SQLITE_DONE ? 0 : result;
}

int row_set_contains(struct row_set *set, const struct row *row, bool *has, struct error *error)
{
    int result = row_set_run_with_row(set, HAS, row, 0, error);

    *has = result == SQLITE_ROW;
    return result < 0 ? result : 0;
}

int row_set_has_history(struct row_set *set, bool *history, struct error *error)
{
    sqlite3_stmt *statement = set->statements[HISTORY];
    int result = row_set_step(set, statement, error);

    *history = result == SQLITE_ROW;
    (void)sqlite3_reset(statement);
    return result < 0 ? result : 0;
}

int row_set_each_not_in_all(struct row_set *set, int origins,
    void (*found)(void *context, const struct row *row, int origins), void *context,
    struct error *error)
{
    sqlite3_stmt *statement = set->statements[DIFFERING];
    int result;

    (void)sqlite3_bind_int(statement, 1, origins);
    while ((result = row_set_step(set, statement, error)) == SQLITE_ROW) {
        struct row row = row_set_read_row(statement);

        found(context, &row, sqlite3_column_int(statement, 4));
    }
    (void)sqlite3_reset(statement);
    return result < 0 ? result : 0;
}

int row_set_each_shared(struct row_set *set,
    void (*found)(void *context, const struct row *row, struct text last_checksum, uint64_t n_rows),
    void *context, struct error *error)
{
    sqlite3_stmt *statement = set->statements[SHARED];
    int result;

    while ((result = row_set_step(set, statement, error)) == SQLITE_ROW) {
        struct row row = row_set_read_row(statement);

        found(context, &row, row_set_column(statement, 4),
            (uint64_t)sqlite3_column_int64(statement, 5));
    }
    (void)sqlite3_reset(statement);
    return result < 0 ? result : 0;
}

/* ---- the greatest revision by name ---- */

/* Returns the revision with the NUL at its end, as it is stored. */
static struct text row_set_with_end(const char *revision)
{
    return (struct text){.bytes = revision, .length = strlen(revision) + 1};
}

int row_set_raise_greatest(
    struct row_set *set, struct text name, const char *revision, struct error *error)
{
    sqlite3_stmt *known = set->statements[GREATEST];
    sqlite3_stmt *raise = set->statements[RAISE];
    bool greater;
    int result;

    if (row_set_bind(known, 1, name) != SQLITE_OK)
        return row_set_failed(set, error);
    result = row_set_step(set, known, error);
    greater =
        result == SQLITE_DONE ||
        (result == SQLITE_ROW && revision_compare(revision, sqlite3_column_blob(known, 0)) > 0);
    (void)sqlite3_reset(known);
    if (result < 0 || !greater)
        return result < 0 ? result : 0;
    if (row_set_bind(raise, 1, name) != SQLITE_OK ||
        row_set_bind(raise, 2, row_set_with_end(revision)) != SQLITE_OK)
        return row_set_failed(set, error);
    result = row_set_step(set, raise, error);
    (void)sqlite3_reset(raise);
    return result < 0 ? result : 0;
}

int row_set_each_greatest(struct row_set *set,
    void (*found)(void *context, struct text name, const char *revision), void *context,
    struct error *error)
{
    sqlite3_stmt *statement = set->statements[EACH_GREATEST];
    int result;

    while ((result = row_set_step(set, statement, error)) == SQLITE_ROW)
        found(context, row_set_column(statement, 0), sqlite3_column_blob(statement, 1));
    (void)sqlite3_reset(statement);
    return result < 0 ? result : 0;
}

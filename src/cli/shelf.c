/* Texts are blobs, so that they compare as bytes and may hold a NUL. A row without value
 * has an empty blob; a value is kept behind an equals sign. */
#include "cli/shelf.h"

#include "base/buffer.h"
#include "client/field.h"
#include "revision/revision.h"

#include <sqlite3.h>
#include <stdlib.h>

static const char schema[] =
    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16384;"
    "CREATE TABLE rows (version, pkgarch, checksum, value, sides,"
    " PRIMARY KEY (version, pkgarch, checksum, value)) WITHOUT ROWID;"
    "CREATE TABLE greatest (name PRIMARY KEY, value) WITHOUT ROWID;"
    "BEGIN";

enum statement { ADD, MARK, HAS, RAISE, GREATEST, STATEMENTS };

static const char *const texts[STATEMENTS] = {
    [ADD] = "INSERT OR IGNORE INTO rows VALUES (?1, ?2, ?3, ?4, ?5)",
    [MARK] = "UPDATE rows SET sides = sides | ?5"
             " WHERE version = ?1 AND pkgarch = ?2 AND checksum = ?3 AND value = ?4",
    [HAS] = "SELECT 1 FROM rows"
            " WHERE version = ?1 AND pkgarch = ?2 AND checksum = ?3 AND value = ?4",
    [RAISE] = "INSERT OR REPLACE INTO greatest VALUES (?1, ?2)",
    [GREATEST] = "SELECT value FROM greatest WHERE name = ?1",
};

struct shelf {
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENTS];
    struct buffer value; /* behind its equals sign */
};

static int failed(const struct shelf *shelf, struct error *error)
{
    return error_set(error, ERROR_STORE,
        "the temporary database (in $TMPDIR, /var/tmp or /tmp) failed: %s",
        shelf && shelf->database ? sqlite3_errmsg(shelf->database) : "out of memory");
}

int shelf_open(struct shelf **result, struct error *error)
{
    struct shelf *shelf = calloc(1, sizeof *shelf);

    *result = shelf;
    if (!shelf || sqlite3_open("", &shelf->database) != SQLITE_OK ||
        sqlite3_exec(shelf->database, schema, NULL, NULL, NULL) != SQLITE_OK)
        goto undo;
    for (int i = 0; i < STATEMENTS; i++) {
        if (sqlite3_prepare_v2(shelf->database, texts[i], -1, &shelf->statements[i], NULL) !=
            SQLITE_OK)
            goto undo;
    }
    return 0;
undo:
    (void)failed(shelf, error);
    shelf_close(shelf);
    *result = NULL;
    return ERROR_STORE;
}

void shelf_close(struct shelf *shelf)
{
    if (!shelf)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(shelf->statements[i]);
    (void)sqlite3_close(shelf->database);
    buffer_free(&shelf->value);
    free(shelf);
}

/* ---- binding and reading ---- */

static int bind(sqlite3_stmt *statement, int at, struct text text)
{
    return sqlite3_bind_blob64(
        statement, at, text.length > 0 ? text.bytes : "", text.length, SQLITE_STATIC);
}

static struct text column(sqlite3_stmt *statement, int at)
{
    const char *bytes = sqlite3_column_blob(statement, at);

    return (struct text){
        .bytes = bytes ? bytes : "", .length = (size_t)sqlite3_column_bytes(statement, at)};
}

static bool bind_row(struct shelf *shelf, sqlite3_stmt *statement, const struct prserv_row *row)
{
    buffer_reset(&shelf->value, 1024);
    if (row->value.bytes) {
        buffer_append_string(&shelf->value, "=");
        buffer_append_text(&shelf->value, field_text(row->value));
    }
    return !buffer_failed(&shelf->value) &&
           bind(statement, 1, field_text(row->version)) == SQLITE_OK &&
           bind(statement, 2, field_text(row->pkgarch)) == SQLITE_OK &&
           bind(statement, 3, field_text(row->checksum)) == SQLITE_OK &&
           bind(statement, 4, buffer_text(&shelf->value)) == SQLITE_OK;
}

static struct prserv_row read_row(sqlite3_stmt *statement)
{
    struct text value = column(statement, 3);
    struct prserv_row row = {
        .version = field_of(column(statement, 0)),
        .pkgarch = field_of(column(statement, 1)),
        .checksum = field_of(column(statement, 2)),
    };

    if (value.length > 0)
        row.value = (struct prserv_text){.bytes = value.bytes + 1, .length = value.length - 1};
    return row;
}

/* Runs one step. Returns SQLITE_ROW or SQLITE_DONE, or fails. */
static int step(struct shelf *shelf, sqlite3_stmt *statement, struct error *error)
{
    int code = sqlite3_step(statement);

    return code == SQLITE_ROW || code == SQLITE_DONE ? code : failed(shelf, error);
}

/* ---- the set of rows ---- */

static int run_with_row(struct shelf *shelf, enum statement which, const struct prserv_row *row,
    int side, struct error *error)
{
    sqlite3_stmt *statement = shelf->statements[which];
    int code;

    if (!bind_row(shelf, statement, row) ||
        (side != 0 && sqlite3_bind_int(statement, 5, side) != SQLITE_OK))
        return failed(shelf, error);
    code = step(shelf, statement, error);
    (void)sqlite3_reset(statement);
    return code;
}

int shelf_add(
    struct shelf *shelf, const struct prserv_row *row, int side, bool *is_new, struct error *error)
{
    int code = run_with_row(shelf, ADD, row, side, error);
    bool added = code == SQLITE_DONE && sqlite3_changes(shelf->database) > 0;

    if (code == SQLITE_DONE && !added)
        code = run_with_row(shelf, MARK, row, side, error);
    if (is_new)
        *is_new = added;
    return code == SQLITE_DONE ? 0 : code;
}

int shelf_has(struct shelf *shelf, const struct prserv_row *row, bool *has, struct error *error)
{
    int code = run_with_row(shelf, HAS, row, 0, error);

    *has = code == SQLITE_ROW;
    return code < 0 ? code : 0;
}

static int prepare(
    struct shelf *shelf, const char *text, sqlite3_stmt **statement, struct error *error)
{
    if (sqlite3_prepare_v2(shelf->database, text, -1, statement, NULL) == SQLITE_OK)
        return 0;
    return failed(shelf, error);
}

int shelf_has_history(struct shelf *shelf, bool *history, struct error *error)
{
    sqlite3_stmt *statement;
    int code = prepare(shelf,
        "SELECT 1 FROM rows GROUP BY version, pkgarch"
        " HAVING min(value) <> max(value) OR min(value) = x'' LIMIT 1",
        &statement, error);

    if (code != 0)
        return code;
    code = step(shelf, statement, error);
    *history = code == SQLITE_ROW;
    (void)sqlite3_finalize(statement);
    return code < 0 ? code : 0;
}

int shelf_each_lacking(struct shelf *shelf, int sides,
    void (*found)(void *context, const struct prserv_row *row, int sides), void *context,
    struct error *error)
{
    sqlite3_stmt *statement;
    int code = prepare(shelf,
        "SELECT version, pkgarch, checksum, value, sides FROM rows WHERE sides <> ?1"
        " ORDER BY version, pkgarch, checksum, value",
        &statement, error);

    if (code != 0)
        return code;
    (void)sqlite3_bind_int(statement, 1, sides);
    while ((code = step(shelf, statement, error)) == SQLITE_ROW) {
        struct prserv_row row = read_row(statement);

        found(context, &row, sqlite3_column_int(statement, 4));
    }
    (void)sqlite3_finalize(statement);
    return code < 0 ? code : 0;
}

/* ---- the greatest revision by name ---- */

/* Revisions are kept with the NUL at their end. */
static struct text with_end(const char *revision)
{
    return (struct text){.bytes = revision, .length = strlen(revision) + 1};
}

int shelf_raise(struct shelf *shelf, struct text name, const char *revision, struct error *error)
{
    sqlite3_stmt *known = shelf->statements[GREATEST];
    sqlite3_stmt *raise = shelf->statements[RAISE];
    bool greater;
    int code;

    if (bind(known, 1, name) != SQLITE_OK)
        return failed(shelf, error);
    code = step(shelf, known, error);
    greater = code == SQLITE_DONE ||
              (code == SQLITE_ROW && revision_compare(revision, sqlite3_column_blob(known, 0)) > 0);
    (void)sqlite3_reset(known);
    if (code < 0 || !greater)
        return code < 0 ? code : 0;
    if (bind(raise, 1, name) != SQLITE_OK || bind(raise, 2, with_end(revision)) != SQLITE_OK)
        return failed(shelf, error);
    code = step(shelf, raise, error);
    (void)sqlite3_reset(raise);
    return code < 0 ? code : 0;
}

int shelf_each_greatest(struct shelf *shelf,
    void (*found)(void *context, struct text name, const char *revision), void *context,
    struct error *error)
{
    sqlite3_stmt *statement;
    int code = prepare(shelf, "SELECT name, value FROM greatest ORDER BY name", &statement, error);

    if (code != 0)
        return code;
    while ((code = step(shelf, statement, error)) == SQLITE_ROW)
        found(context, column(statement, 0), sqlite3_column_blob(statement, 1));
    (void)sqlite3_finalize(statement);
    return code < 0 ? code : 0;
}

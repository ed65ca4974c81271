/* The tables: what is found, what is made, what is taken over.
 *
 *   PRMAIN                     ours, and BitBake's since 2.10
 *   PRMAIN_nohist, PRMAIN_hist BitBake 1.16 to 2.8; values are integers. Their rows
 *                              are copied to PRMAIN once, in the transaction that sets
 *                              user_version to 1; the old tables stay as they are.
 *   PRMAIN without pkgarch     2011; refused.
 *
 * A read-only store can't copy: without the marker it reads all three tables. */
#include "revision/revision.h"
#include "store/sqlite.h"

#include <stdio.h>
#include <string.h>

#define TAKEN_OVER 1 /* user_version */

static int has_table(struct sqlite_store *store, const char *name, bool *has, struct error *error)
{
    char sql[160];
    int64_t count = 0;
    int result;

    (void)snprintf(sql, sizeof sql,
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '%s' COLLATE NOCASE",
        name);
    result = sqlite_ask(store, sql, &count, error);
    *has = count > 0;
    return result;
}

/* Refuses a PRMAIN that is not the table we know. */
static int check_columns(struct sqlite_store *store, struct error *error)
{
    static const char known[] = "SELECT count(*) FROM pragma_table_info('PRMAIN') "
                                "WHERE lower(name) IN ('version', 'pkgarch', 'checksum', 'value')";
    int64_t columns = 0;
    int result = sqlite_ask(store, known, &columns, error);

    if (result != 0 || columns == 4)
        return result;
    return error_set(error, ERROR_STORE,
        "%s holds a table PRMAIN without the columns version, pkgarch, checksum and value (BitBake "
        "of 2011 wrote such); it can't be used and was not touched",
        store->options.file);
}

static int find_sources(struct sqlite_store *store, unsigned *sources, struct error *error)
{
    static const struct {
        const char *table;
        enum sqlite_source source;
    } tables[] = {
        {"PRMAIN", SQLITE_SOURCE_MAIN},
        {"PRMAIN_nohist", SQLITE_SOURCE_NOHIST},
        {"PRMAIN_hist", SQLITE_SOURCE_HIST},
    };

    *sources = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        bool has = false;
        int result = has_table(store, tables[i].table, &has, error);

        if (result != 0)
            return result;
        if (has)
            *sources |= tables[i].source;
    }
    return *sources & SQLITE_SOURCE_MAIN ? check_columns(store, error) : 0;
}

int sqlite_schema_inspect(struct sqlite_store *store, struct error *error)
{
    int64_t user_version = 0;
    int result = find_sources(store, &store->sources, error);

    if (result == 0)
        result = sqlite_ask(store, "PRAGMA user_version", &user_version, error);
    if (user_version >= TAKEN_OVER)
        store->sources &= SQLITE_SOURCE_MAIN;
    return result;
}

/* ---- taking over ---- */

/* The SQL function is_revision(text), for this connection's own statements. */
static void is_revision(sqlite3_context *context, int n_values, sqlite3_value **values)
{
    const char *text = (const char *)sqlite3_value_text(values[0]);

    (void)n_values;
    if (!text && sqlite3_value_type(values[0]) == SQLITE_TEXT) {
        sqlite3_result_error_nomem(context); /* what it is, is not known */
        return;
    }
    sqlite3_result_int(
        context, text && revision_is_valid(text, (size_t)sqlite3_value_bytes(values[0])));
}

static int take_over_table(struct sqlite_store *store, const char *table, struct error *error)
{
    char sql[640];
    int64_t before = sqlite3_total_changes64(store->database);
    int64_t odd = 0;
    int result;

    (void)snprintf(sql, sizeof sql,
        "INSERT OR IGNORE INTO PRMAIN (version, pkgarch, checksum, value) "
        "SELECT version, pkgarch, checksum, " SQLITE_LEGACY_VALUE " FROM %s "
        "WHERE is_revision(" SQLITE_LEGACY_VALUE ") AND " SQLITE_LEGACY_ROWS,
        table);
    result = sqlite_run(store, sql, error);
    if (result != 0)
        return result;
    log_write(store->options.log, LOG_INFO, "Taking %lld rows over from %s in %s",
        (long long)(sqlite3_total_changes64(store->database) - before), table, store->options.file);
    (void)snprintf(sql, sizeof sql,
        "SELECT count(*) FROM %s "
        "WHERE NOT (is_revision(" SQLITE_LEGACY_VALUE ") AND " SQLITE_LEGACY_ROWS ")",
        table);
    result = sqlite_ask(store, sql, &odd, error);
    if (odd > 0)
        log_write(store->options.log, LOG_WARNING,
            "%lld rows of %s hold no revision; they were left where they are", (long long)odd,
            table);
    return result;
}

static int take_over(struct sqlite_store *store, unsigned sources, struct error *error)
{
    int result = 0;

    if (sources & (SQLITE_SOURCE_NOHIST | SQLITE_SOURCE_HIST)) {
        int code = sqlite3_create_function(store->database, "is_revision", 1,
            SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, is_revision, NULL, NULL);

        if (code != SQLITE_OK)
            return sqlite_fail(store, code, "open", error);
    }
    if (sources & SQLITE_SOURCE_NOHIST)
        result = take_over_table(store, "PRMAIN_nohist", error);
    if (result == 0 && (sources & SQLITE_SOURCE_HIST))
        result = take_over_table(store, "PRMAIN_hist", error);
    return result ? result : sqlite_run(store, "PRAGMA user_version = 1", error);
}

/* Inside a writing transaction: everything is done, or nothing. */
static int make_tables(struct sqlite_store *store, struct error *error)
{
    int64_t user_version = 0;
    unsigned sources = 0;
    int result = find_sources(store, &sources, error);

    if (result == 0 && !(sources & SQLITE_SOURCE_MAIN))
        result = sqlite_run(store,
            "CREATE TABLE PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, "
            "checksum TEXT NOT NULL, value TEXT, "
            "PRIMARY KEY (version, pkgarch, checksum, value)) WITHOUT ROWID",
            error);
    if (result == 0)
        result = sqlite_ask(store, "PRAGMA user_version", &user_version, error);
    if (result == 0 && user_version < TAKEN_OVER)
        result = take_over(store, sources, error);
    return result;
}

/* ---- the writer's start ---- */

static int journal_mode(
    struct sqlite_store *store, const char *sql, char mode[16], struct error *error)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL);
    const char *name;
    int result = 0;

    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    name = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (name)
        (void)snprintf(mode, 16, "%s", name);
    else if (code == SQLITE_ROW)
        result = error_set_memory(error);
    else
        result = sqlite_fail(store, code, "open", error);
    (void)sqlite3_finalize(statement);
    return result;
}

/* SQLite does not wait for the lock that the change to WAL needs: we do. */
static int change_to_wal(struct sqlite_store *store, char mode[16], struct error *error)
{
    int tries = 0;
    int result;

    do {
        result = journal_mode(store, "PRAGMA journal_mode = WAL", mode, error);
    } while (result == ERROR_LOCKED && sqlite_wait_for_lock(store, tries++));
    return result;
}

static int use_wal(struct sqlite_store *store, struct error *error)
{
    char mode[16] = "";
    int result = journal_mode(store, "PRAGMA journal_mode", mode, error);

    if (result == 0 && strcmp(mode, "wal") != 0)
        result = change_to_wal(store, mode, error);
    if (result == 0 && strcmp(mode, "wal") != 0)
        result = error_set(error, ERROR_STORE,
            "%s can't have a WAL journal (its journal is '%s'); is it on a network file system?",
            store->options.file, mode);
    return result;
}

static int is_current(struct sqlite_store *store, bool *current, struct error *error)
{
    int64_t user_version = 0;
    unsigned sources = 0;
    int result = find_sources(store, &sources, error);

    if (result == 0)
        result = sqlite_ask(store, "PRAGMA user_version", &user_version, error);
    *current = user_version >= TAKEN_OVER && (sources & SQLITE_SOURCE_MAIN);
    return result;
}

int sqlite_schema_prepare(struct sqlite_store *store, struct error *error)
{
    bool current = false;
    int result = is_current(store, &current, error);

    if (result == 0)
        result = use_wal(store, error);
    if (result != 0 || current)
        return result;
    result = sqlite_run(store, "BEGIN IMMEDIATE", error);
    if (result != 0)
        return result;
    result = make_tables(store, error);
    if (result == 0)
        result = sqlite_run(store, "COMMIT", error);
    if (result != 0)
        (void)sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
    return result;
}

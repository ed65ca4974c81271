/* SPDX-License-Identifier: MIT */
/* The tables of an SQLite database: finding them, refusing those that can't be used, making PRMAIN.
 *
 *   PRMAIN                     ours, and BitBake's since 2.10
 *   PRMAIN_nohist, PRMAIN_hist BitBake 1.16 to 2.8; values are integers. A writer copies their rows
 *                              to PRMAIN (old_tables.c); the old tables stay as they are. A
 *                              read-only store can't copy: it reads all three tables.
 *   PRMAIN without pkgarch     BitBake of 2011; refused.
 *   PRMAIN of another shape    renamed, or made by another program; refused (shape.h). Only
 *                              `prserv migrate` reads it. */
#include "store/sqlite/shape.h"
#include "store/sqlite/sqlite.h"

#include <stdio.h>
#include <string.h>

#define MODE_BYTES 16

const struct sqlite_source_table sqlite_sources[SQLITE_SOURCES] = {
    {SQLITE_SOURCE_MAIN, "PRMAIN"},
    {SQLITE_SOURCE_NOHIST, "PRMAIN_nohist"},
    {SQLITE_SOURCE_HIST, "PRMAIN_hist"},
};

/* ---- finding ---- */

int sqlite_schema_find_tables(struct sqlite_store *store, unsigned *sources, struct error *error)
{
    int64_t n_tables;
    int result = 0;

    *sources = 0;
    for (size_t i = 0; i < SQLITE_SOURCES && result == 0; i++) {
        char sql[160];

        (void)snprintf(sql, sizeof sql,
            "SELECT count(*) FROM sqlite_master "
            "WHERE type IN ('table', 'view') AND name = '%s' COLLATE NOCASE",
            sqlite_sources[i].table);
        result = sqlite_ask(store, sql, &n_tables, error);
        if (n_tables > 0)
            *sources |= sqlite_sources[i].source;
    }
    return result;
}

/* What a check of the shape of PRMAIN has found. */
struct shape_findings {
    struct sqlite_store *store;
    bool is_unreadable;
    struct error refused; /* the first difference that is refused; "": none */
};

static void sqlite_schema_on_difference(
    void *context, enum sqlite_shape_effect effect, const char *difference)
{
    struct shape_findings *findings = context;

    if (effect == SQLITE_SHAPE_UNREADABLE)
        findings->is_unreadable = true;
    if (effect == SQLITE_SHAPE_REFUSED && findings->refused.text[0] == '\0')
        (void)error_set(&findings->refused, ERROR_STORE, "%s", difference);
    if (effect == SQLITE_SHAPE_TRIGGER)
        findings->store->has_triggers = true;
}

/* Refuses a PRMAIN that can't hold all rows as they are. */
static int sqlite_schema_check_shape(struct sqlite_store *store, struct error *error)
{
    struct shape_findings findings = {.store = store};
    int code = sqlite_shape_check(store->database, sqlite_schema_on_difference, &findings);

    store->is_misshapen = findings.refused.text[0] != '\0';
    if (code != SQLITE_OK)
        return sqlite_fail(store, code, "read", error);
    if (findings.is_unreadable)
        return error_set(error, ERROR_STORE,
            "%s has a table PRMAIN without the columns version, pkgarch, checksum and value (as "
            "BitBake of 2011 made it); it can't be used and was not changed",
            store->options.file);
    if (!store->is_misshapen || store->options.is_source)
        return 0;
    return error_set(error, ERROR_STORE,
        "%s has a table PRMAIN that can't hold all rows as they are: %s; it was not changed: copy "
        "the rows to a new database with prserv migrate OLD NEW, and use that",
        store->options.file, findings.refused.text);
}

int sqlite_schema_inspect(struct sqlite_store *store, struct error *error)
{
    int result = sqlite_schema_find_tables(store, &store->sources, error);

    return result == 0 && store->sources & SQLITE_SOURCE_MAIN
               ? sqlite_schema_check_shape(store, error)
               : result;
}

/* ---- the start of a writer ---- */

/* Makes PRMAIN if it does not exist, inside a writing transaction. */
static int sqlite_schema_make_table(struct sqlite_store *store, struct error *error)
{
    int result = sqlite_schema_inspect(store, error);

    if (result == 0 && !(store->sources & SQLITE_SOURCE_MAIN))
        result = sqlite_run(store,
            "CREATE TABLE PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, "
            "checksum TEXT NOT NULL, value TEXT, "
            "PRIMARY KEY (version, pkgarch, checksum, value)) WITHOUT ROWID",
            error);
    return result;
}

/* Called by SQLite with the row that PRAGMA journal_mode returns. */
static int sqlite_schema_take_mode(void *mode, int n, char **values, char **names)
{
    (void)n;
    (void)names;
    (void)snprintf(mode, MODE_BYTES, "%s", values[0]);
    return 0;
}

/* Changes the database to WAL, if it does not have one yet. Waits for the lock that this needs,
 * because SQLite does not. */
static int sqlite_schema_use_wal(struct sqlite_store *store, struct error *error)
{
    char mode[MODE_BYTES] = "";
    int tries = 0;
    int code;

    do {
        code = sqlite3_exec(
            store->database, "PRAGMA journal_mode = WAL", sqlite_schema_take_mode, mode, NULL);
    } while ((code & 0xff) == SQLITE_BUSY && sqlite_wait_for_lock(store, tries++));
    if (code != SQLITE_OK)
        return sqlite_fail(store, code, "open", error);
    if (strcmp(mode, "wal") == 0)
        return 0;
    return error_set(error, ERROR_STORE,
        "%s can't use a WAL (its journal mode is '%s'); is it on a network file system?",
        store->options.file, mode);
}

int sqlite_schema_prepare(struct sqlite_store *store, struct error *error)
{
    int result = sqlite_schema_inspect(store, error);

    if (result == 0)
        result = sqlite_schema_use_wal(store, error);
    if (result != 0 || store->sources & SQLITE_SOURCE_MAIN)
        return result;
    result = sqlite_run(store, "BEGIN IMMEDIATE", error);
    if (result == 0)
        result = sqlite_schema_make_table(store, error);
    return result == 0 ? sqlite_run(store, "COMMIT", error) : result;
}

/* SPDX-License-Identifier: MIT */
/* What the log says of an SQLite database at the start: where it is, whether it is new, how much it
 * holds. */
#include "base/clock.h"
#include "store/sqlite/sqlite.h"

#include <stdio.h>

#define COUNT_MS 50

struct survey {
    uint64_t n_packages;
    bool is_complete; /* all packages were counted */
    bool has_failed;  /* the table can't be read; the first request hears why */
};

/* Goes from package to package by the primary key, without reading their rows, for COUNT_MS. */
static void sqlite_survey_count(struct sqlite_store *store, struct survey *survey)
{
    static const char sql[] = "SELECT version, pkgarch FROM PRMAIN WHERE (version, pkgarch) > "
                              "(?1, ?2) ORDER BY version, pkgarch LIMIT 1";
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL);

    store->read_until_ms = clock_ms() + COUNT_MS;
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, "", 0, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 2, "", 0, SQLITE_STATIC);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        sqlite3_value *version = sqlite3_value_dup(sqlite3_column_value(statement, 0));
        sqlite3_value *pkgarch = sqlite3_value_dup(sqlite3_column_value(statement, 1));

        survey->n_packages++;
        code = version && pkgarch ? sqlite3_reset(statement) : SQLITE_NOMEM;
        if (code == SQLITE_OK)
            code = sqlite3_bind_value(statement, 1, version);
        if (code == SQLITE_OK)
            code = sqlite3_bind_value(statement, 2, pkgarch);
        sqlite3_value_free(version);
        sqlite3_value_free(pkgarch);
        if (clock_ms() >= store->read_until_ms)
            break;
    }
    survey->is_complete = code == SQLITE_DONE;
    survey->has_failed = code != SQLITE_DONE && code != SQLITE_OK && code != SQLITE_ROW &&
                         (code & 0xff) != SQLITE_INTERRUPT;
    (void)sqlite3_finalize(statement);
    store->read_until_ms = UINT64_MAX;
}

/* Returns whether the store is the first one of a server that starts: its writer or, on a read-only
 * server, its reader. */
static bool sqlite_survey_is_first(const struct sqlite_store *store)
{
    return store->options.is_startup && store->options.serves &&
           store->role == (store->options.read_only ? STORE_READER : STORE_WRITER);
}

void sqlite_survey_report(struct sqlite_store *store)
{
    const char *file = store->database ? sqlite3_db_filename(store->database, "main") : NULL;
    struct survey survey = {.n_packages = 0};
    struct error ignored;
    unsigned found;
    bool has_old;

    if (!file || !sqlite_survey_is_first(store) ||
        sqlite_schema_find_tables(store, &found, &ignored) != 0)
        return;
    if (found & SQLITE_SOURCE_MAIN)
        sqlite_survey_count(store, &survey);
    if (survey.has_failed)
        return;
    has_old = (found & (SQLITE_SOURCE_NOHIST | SQLITE_SOURCE_HIST)) != 0;
    if (has_old && store->options.read_only)
        log_write(store->options.log, LOG_INFO,
            "The database %s holds tables of BitBake 2.8 or older", file);
    else if (survey.n_packages == 0)
        log_write(store->options.log, LOG_INFO,
            "The database %s is new: every package starts at revision 0", file);
    else
        log_write(store->options.log, LOG_INFO, "The database %s holds %s%llu package%s (%s)", file,
            survey.is_complete ? "" : "more than ", (unsigned long long)survey.n_packages,
            survey.n_packages == 1 ? "" : "s",
            has_old ? "table PRMAIN, which has the rows of tables of BitBake 2.8 or older"
                    : "table PRMAIN");
}

/* SPDX-License-Identifier: MIT */
/* The checks are queries: what they sort goes to temporary files, so that memory does not grow with
 * the database. */
#include "cli/verify/verify_sqlite.h"

#include "cli/verify/verify_mark.h"
#include "cli/verify/verify_rows.h"
#include "cli/verify/verify_schema.h"
#include "revision/floor.h"
#include "revision/revision.h"
#include "store/sqlite/old_tables.h"

#include <stdio.h>
#include <string.h>

/* ---- damage ---- */

/* Adds each line of a report of the integrity check. */
static void verify_sqlite_on_damage(struct sqlite_reader *reader, sqlite3_stmt *result)
{
    const char *line = (const char *)sqlite3_column_text(result, 0);

    while (line && line[0] != '\0' && strcmp(line, "ok") != 0) {
        size_t length = strcspn(line, "\n");

        if (strncmp(line, "*** ", 4) != 0) /* the line only names the database */
            findings_add(reader->findings, FINDING_DAMAGE, NULL, "%.*s", (int)length, line);
        line += length + (line[length] == '\n');
    }
}

static void verify_sqlite_check_integrity(struct sqlite_reader *reader)
{
    reader->findings->is_checked[FINDING_DAMAGE] = true;
    sqlite_reader_each(reader, "PRAGMA integrity_check(1000)", verify_sqlite_on_damage);
}

/* ---- rows ---- */

static void verify_sqlite_on_row(struct sqlite_reader *reader, sqlite3_stmt *result)
{
    const struct row row = sqlite_reader_row(result);
    const char *invalid = !row.version.bytes    ? "version"
                          : !row.pkgarch.bytes  ? "pkgarch"
                          : !row.checksum.bytes ? "checksum"
                                                : NULL;

    progress_row(&reader->progress, 0, 0);
    reader->findings->rows++;
    if (invalid)
        findings_add(reader->findings, FINDING_INVALID_ROW, &row, "the %s is not a text", invalid);
    else
        verify_rows_check_value(reader->findings, &row);
}

static void verify_sqlite_on_shared(struct sqlite_reader *reader, sqlite3_stmt *result)
{
    const struct row row = sqlite_reader_row(result);

    verify_rows_add_shared(reader->findings, &row, sqlite_reader_text(result, 4),
        (uint64_t)sqlite3_column_int64(result, 5));
}

static void verify_sqlite_check_rows(struct sqlite_reader *reader)
{
    reader->findings->is_checked[FINDING_INVALID_ROW] = true;
    reader->findings->is_checked[FINDING_SHARED_VALUE] = true;
    sqlite_reader_each(reader,
        "SELECT version, pkgarch, checksum, " SQLITE_OLD_VALUE " FROM PRMAIN AS old",
        verify_sqlite_on_row);
    sqlite_reader_each(reader,
        "SELECT version, pkgarch, min(checksum), value, max(checksum), count(*) FROM PRMAIN "
        "WHERE checksum NOT GLOB '" FLOOR_PREFIX "*' "
        "GROUP BY version, pkgarch, value HAVING min(checksum) <> max(checksum)",
        verify_sqlite_on_shared);
}

/* ---- old tables ---- */

static void verify_sqlite_on_old_row(struct sqlite_reader *reader, sqlite3_stmt *result)
{
    const struct row row = sqlite_reader_row(result);

    if (row.value.bytes && revision_is_valid(row.value.bytes, row.value.length))
        findings_add(reader->findings, FINDING_OLD_ROW, &row,
            "%s has the value %.*s, PRMAIN does not; the next start of prservd takes it over",
            (const char *)sqlite3_column_text(result, 4), (int)row.value.length, row.value.bytes);
}

/* Finds the rows of an old table that PRMAIN lacks: those that the next start of a server takes
 * over. */
static void verify_sqlite_check_old_table(
    struct sqlite_reader *reader, const char *table, bool has_main)
{
    char sql[1024];

    if (!verify_schema_has_table(reader, table))
        return;
    (void)snprintf(sql, sizeof sql,
        "SELECT version, pkgarch, checksum, " SQLITE_OLD_VALUE ", '%s' FROM %s AS old "
        "WHERE " SQLITE_OLD_HAS_KEY "%s",
        table, table, has_main ? " AND " SQLITE_OLD_NOT_IN_MAIN : "");
    sqlite_reader_each(reader, sql, verify_sqlite_on_old_row);
}

static void verify_sqlite_check_old_tables(struct sqlite_reader *reader, bool has_main)
{
    reader->findings->is_checked[FINDING_OLD_ROW] = true;
    verify_sqlite_check_old_table(reader, "PRMAIN_nohist", has_main);
    verify_sqlite_check_old_table(reader, "PRMAIN_hist", has_main);
}

int verify_sqlite(struct findings *findings, const char *file)
{
    struct mark_record record = {.time_s = 0};
    const enum mark_file_state state = verify_mark_read_file(file, &record);
    struct sqlite_reader reader;

    if (sqlite_reader_open(&reader, file, findings)) {
        bool has_main;

        progress_begin(&reader.progress, "checked");
        verify_sqlite_check_integrity(&reader);
        has_main = verify_schema(&reader);
        if (has_main)
            verify_sqlite_check_rows(&reader);
        verify_sqlite_check_old_tables(&reader, has_main);
        verify_mark_file(&reader, state, &record);
        progress_clear(&reader.progress);
    } else {
        reader.is_unreadable = true;
    }
    sqlite_reader_close(&reader);
    return reader.is_unreadable ? CLI_USAGE : CLI_OK;
}

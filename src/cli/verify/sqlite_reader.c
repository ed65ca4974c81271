/* SPDX-License-Identifier: MIT */
#include "cli/verify/sqlite_reader.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOCK_WAIT_MS 10000

void sqlite_reader_fail(struct sqlite_reader *reader, int code)
{
    const char *reason = reader->database ? sqlite3_errmsg(reader->database) : sqlite3_errstr(code);

    if ((code & 0xff) == SQLITE_CORRUPT || code == SQLITE_IOERR_SHORT_READ) {
        findings_add(reader->findings, FINDING_DAMAGE, NULL, "reading fails: %s", reason);
        return;
    }
    if ((code & 0xff) == SQLITE_ERROR) {
        findings_add(reader->findings, FINDING_SCHEMA, NULL, "%s", reason);
        return;
    }
    progress_clear(&reader->progress);
    reader->is_unreadable = true;
    if ((code & 0xff) == SQLITE_NOTADB)
        (void)fprintf(stderr, "prserv verify: %s is not an SQLite database\n", reader->file);
    else
        (void)fprintf(stderr, "prserv verify: %s can't be read: %s\n", reader->file, reason);
}

bool sqlite_reader_open(struct sqlite_reader *reader, const char *file, struct findings *findings)
{
    struct stat status;
    int code;

    *reader = (struct sqlite_reader){.findings = findings, .file = file};
    if (stat(file, &status) != 0) {
        (void)fprintf(stderr, "prserv verify: %s can't be read: %s\n", file, strerror(errno));
        return false;
    }
    code = sqlite3_open_v2(
        file, &reader->database, SQLITE_OPEN_READONLY | SQLITE_OPEN_EXRESCODE, NULL);
    if (code == SQLITE_OK) {
        (void)sqlite3_busy_timeout(reader->database, LOCK_WAIT_MS);
        code = sqlite3_exec(reader->database,
            "PRAGMA trusted_schema = OFF; PRAGMA cache_size = -16384; BEGIN;"
            "SELECT count(*) FROM sqlite_master",
            NULL, NULL, NULL);
    }
    if (code != SQLITE_OK)
        sqlite_reader_fail(reader, code);
    return !reader->is_unreadable;
}

void sqlite_reader_close(struct sqlite_reader *reader)
{
    (void)sqlite3_close(reader->database);
}

void sqlite_reader_each(struct sqlite_reader *reader, const char *sql, sqlite_reader_fn fn)
{
    sqlite3_stmt *statement = NULL;
    int code;

    if (reader->is_unreadable)
        return;
    code = sqlite3_prepare_v2(reader->database, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        while ((code = sqlite3_step(statement)) == SQLITE_ROW)
            fn(reader, statement);
    }
    if (code != SQLITE_DONE)
        sqlite_reader_fail(reader, code);
    (void)sqlite3_finalize(statement);
}

static void sqlite_reader_on_answer(struct sqlite_reader *reader, sqlite3_stmt *result)
{
    reader->answer = sqlite3_column_int64(result, 0);
}

int64_t sqlite_reader_ask(struct sqlite_reader *reader, const char *sql)
{
    reader->answer = 0;
    sqlite_reader_each(reader, sql, sqlite_reader_on_answer);
    return reader->answer;
}

struct text sqlite_reader_text(sqlite3_stmt *result, int column)
{
    struct text text = {.bytes = NULL};

    if (sqlite3_column_type(result, column) != SQLITE_TEXT)
        return text;
    text.bytes = (const char *)sqlite3_column_text(result, column);
    text.length = (size_t)sqlite3_column_bytes(result, column);
    return text;
}

struct row sqlite_reader_row(sqlite3_stmt *result)
{
    return (struct row){
        .version = sqlite_reader_text(result, 0),
        .pkgarch = sqlite_reader_text(result, 1),
        .checksum = sqlite_reader_text(result, 2),
        .value = sqlite_reader_text(result, 3),
    };
}

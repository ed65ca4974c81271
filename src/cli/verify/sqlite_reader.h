/* SPDX-License-Identifier: MIT */
/* Reading an SQLite file that may be damaged: damage is a finding, and the next query may still
 * work. Only verify_sqlite.c and verify_schema.c include this. */
#ifndef PRSERV_SQLITE_READER_H
#define PRSERV_SQLITE_READER_H

#include "cli/progress.h"
#include "cli/verify/findings.h"
#include "store/mark.h"

#include <sqlite3.h>

struct sqlite_reader {
    struct findings *findings;
    const char *file; /* borrowed */
    sqlite3 *database;
    struct progress progress;
    struct mark mark;   /* of the database; verify_mark.c reads it */
    int64_t answer;     /* of sqlite_reader_ask */
    bool is_unreadable; /* a failure was reported; queries do nothing any more */
};

typedef void (*sqlite_reader_fn)(struct sqlite_reader *reader, sqlite3_stmt *result);

/* Opens the file and begins a transaction, so that all queries see one state. Returns false if that
 * was reported to fail; sqlite_reader_close has to follow in any case. */
bool sqlite_reader_open(struct sqlite_reader *reader, const char *file, struct findings *findings);
void sqlite_reader_close(struct sqlite_reader *reader);

/* Notes that SQLite has failed: damage is a finding, and so is a table without the columns that a
 * query names. Anything else ends the verification. */
void sqlite_reader_fail(struct sqlite_reader *reader, int code);

/* Calls fn for each result of a query. */
void sqlite_reader_each(struct sqlite_reader *reader, const char *sql, sqlite_reader_fn fn);

/* Returns the integer that a query returns, or 0. */
int64_t sqlite_reader_ask(struct sqlite_reader *reader, const char *sql);

/* Returns a text of a result, borrowed until the next one; bytes NULL if the column is not a text.
 */
struct text sqlite_reader_text(sqlite3_stmt *result, int column);

/* Returns the row in the first four columns of a result, borrowed likewise. */
struct row sqlite_reader_row(sqlite3_stmt *result);

#endif

/* SPDX-License-Identifier: MIT */
/* What the statements of the SQLite backend share: preparing, binding, and reading columns. */
#ifndef PRSERVD_SQLITE_QUERY_H
#define PRSERVD_SQLITE_QUERY_H

#include "base/buffer.h"
#include "store/sqlite/sqlite.h"

/* Appends a query for all rows that meet the condition, without duplicates. */
void sqlite_query_append_all(
    struct buffer *sql, const struct sqlite_store *store, const char *condition);

/* Prepares a statement in place of the last one. Frees sql. */
ERROR_MUST_CHECK int sqlite_query_prepare(struct sqlite_store *store, enum sqlite_statement which,
    struct buffer *sql, struct error *error);

/* Binds the n texts to the parameters ?1, ?2, … of a statement. Returns SQLite's code. */
int sqlite_query_bind(sqlite3_stmt *statement, const struct text *texts, int n);

/* Returns a column as a text, borrowed until the next step; "" for NULL. */
struct text sqlite_query_column(sqlite3_stmt *statement, int index);

/* Returns the value, in the column behind the keys. Its bytes are NULL if it, or a key, is not a
 * text (but NULL or a blob, left by another program): such a row does not count. To be called
 * before the keys are read, which makes texts of them. */
struct text sqlite_query_value_column(sqlite3_stmt *statement, int index);

/* Returns whether memory ran out while columns were read. Their texts are empty then. */
bool sqlite_query_has_failed(const struct sqlite_store *store);

#endif

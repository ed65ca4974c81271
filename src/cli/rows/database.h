/* SPDX-License-Identifier: MIT */
/* The rows of an SQLite database, read as those of an exported file are. */
#ifndef PRSERV_DATABASE_H
#define PRSERV_DATABASE_H

#include "base/error.h"
#include "cli/rows/rows.h"

#include <stdbool.h>

/* Returns whether a file begins as an SQLite database does. False if it can't be read. */
bool database_is(const char *name);

/* Opens a database read-only, in one snapshot. The line of a row is its number. name is borrowed
 * until the reader is closed. *reader is the caller's (row_reader_close). Fails as store_open
 * does. */
ERROR_MUST_CHECK int database_reader_open(
    struct row_reader **reader, const char *name, struct error *error);

#endif

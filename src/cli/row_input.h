/* SPDX-License-Identifier: MIT */
/* A file of rows, in any form: exported (conf, csv, json) or an SQLite database. */
#ifndef PRSERV_ROW_INPUT_H
#define PRSERV_ROW_INPUT_H

#include "base/error.h"
#include "cli/rows/rows.h"

/* Opens a file of rows; its beginning tells the form. name is borrowed until the reader is closed.
 * *reader is the caller's (row_reader_close). Fails with ERROR_SYSTEM or ERROR_INPUT (the file),
 * ERROR_STORE or ERROR_LOCKED (a database), ERROR_MEMORY. */
ERROR_MUST_CHECK int row_input_open(
    struct row_reader **reader, const char *name, struct error *error);

#endif

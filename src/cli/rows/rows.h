/* SPDX-License-Identifier: MIT */
/* Rows in a file, in one of three formats:
 *
 *     conf   OE-core's: PRAUTO$<version>$<pkgarch>$<checksum> = "<value>"
 *     csv    RFC 4180, with the header version,pkgarch,checksum,value
 *     json   the protocol's answer to export: {"metainfo": {…}, "datainfo": [{…}, …]}
 *
 * Reading and writing go row by row, in memory that depends only on the longest row. */
#ifndef PRSERV_ROWS_H
#define PRSERV_ROWS_H

#include "base/error.h"
#include "base/row.h"
#include "cli/rows/source.h"

#include <stdbool.h>
#include <stdio.h>

/* ---- reading ---- */

enum row_next {
    ROW_READ = 1,
    ROW_END = 0,
    ROW_REFUSED = -1, /* error describes an invalid row; the rows after it can be read */
    ROW_BROKEN = -2,  /* error describes why nothing more can be read */
};

struct row_reader {
    struct source source; /* the file */
    unsigned long line;   /* line on which the row, or the refused text, begins */
    bool is_known;        /* it is of this format even if it has no rows */
    /* conf: lines that were passed over. */
    unsigned long n_packages; /* PRAUTO_<version>_<pkgarch>, which has no checksum */
    unsigned long n_others;   /* other variables and statements */
    /* Reads the next row, borrowed until the next call. Its texts need not be UTF-8, nor its value
     * a revision. Returns an enum row_next. */
    int (*next)(struct row_reader *reader, struct row *row, struct error *error);
    void (*free)(struct row_reader *reader);
};

/* Opens a file as source_open does, and creates the reader for the format that its beginning tells.
 * *reader is the caller's (row_reader_close). Fails also with ERROR_MEMORY. For conf, csv and
 * json; row_input_open reads a database, too. */
ERROR_MUST_CHECK int row_reader_open(
    struct row_reader **reader, const char *name, struct error *error);

void row_reader_close(struct row_reader *reader);

/* Return NULL if out of memory. */
struct row_reader *conf_reader_create(void);
struct row_reader *csv_reader_create(void);
struct row_reader *json_reader_create(void);

/* ---- writing ---- */

struct row_writer {
    FILE *file; /* borrowed; the caller checks it for errors */
    /* Called for each row or line that the format can't hold; set by the caller. */
    void (*left_out)(void *context, struct text what, const char *reason);
    void *context;
    /* Writes the beginning of the file. metainfo is the server's, as JSON text; may be empty. */
    void (*begin)(struct row_writer *writer, struct text metainfo);
    /* Write a row and the end of the file. Fail with ERROR_MEMORY or ERROR_STORE. */
    int (*row)(struct row_writer *writer, const struct row *row, struct error *error);
    int (*end)(struct row_writer *writer, struct error *error);
    void (*free)(struct row_writer *writer);
};

/* Create a writer, which is the caller's (row_writer_free). Return NULL if out of memory, or (conf)
 * if there is no temporary file. packages: also write the greatest value of each package. */
struct row_writer *conf_writer_create(FILE *file, bool lockdown, bool packages);
/* for_spreadsheet: no cell begins a formula, and the header says so; import refuses such a file. */
struct row_writer *csv_writer_create(FILE *file, bool for_spreadsheet);
struct row_writer *json_writer_create(FILE *file);

/* Frees a writer; NULL is allowed. */
void row_writer_free(struct row_writer *writer);

#endif

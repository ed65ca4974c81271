/* Rows of an export in a file, in one of three formats:
 *
 *     conf   OE-core's: PRAUTO$<version>$<pkgarch>$<checksum> = "<value>"
 *     csv    RFC 4180, with the header version,pkgarch,checksum,value
 *     json   the protocol's answer to export: {"metainfo": {…}, "datainfo": [{…}, …]}
 *
 * Both directions go row by row, in memory that depends on the longest row alone. */
#ifndef PRSERV_ROWS_H
#define PRSERV_ROWS_H

#include "base/error.h"
#include "base/text.h"
#include "cli/source.h"
#include "client/field.h"
#include "client/prserv.h"

#include <stdio.h>

/* ---- reading ---- */

enum row_next {
    ROW_READ = 1,
    ROW_END = 0,
    ROW_REFUSED = -1, /* error says what is wrong here; what follows can be read */
    ROW_BROKEN = -2,  /* error says why nothing more can be read */
};

struct row_reader {
    struct source *source; /* borrowed */
    unsigned long line;    /* where the row, or what was refused, begins */
    /* The next row, borrowed until the next call. Its texts may be no UTF-8, its value no
     * revision. Returns an enum row_next. */
    int (*next)(struct row_reader *reader, struct prserv_row *row, struct error *error);
    void (*free)(struct row_reader *reader);
};

/* The reader that fits what the file begins with. *reader is the caller's
 * (row_reader_free); the source stays so too. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int row_reader_new(
    struct row_reader **reader, struct source *source, struct error *error);

/* NULL is allowed. */
void row_reader_free(struct row_reader *reader);

struct row_reader *conf_reader_new(void);
struct row_reader *csv_reader_new(void);
struct row_reader *json_reader_new(void);

/* ---- writing ---- */

struct row_writer {
    FILE *file; /* borrowed; whether writing failed is asked of it at the end */
    /* Called for each row or line that the format can't hold; set by the caller. */
    void (*left_out)(void *context, struct text what, const char *why);
    void *context;
    /* metainfo is the server's, as JSON text; empty if there is none. Called once. */
    void (*begin)(struct row_writer *writer, struct text metainfo);
    /* Both return 0, ERROR_MEMORY or ERROR_STORE. */
    int (*row)(struct row_writer *writer, const struct prserv_row *row, struct error *error);
    int (*end)(struct row_writer *writer, struct error *error);
    void (*free)(struct row_writer *writer);
};

/* The caller's (row_writer_free); NULL: out of memory. packages: write each one's greatest
 * value, too. */
struct row_writer *conf_writer_new(FILE *file, bool lockdown, bool packages);
struct row_writer *csv_writer_new(FILE *file);
struct row_writer *json_writer_new(FILE *file);

/* NULL is allowed. */
void row_writer_free(struct row_writer *writer);

#endif

/* SPDX-License-Identifier: MIT */
/* Checks of rows: those of PostgreSQL or of a server, and the parts that the checks of a file share
 * with them. */
#ifndef PRSERV_VERIFY_ROWS_H
#define PRSERV_VERIFY_ROWS_H

#include "cli/cli.h"
#include "cli/verify/findings.h"

/* Checks the rows of a database (a URI or a connection string of libpq), or, if uri is NULL, those
 * that cli's server exports. Reports failures on standard error and returns an enum cli_status,
 * where CLI_FAILED is not used. */
int verify_rows(const struct cli *cli, struct findings *findings, const char *uri);

/* Adds a finding if the value of a row is not a revision. */
void verify_rows_check_value(struct findings *findings, const struct row *row);

/* Adds the finding that a value of a package belongs to the row's checksum and to another one, and
 * that n_rows rows have it; but not for a value that is not a revision. */
void verify_rows_add_shared(
    struct findings *findings, const struct row *row, struct text other_checksum, uint64_t n_rows);

#endif

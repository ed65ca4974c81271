/* SPDX-License-Identifier: MIT */
/* Loading the rows of a server or a file into a row set. Functions report failures on standard
 * error and return an enum cli_status. */
#ifndef PRSERV_ROW_LOAD_H
#define PRSERV_ROW_LOAD_H

#include "cli/cli.h"
#include "cli/rows/row_set.h"
#include "client/prserv.h"

/* Loads the server's rows of the filter's version, pkgarch and checksum, or all rows (NULL).
 * history is that of prserv_export. */
int row_load_server(
    struct row_set *set, int origin, struct prserv *server, const struct row *filter, bool history);

/* Loads the rows of a file and reports each invalid row. Returns CLI_USAGE if the file can't be
 * opened or a row is invalid. */
int row_load_file(struct row_set *set, int origin, const char *name);

#endif

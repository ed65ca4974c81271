/* Bringing the rows of a server or of a file to the shelf. Failures are said on standard
 * error; functions return an enum cli_status. */
#ifndef PRSERV_SIDE_H
#define PRSERV_SIDE_H

#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/shelf.h"

/* The server's rows that fit the filter: those of a version and pkgarch, or all (NULL).
 * history as in prserv_export. */
int side_add_server(struct shelf *shelf, int side, struct prserv *server,
    const struct prserv_row *filter, bool history);

/* The rows of a file; everything that is refused in it is named. CLI_USAGE if it can't be
 * opened or understood. */
int side_add_file(struct shelf *shelf, int side, const char *name);

#endif

/* SPDX-License-Identifier: MIT */
/* Floors for all packages of a server. */
#ifndef PRSERV_FLOOR_ALL_H
#define PRSERV_FLOOR_ALL_H

#include "cli/cli.h"
#include "client/prserv.h"

/* Raises every package of the server by margin, a number above 0, on the last number of its
 * greatest revision. Reports failures on standard error and returns an enum cli_status. */
int floor_all(const struct cli *cli, struct prserv *server, const char *margin);

/* Raises the packages whose greatest revision in an audit log is above that of the server to that
 * revision, on its last number plus margin (NULL: nothing). */
int floor_from_audit(
    const struct cli *cli, struct prserv *server, const char *audit_file, const char *margin);

#endif

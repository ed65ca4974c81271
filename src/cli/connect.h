/* SPDX-License-Identifier: MIT */
/* The server that a command asks. */
#ifndef PRSERV_CONNECT_H
#define PRSERV_CONNECT_H

#include "cli/cli.h"
#include "client/prserv.h"

/* Connects to cli->server and returns CLI_OK, or reports the failure and returns its status. */
int cli_connect(const struct cli *cli, struct prserv **server);

/* Reports an error of libprserv on standard error. Returns the exit status that fits it. */
int cli_report_error(const struct prserv_error *error);

#endif

/* SPDX-License-Identifier: MIT */
/* Checks of an SQLite file, through SQLite and read-only. Servers may use the file meanwhile. */
#ifndef PRSERV_VERIFY_SQLITE_H
#define PRSERV_VERIFY_SQLITE_H

#include "cli/cli.h"
#include "cli/verify/findings.h"

/* Checks the file. Reports on standard error why it can't be read, and returns CLI_USAGE then;
 * otherwise CLI_OK. */
int verify_sqlite(struct findings *findings, const char *file);

#endif

/* SPDX-License-Identifier: MIT */
/* The mark of a database (store/mark.h): whether it went back to an older state. */
#ifndef PRSERV_VERIFY_MARK_H
#define PRSERV_VERIFY_MARK_H

#include "cli/cli.h"
#include "cli/verify/findings.h"
#include "cli/verify/sqlite_reader.h"
#include "store/mark_file.h"

/* Reads FILE-mark. To be called before the database is opened: servers write FILE-mark after the
 * database. */
enum mark_file_state verify_mark_read_file(const char *file, struct mark_record *record);

/* Compares the mark in an SQLite file with what FILE-mark holds. */
void verify_mark_file(
    struct sqlite_reader *reader, enum mark_file_state state, const struct mark_record *record);

/* Asks cli's server whether its database is rolled back. Reports failures on standard error and
 * returns an enum cli_status, where CLI_FAILED is not used. */
int verify_mark_server(const struct cli *cli, struct findings *findings);

#endif

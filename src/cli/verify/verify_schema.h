/* SPDX-License-Identifier: MIT */
/* The shape of the table PRMAIN in an SQLite file, by the rule that servers have (shape.h). */
#ifndef PRSERV_VERIFY_SCHEMA_H
#define PRSERV_VERIFY_SCHEMA_H

#include "cli/verify/sqlite_reader.h"

/* Adds a finding for each difference. Returns whether there is a table PRMAIN with the four
 * columns, so that its rows can be read. */
bool verify_schema(struct sqlite_reader *reader);

/* Returns whether there is a table, or a view, of this name. */
bool verify_schema_has_table(struct sqlite_reader *reader, const char *name);

#endif

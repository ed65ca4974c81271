/* SPDX-License-Identifier: MIT */
/* Shared by the commands about the audit log: reads their options and the server's answers, and
 * prepares texts of a server for people. */
#ifndef PRSERV_AUDIT_H
#define PRSERV_AUDIT_H

#include "cli/cli.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Reads --since: "2026-11-29", "2026-11-29T18:30" (local time; with Z at its end UTC), seconds
 * since 1970, or an age such as 30min, 2h, 3d, 1w. NULL: 0. Returns CLI_OK, or CLI_USAGE after
 * reporting it. */
int audit_read_since(const struct cli *cli, const char *text, long long *since);

/* Reads --limit; NULL: 0. 0 as text means all: -1. */
int audit_read_limit(const struct cli *cli, const char *text, long long *limit);

#define AUDIT_TEXT_BYTES 512

/* Copies a member that is a string: printable on one line, cut, "" if it is missing. Returns text.
 */
const char *audit_text(const json_t *object, const char *name, char text[AUDIT_TEXT_BYTES]);

/* The same for a time, as local time; "-" if it is missing. */
const char *audit_time(const json_t *object, const char *name, char text[AUDIT_TEXT_BYTES]);

/* The annotations: "build-name=nightly-7 machine=qemu"; "" without them. */
const char *audit_annotations(const json_t *record, char text[AUDIT_TEXT_BYTES]);

/* Cuts a checksum to the length that people compare. Returns text. */
const char *audit_short(char *text);

#endif

/* SPDX-License-Identifier: MIT */
/* An output file that exists completely or not at all. It is written without a name, or under a
 * temporary name beside its own if the file system has no unnamed files, and renamed at the end.
 * Anything but a regular file (/dev/null, a pipe) is written directly. */
#ifndef PRSERV_OUTFILE_H
#define PRSERV_OUTFILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdio.h>

struct outfile {
    FILE *file;      /* open for writing; safe for a terminal if standard output is one */
    char *path;      /* owned; NULL: standard output */
    char *temporary; /* temporary name, owned; NULL: written directly */
    bool nameless;   /* the file does not have its temporary name yet */
};

/* Opens a file; outfile_commit or outfile_discard has to follow. NULL, "-" and the file that
 * standard output goes to mean standard output. Fails with ERROR_MEMORY or ERROR_SYSTEM. */
ERROR_MUST_CHECK int outfile_open(struct outfile *out, const char *name, struct error *error);

/* Puts the file in its place. Discards it on failure: ERROR_SYSTEM. */
ERROR_MUST_CHECK int outfile_commit(struct outfile *out, struct error *error);

/* Describes why writing to the file failed (ferror). Returns ERROR_SYSTEM. */
int outfile_failed(const struct outfile *out, struct error *error);

/* Discards what was written; an older file of that name stays as it is. */
void outfile_discard(struct outfile *out);

#endif

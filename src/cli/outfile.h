/* A file that is there in full or not at all: it is written without a name (where the file
 * system can't, under another one beside its own), and renamed at the end. What is no regular file
 * (/dev/null, a pipe) is written directly. */
#ifndef PRSERV_OUTFILE_H
#define PRSERV_OUTFILE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdio.h>

struct outfile {
    FILE *file;      /* to write to */
    char *path;      /* owned; NULL: standard output */
    char *temporary; /* owned; NULL: written directly */
    bool nameless;   /* the temporary name is not there yet */
};

/* name NULL or "-" is standard output, so is a file that it goes to. outfile_commit or
 * outfile_discard has to follow. Fails with ERROR_MEMORY or ERROR_SYSTEM. */
ERROR_MUST_CHECK int outfile_open(struct outfile *out, const char *name, struct error *error);

/* Puts the file in its place; or discards it, and says why. */
ERROR_MUST_CHECK int outfile_commit(struct outfile *out, struct error *error);

/* Describes why writing to file failed (ferror): ERROR_SYSTEM. */
int outfile_failed(const struct outfile *out, struct error *error);

/* An older file of the name stays as it is. */
void outfile_discard(struct outfile *out);

#endif

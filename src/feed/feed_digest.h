/* SPDX-License-Identifier: MIT */
/* Digests of files, as indexes name them: "sha256:0123…". One thread at a time. */
#ifndef PRSERV_FEED_DIGEST_H
#define PRSERV_FEED_DIGEST_H

#include "base/error.h"

#include <stdbool.h>

#define FEED_DIGEST_BYTES 160 /* the longest name and digest */

/* Writes the digest of a file, of the kind that another digest has ("md5:…"), or sha256 if kind is
 * NULL. Fails with ERROR_SYSTEM if the file can't be read. */
ERROR_MUST_CHECK int feed_digest_file(char digest[FEED_DIGEST_BYTES], int root, const char *name,
    const char *kind, struct error *error);

/* Returns whether two digests are of one kind, so that they can be compared. */
bool feed_digest_is_same_kind(const char *a, const char *b);

#endif

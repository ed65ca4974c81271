/* SPDX-License-Identifier: MIT */
/* Where a package was found. */
#ifndef PRSERV_FEED_PLACE_H
#define PRSERV_FEED_PLACE_H

#include "base/text.h"

/* All texts are borrowed. */
struct feed_place {
    const char *file;     /* path of the index, or of the package's file */
    unsigned long line;   /* in the index, from 1; 0: it has no lines */
    struct text package;  /* the package's file, as the index names it; may be empty */
    struct text digest;   /* of the package's file, "sha256:…"; empty: not known */
    int root;             /* for beneath_open, to read the package's file */
    const char *relative; /* NULL: it is not to be read */
};

/* Returns a text for people, the caller's (free): "feed/Packages:17: m4_1.4.19.ipk", or the path of
 * the file. NULL if memory ran out. */
char *feed_place_describe(const struct feed_place *place);

#endif

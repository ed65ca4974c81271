/* SPDX-License-Identifier: MIT */
/* Finds files with the same package name, version and architecture, and different content: a device
 * that has one of them never gets the other. One thread. */
#ifndef PRSERV_FEED_TWICE_H
#define PRSERV_FEED_TWICE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/map.h"
#include "feed/package.h"
#include "feed/place.h"

#include <sys/queue.h>

struct twice {
    STAILQ_ENTRY(twice) next;
    char *package; /* "m4 1.4.19-r0.3 core2-64", owned, as are the others */
    char *first;   /* the places of the files */
    char *second;
};

struct twice_finder {
    struct map packages; /* the first file of each package */
    STAILQ_HEAD(twice_list, twice) found;
    size_t n_found;
    size_t n_not_compared; /* files that can't be read, or whose digests are of different kinds */
    struct buffer key;
};

void twice_init(struct twice_finder *finder);
void twice_free(struct twice_finder *finder);

/* Compares a package with an earlier one of the same name, version and architecture, or keeps it as
 * the first one. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int twice_add(struct twice_finder *finder, const struct feed_package *package,
    const struct feed_place *place, struct error *error);

#endif

/* SPDX-License-Identifier: MIT */
/* Searches for packages, as store_search carries them out (store.h). */
#ifndef PRSERVD_STORE_SEARCH_H
#define PRSERVD_STORE_SEARCH_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* A package, as a search finds it. */
struct store_package {
    struct text version;
    struct text pkgarch;
    struct text greatest; /* the greatest revision; bytes NULL: none, or not known */
    uint64_t n_contents;  /* checksums that have a revision; floors do not count */
    bool is_complete;     /* all rows were looked at; if not, n_contents is a lower limit */
};

/* Packages in the order of version and pkgarch, as bytes. */
struct store_search {
    struct text prefix; /* of version */
    bool is_one;        /* only this package, version and pkgarch; the prefix does not count */
    bool has_after;     /* only packages behind this one */
    struct text version;
    struct text pkgarch;
    unsigned limit; /* the most packages */
};

/* Returns 0 to go on, anything else to stop. */
typedef int (*store_package_fn)(void *context, const struct store_package *package);

#endif

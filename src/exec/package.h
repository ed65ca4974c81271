/* SPDX-License-Identifier: MIT */
/* The facts about one package that a decision needs, kept in memory.
 *
 * The greatest value, each checksum's smallest and largest value, and the set of all values, found
 * without walking the rows. A package is filled row by row; the caller leaves out rows that hold no
 * revision. One thread at a time. */
#ifndef PRSERVD_PACKAGE_H
#define PRSERVD_PACKAGE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

struct package;

/* Returns an empty package; NULL when memory ran out. */
struct package *package_create(void);
void package_free(struct package *package);

/* Adds a row; value is a valid revision; both texts are copied. After ERROR_MEMORY the package is
 * incomplete: free it. */
ERROR_MUST_CHECK int package_add(struct package *package, struct text checksum, struct text value);

/* Returns the greatest value, or NULL if there is none. Borrowed as long as the package lives. */
const char *package_greatest(const struct package *package);

/* Finds the smallest and largest value of a checksum. Returns false, and sets both to NULL, if it
 * has none. Borrowed until the next row is added. */
bool package_find(const struct package *package, struct text checksum, const char **smallest,
    const char **largest);

/* Returns whether a checksum holds this value, or a floor (revision/floor.h) holds it or a greater
 * one. A floor stands for lost rows, which may have had any value up to its own: so such a value is
 * not given to other content. Content that holds a value keeps it, whatever the floors are. */
bool package_holds(const struct package *package, const char *value);

/* Returns whether a checksum, a floor's included, holds this value. */
bool package_has(const struct package *package, struct text value);

/* Returns whether the greatest value is a floor's. */
bool package_is_raised(const struct package *package);

/* Returns about how much memory the package takes. */
size_t package_bytes(const struct package *package);

#endif

/* SPDX-License-Identifier: MIT */
/* Floors: rows that raise a package's greatest revision and are not contents.
 *
 * After a loss, an administrator stores a floor above every revision that may have been given out
 * and is not in the database any more. A floor is a row like any other, but for its checksum. */
#ifndef PRSERVD_FLOOR_H
#define PRSERVD_FLOOR_H

#include "base/text.h"

#include <stdlib.h>

#define FLOOR_PREFIX "floor:"

/* Returns whether a row with this checksum is a floor. */
static inline bool floor_is_checksum(struct text checksum)
{
    return text_starts_with(checksum, FLOOR_PREFIX);
}

/* Returns the checksum of a floor with this value. It is the caller's (free), or NULL if memory ran
 * out. */
static inline char *floor_checksum(const char *value)
{
    char *checksum = malloc(sizeof FLOOR_PREFIX + strlen(value));

    if (checksum)
        (void)stpcpy(stpcpy(checksum, FLOOR_PREFIX), value);
    return checksum;
}

#endif

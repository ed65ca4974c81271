/* SPDX-License-Identifier: MIT */
/* Splits what packages say of themselves: versions, releases, the names of recipes.
 *
 * The results are parts of the texts that are passed in. Pure functions: any thread. */
#ifndef PRSERV_FEED_SPLIT_H
#define PRSERV_FEED_SPLIT_H

#include "base/text.h"

#include <stdbool.h>

/* Returns the length of the dotted numbers at the beginning: of ".3.12+x" it is 5. */
size_t split_count_dotted(struct text text);

/* Splits PKGR of a package whose PR is not known: PR ends before the last run of dotted numbers.
 * Returns false if there is none. *is_certain is set to false if text follows the numbers. The
 * revision need not be valid. */
bool split_release(struct text release, struct text *pr, struct text *revision, bool *is_certain);

/* Splits a version that may hold a number of AUTOINC, as in 1.0+git3+0123456789: the text before
 * the number, the number, and the text behind the plus. Returns false if it can't hold one. */
bool split_autoinc(
    struct text version, struct text *before, struct text *number, struct text *source);

/* Returns the recipe's name in the field Source: m4 of "m4_1.4.19.bb", or of "m4 (1.4)". */
struct text split_source_recipe(struct text source);

#endif

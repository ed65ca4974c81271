/* SPDX-License-Identifier: MIT */
/* Revisions: their syntax, their order, and how the next one is made.
 *
 * A revision is one or more decimal numbers joined by dots: "0", "7", "1.3". The numbers have any
 * size, and are never converted to machine integers, so nothing overflows. Pure functions: no I/O,
 * any thread. */
#ifndef PRSERVD_REVISION_H
#define PRSERVD_REVISION_H

#include "base/buffer.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

/* Returns whether a text is a revision. "", "1.", ".1", "1..2", "1.a", "-1", " 1" and "007" are
 * not. */
bool revision_is_valid(const char *text, size_t length);

/* Compares two valid revisions number by number. Returns less than, equal to or greater than zero,
 * as strcmp does. A prefix is smaller: 1 < 1.0 < 1.3 < 1.20 < 2 < 10. */
int revision_compare(const char *a, const char *b);

/* Returns the revision whose last number is greater by one: "9" → "10", "1.9" → "1.10". The result
 * is the caller's (free), or NULL if memory ran out. */
char *revision_increase(const char *revision);

/* Returns the revision whose last number is greater by number, which is a revision without dots:
 * "1.9" and "5" → "1.14". The result is the caller's (free), or NULL if memory ran out. */
char *revision_add(const char *revision, const char *number);

/* Returns the first revision that a server below gives when its upstream has this one: "4" → "4.0".
 * The result is the caller's (free), or NULL if memory ran out. */
char *revision_child(const char *revision);

/* Appends the order key of a valid revision, for the index of a database. Comparing two keys with
 * memcmp, where a key is greater than each of its prefixes, gives the same as revision_compare.
 * Different revisions have different keys, about as long as the revision and never empty. */
void revision_order_key(struct buffer *key, struct text revision);

#endif

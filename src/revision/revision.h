/* The order of revisions and how they grow.
 *
 * A revision is one or more decimal numbers joined by dots: "0", "7", "1.3".
 * Numbers have any size; they are never turned into machine integers, so that
 * nothing overflows. Pure functions: any thread, no I/O. */
#ifndef PRSERVD_REVISION_H
#define PRSERVD_REVISION_H

#include <stdbool.h>
#include <stddef.h>

/* Is this text a revision? "", "1.", ".1", "1..2", "1.a", "-1", " 1", "007" are none. */
bool revision_is_valid(const char *text, size_t length);

/* Below, at or above zero as a is smaller than, equal to or greater than b, both
 * valid. Number by number; a prefix is smaller: 1 < 1.0 < 1.3 < 1.20 < 2 < 10. */
int revision_compare(const char *a, const char *b);

/* One more in the last number: "9" → "10", "1.9" → "1.10". The result belongs to
 * the caller (free); NULL when memory ran out. */
char *revision_increase(const char *revision);

/* The first revision below this one in a chain of servers: "4" → "4.0". The
 * result belongs to the caller (free); NULL when memory ran out. */
char *revision_child(const char *revision);

#endif

/* The order of revisions as an order of bytes, for indexes that know no other.
 *
 * memcmp of two keys, the shorter smaller where one begins the other, is
 * revision_compare of their revisions; different revisions have different keys. Pure
 * functions: any thread, no I/O. */
#ifndef PRSERVD_ORDER_KEY_H
#define PRSERVD_ORDER_KEY_H

#include "base/buffer.h"
#include "base/text.h"

/* Appends the key of a valid revision: about as long as the revision, and never empty. */
void revision_order_key(struct buffer *key, struct text revision);

#endif

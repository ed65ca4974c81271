/* SPDX-License-Identifier: MIT */
/* Indexes of any format, which may be compressed. */
#ifndef PRSERV_FEED_INDEX_H
#define PRSERV_FEED_INDEX_H

#include <stdbool.h>

/* Returns whether two indexes have the same content without compression, and both can be read. The
 * names are below root, as for beneath_open. */
bool index_is_same(int root, const char *first, const char *second);

#endif

/* SPDX-License-Identifier: MIT */
/* Finds the indexes, packages and data of builds in the folders that the user names. */
#ifndef PRSERV_FEED_SEARCH_H
#define PRSERV_FEED_SEARCH_H

#include "feed/reader.h"

/* Reads a feed: a folder, an index or the file of a package. In a folder it reads all indexes, and
 * the packages that no index names. It does not follow symbolic links out of the folder. *root is a
 * descriptor of the folder, or -1; the caller closes it after the last feed was read. Fails with
 * ERROR_INPUT if there is no such file, and otherwise as the functions of the reader do. */
ERROR_MUST_CHECK int feed_search(struct feed_reader *reader, const char *name, int *root);

#endif

/* SPDX-License-Identifier: MIT */
/* Finds what there is to read below the folders and files that the user names. */
#ifndef PRSERV_FEED_SEARCH_H
#define PRSERV_FEED_SEARCH_H

#include "feed/reader.h"

/* Reads a feed: a folder, an index or the file of a package. Of a folder it reads every index. The
 * files of packages are read in folders that no index covers. Symbolic links that lead out of the
 * folder are not read. *root is a descriptor that the caller has to close after the last use of
 * reader->feed; -1: none. Fails as the readers do, and with ERROR_INPUT if there is no such file.
 */
ERROR_MUST_CHECK int feed_search(struct feed_reader *reader, const char *name, int *root);

#endif

/* SPDX-License-Identifier: MIT */
/* Opening files of a feed, which may be somebody else's: a symbolic link must not lead out of the
 * folder that the user has named. Any thread. */
#ifndef PRSERV_FEED_BENEATH_H
#define PRSERV_FEED_BENEATH_H

/* Opens a file or folder for reading. root is a descriptor of the folder that it must lie in, or
 * AT_FDCWD for a name that the user gave, which may lead anywhere. Returns a descriptor, or -1 with
 * errno; ELOOP, EXDEV: the name leads out of the folder. Kernels before 5.6 allow no symbolic link
 * at the end of the name. */
int beneath_open(int root, const char *name);

#endif

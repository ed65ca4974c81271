/* SPDX-License-Identifier: MIT */
/* Whether a file is on a file system that several machines may share. */
#ifndef PRSERVD_NETWORK_FS_H
#define PRSERVD_NETWORK_FS_H

#include <stdbool.h>

/* Returns the name of the network file system that a file or folder is on; NULL if it is on none,
 * or can't be asked. *is_certain: not FUSE, which may also be local. Never opens the file. */
const char *network_fs_name(const char *path, bool *is_certain);

#endif

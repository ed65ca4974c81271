/* SPDX-License-Identifier: MIT */
/* The disk as SQLite sees it. */
#ifndef PRSERVD_DISK_VFS_H
#define PRSERVD_DISK_VFS_H

struct disk;

/* Makes the disk SQLite's default VFS, for the rest of the process. */
void disk_vfs_register(struct disk *disk);

#endif

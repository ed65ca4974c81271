/* SPDX-License-Identifier: MIT */
/* The VFS with which databases are opened: SQLite's usual one, whose syncs are noted, and whose
 * writes to a WAL are joined. */
#ifndef PRSERVD_SQLITE_VFS_H
#define PRSERVD_SQLITE_VFS_H

/* Returns the name of the VFS; NULL, for SQLite's own, if it can't be registered. The usual VFS is
 * the one that is SQLite's default at the first call. From any thread. */
const char *sqlite_vfs_name(void);

#endif

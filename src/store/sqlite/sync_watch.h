/* SPDX-License-Identifier: MIT */
/* Notes which files are being synced: a sync on a disk that does not respond takes any time. */
#ifndef PRSERVD_SQLITE_SYNC_WATCH_H
#define PRSERVD_SQLITE_SYNC_WATCH_H

#include <stdint.h>

/* Returns the name of the VFS with which databases are opened, so that their syncs are noted; NULL,
 * for SQLite's own, if it can't be registered. From any thread. */
const char *sqlite_sync_watch_vfs(void);

/* Calls back for each file that is being synced, with the time when that began (clock_ms). From any
 * thread. */
void sqlite_sync_watch_each(
    void (*fn)(void *context, const char *file, uint64_t since_ms), void *context);

#endif

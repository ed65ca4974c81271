/* SPDX-License-Identifier: MIT */
/* Notes which files are being synced: a sync on a disk that does not respond takes any time. From
 * any thread. */
#ifndef PRSERVD_SQLITE_SYNC_WATCH_H
#define PRSERVD_SQLITE_SYNC_WATCH_H

#include <stdint.h>

struct sync_under_way;

/* Notes the beginning of a sync. name: of the file; NULL: a temporary file. Returns NULL if there
 * is no place. */
struct sync_under_way *sync_watch_begin(const char *name);

/* Notes its end. NULL is allowed. */
void sync_watch_end(struct sync_under_way *sync);

/* Calls back for each file that is being synced, with the time when that began (clock_ms). */
void sqlite_sync_watch_each(
    void (*fn)(void *context, const char *file, uint64_t since_ms), void *context);

#endif

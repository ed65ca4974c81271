/* SPDX-License-Identifier: MIT */
/* A VFS that is the usual one, except for the method xSync of its files. A file of the usual VFS is
 * followed by a struct watched_file, in the memory that SQLite allocates for it. The methods are a
 * copy, in which xSync is replaced; all others work on the file as they did. */
#include "store/sqlite/sync_watch.h"

#include "base/clock.h"

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MAX_SYNCS 16 /* at the same time; the writer and the checkpointer need two */

struct watched_file {
    sqlite3_io_methods methods;
    const sqlite3_io_methods *usual;
    const char *name; /* SQLite's, as long as the file is open; NULL: a temporary file */
};

struct sync_under_way {
    uint64_t since_ms; /* 0: the place is free */
    char file[PATH_MAX];
};

/* SQLite's list of VFSs belongs to the process, and so does this. */
static struct sync_watch {
    pthread_once_t once;
    sqlite3_vfs vfs;
    sqlite3_vfs *usual;
    bool is_registered;
    int trailer_at;        /* offset of the struct watched_file */
    pthread_mutex_t mutex; /* guards syncs */
    struct sync_under_way syncs[MAX_SYNCS];
} sync_watch = {.once = PTHREAD_ONCE_INIT, .mutex = PTHREAD_MUTEX_INITIALIZER};

static struct watched_file *sync_watch_trailer(sqlite3_file *file)
{
    return (struct watched_file *)(void *)((char *)file + sync_watch.trailer_at);
}

/* Notes the beginning of a sync. Returns NULL if there is no place. */
static struct sync_under_way *sync_watch_begin(const char *name)
{
    struct sync_under_way *sync = NULL;

    (void)pthread_mutex_lock(&sync_watch.mutex);
    for (int i = 0; i < MAX_SYNCS && !sync; i++) {
        if (sync_watch.syncs[i].since_ms == 0)
            sync = &sync_watch.syncs[i];
    }
    if (sync) {
        sync->since_ms = clock_ms();
        (void)snprintf(sync->file, sizeof sync->file, "%s", name ? name : "a temporary file");
    }
    (void)pthread_mutex_unlock(&sync_watch.mutex);
    return sync;
}

static void sync_watch_end(struct sync_under_way *sync)
{
    if (!sync)
        return;
    (void)pthread_mutex_lock(&sync_watch.mutex);
    sync->since_ms = 0;
    (void)pthread_mutex_unlock(&sync_watch.mutex);
}

/* ---- the VFS ---- */

static int sync_watch_sync(sqlite3_file *file, int flags)
{
    const struct watched_file *watched = sync_watch_trailer(file);
    struct sync_under_way *sync = sync_watch_begin(watched->name);
    int result = watched->usual->xSync(file, flags);

    sync_watch_end(sync);
    return result;
}

static int sync_watch_open(
    sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    struct watched_file *watched = sync_watch_trailer(file);
    int result = sync_watch.usual->xOpen(sync_watch.usual, name, file, flags, out_flags);

    (void)vfs;
    if (result != SQLITE_OK || !file->pMethods)
        return result;
    *watched =
        (struct watched_file){.methods = *file->pMethods, .usual = file->pMethods, .name = name};
    watched->methods.xSync = sync_watch_sync;
    file->pMethods = &watched->methods;
    return SQLITE_OK;
}

static void sync_watch_register(void)
{
    const size_t alignment = _Alignof(struct watched_file);

    if (sqlite3_initialize() != SQLITE_OK)
        return;
    sync_watch.usual = sqlite3_vfs_find(NULL);
    if (!sync_watch.usual)
        return;
    sync_watch.trailer_at =
        (int)(((size_t)sync_watch.usual->szOsFile + alignment - 1) / alignment * alignment);
    sync_watch.vfs = *sync_watch.usual;
    sync_watch.vfs.pNext = NULL;
    sync_watch.vfs.zName = "prservd";
    sync_watch.vfs.szOsFile = sync_watch.trailer_at + (int)sizeof(struct watched_file);
    sync_watch.vfs.xOpen = sync_watch_open;
    sync_watch.is_registered = sqlite3_vfs_register(&sync_watch.vfs, 0) == SQLITE_OK;
}

const char *sqlite_sync_watch_vfs(void)
{
    (void)pthread_once(&sync_watch.once, sync_watch_register);
    return sync_watch.is_registered ? sync_watch.vfs.zName : NULL;
}

void sqlite_sync_watch_each(
    void (*fn)(void *context, const char *file, uint64_t since_ms), void *context)
{
    (void)pthread_mutex_lock(&sync_watch.mutex);
    for (int i = 0; i < MAX_SYNCS; i++) {
        if (sync_watch.syncs[i].since_ms != 0)
            fn(context, sync_watch.syncs[i].file, sync_watch.syncs[i].since_ms);
    }
    (void)pthread_mutex_unlock(&sync_watch.mutex);
}

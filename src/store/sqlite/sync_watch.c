/* SPDX-License-Identifier: MIT */
/* The list belongs to the process, as SQLite's VFS does. */
#include "store/sqlite/sync_watch.h"

#include "base/clock.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>

#define MAX_SYNCS 16 /* at the same time; the writer and the checkpointer need two */

struct sync_under_way {
    uint64_t since_ms; /* 0: the place is free */
    char file[PATH_MAX];
};

static struct sync_watch {
    pthread_mutex_t mutex;
    struct sync_under_way syncs[MAX_SYNCS];
} sync_watch = {.mutex = PTHREAD_MUTEX_INITIALIZER};

struct sync_under_way *sync_watch_begin(const char *name)
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

void sync_watch_end(struct sync_under_way *sync)
{
    if (!sync)
        return;
    (void)pthread_mutex_lock(&sync_watch.mutex);
    sync->since_ms = 0;
    (void)pthread_mutex_unlock(&sync_watch.mutex);
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

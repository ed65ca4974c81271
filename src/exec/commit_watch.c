/* SPDX-License-Identifier: MIT */
#include "exec/commit_watch.h"

#include "base/clock.h"
#include "store/store.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#define AGAIN_MS 60000
#define CLIENTS_S 30 /* the time that BitBake's client waits for an answer */

void commit_watch_init(struct commit_watch *watch, bool is_disk, struct log *log)
{
    watch->log = log;
    watch->what = is_disk ? "the disk" : "the database";
    atomic_store(&watch->since_ms, 0);
    watch->reported_ms = watch->reported_since = 0;
}

void commit_watch_begin(struct commit_watch *watch)
{
    atomic_store(&watch->since_ms, clock_ms());
}

void commit_watch_end(struct commit_watch *watch, const char *error)
{
    const uint64_t took_ms = clock_ms() - atomic_exchange(&watch->since_ms, 0);

    if (took_ms < COMMIT_WATCH_MS)
        return;
    if (error)
        log_write(watch->log, LOG_WARNING, "The commit that waited for %s failed, after %llu s: %s",
            watch->what, (unsigned long long)took_ms / 1000, error);
    else
        log_write(watch->log, LOG_WARNING, "The commit that waited for %s is done, after %llu s",
            watch->what, (unsigned long long)took_ms / 1000);
}

struct oldest_sync {
    uint64_t since_ms;
    char file[PATH_MAX];
};

static void commit_watch_take_sync(void *context, const char *file, uint64_t since_ms)
{
    struct oldest_sync *oldest = context;

    if (oldest->since_ms != 0 && since_ms >= oldest->since_ms)
        return;
    oldest->since_ms = since_ms;
    (void)snprintf(oldest->file, sizeof oldest->file, "%s", file);
}

void commit_watch_check(struct commit_watch *watch)
{
    const uint64_t since_ms = atomic_load(&watch->since_ms);
    const uint64_t now_ms = clock_ms();
    struct oldest_sync oldest = {.since_ms = 0};

    if (since_ms == 0 || now_ms - since_ms < COMMIT_WATCH_MS ||
        (watch->reported_since == since_ms && now_ms - watch->reported_ms < AGAIN_MS))
        return;
    watch->reported_since = since_ms;
    watch->reported_ms = now_ms;
    store_each_sync(commit_watch_take_sync, &oldest);
    log_write(watch->log, LOG_WARNING,
        "A commit has been waiting for %s for %llu s; clients give up after %d s%s%s", watch->what,
        (unsigned long long)(now_ms - since_ms) / 1000, CLIENTS_S,
        oldest.since_ms != 0 ? "; the kernel syncs " : "", oldest.file);
}

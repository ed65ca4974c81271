/* SPDX-License-Identifier: MIT */
/* What the log says of a WAL that grows. */
#include "store/sqlite/sqlite.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define WARN_BYTES 134217728 /* the size to which wal.c cuts the file when it starts again */

static uint64_t sqlite_wal_bytes(const char *file)
{
    char path[PATH_MAX];
    struct stat status;

    return snprintf(path, sizeof path, "%s-wal", file) < (int)sizeof path &&
                   stat(path, &status) == 0
               ? (uint64_t)status.st_size
               : 0;
}

void sqlite_wal_warn(struct sqlite_store *store, const struct sqlite_wal_pages *pages)
{
    const char *file = sqlite3_db_filename(store->database, "main");
    const uint64_t bytes = sqlite_wal_bytes(file);
    char readers[LOCK_HOLDER_BYTES];

    if (pages->moved >= pages->total || bytes <= WARN_BYTES) {
        store->warn_wal_bytes = WARN_BYTES;
        return;
    }
    if (bytes < store->warn_wal_bytes)
        return;
    store->warn_wal_bytes = 2 * bytes;
    sqlite_lock_holder_find_readers(file, readers);
    log_write(store->options.log, LOG_WARNING,
        "The WAL %s-wal has grown to %llu MB, because somebody has been reading from the database "
        "for long: %s",
        file, (unsigned long long)bytes / 1000000,
        readers[0] ? readers : "an export from this server, or a process that can't be seen here");
}

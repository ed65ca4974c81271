/* SPDX-License-Identifier: MIT */
/* The write-ahead log (WAL): commits only append to it. Moving its pages into the database file is
 * put off until there are many: a page that was written often is moved once. The checkpointer does
 * it, on a thread of its own, while the writer goes on:
 *
 *     PASSIVE, again and again   moves the pages it finds; holds up nobody; meanwhile more come
 *     FULL                       moves the rest, which is little, while nobody may write
 *
 * After that the next commit starts the WAL from its beginning, unless somebody still reads from it
 * (an export): then it goes on growing, and the next checkpoint is wanted when it has grown by
 * another quarter of the limit.
 *
 * When the server ends, SQLite moves all pages with the last connection, but not while another
 * program has the file open. So the writer makes a PASSIVE checkpoint before it closes its own: the
 * database file has all rows then, also if somebody copies it without its -wal. */
#include "base/clock.h"
#include "store/sqlite/files.h"
#include "store/sqlite/sqlite.h"

#include <stdio.h>

#define CHECKPOINT_PAGES 24000  /* of 4 KiB: 96 MiB */
#define AGAIN_SHARE 4           /* growth, as a part of that, until the next checkpoint */
#define LIMIT_BYTES "134217728" /* the size to which the file is cut when it starts again */
#define MAX_PASSES 8
#define SHORT_MS 10     /* a pass that took no longer leaves little */
#define FULL_WAIT_MS 20 /* for the lock of writers, and for readers */

/* Called by SQLite after each commit, with the number of pages in the WAL. */
static int sqlite_wal_on_commit(void *context, sqlite3 *database, const char *name, int pages)
{
    struct sqlite_store *store = context;
    const int limit = store->options.checkpoint_pages;

    (void)database;
    (void)name;
    if (pages < limit)
        store->checkpoint_pages = limit;
    store->wants_checkpoint = pages >= store->checkpoint_pages;
    if (store->wants_checkpoint)
        store->checkpoint_pages = pages + limit / AGAIN_SHARE;
    return SQLITE_OK;
}

int sqlite_wal_attach(struct sqlite_store *store, struct error *error)
{
    if (store->options.checkpoint_pages <= 0)
        store->options.checkpoint_pages = CHECKPOINT_PAGES;
    store->checkpoint_pages = store->options.checkpoint_pages;
    /* This replaces SQLite's own hook, which would make a checkpoint. */
    (void)sqlite3_wal_hook(store->database, sqlite_wal_on_commit, store);
    return sqlite_run(store, "PRAGMA journal_size_limit=" LIMIT_BYTES, error);
}

bool sqlite_wal_wants_checkpoint(const struct store *base)
{
    const struct sqlite_store *store = (const struct sqlite_store *)base;

    return store->wants_checkpoint;
}

static int sqlite_wal_move_pages(
    struct sqlite_store *store, int mode, struct sqlite_wal_pages *pages, struct error *error)
{
    int code = sqlite3_wal_checkpoint_v2(store->database, NULL, mode, &pages->total, &pages->moved);

    if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_INTERRUPT)
        return 0;
    return sqlite_fail(store, code, "write to", error);
}

int sqlite_wal_checkpoint(struct sqlite_store *store, struct error *error)
{
    uint64_t took_ms = UINT64_MAX;
    struct sqlite_wal_pages pages = {.total = 0};
    int result = 0;

    store->read_until_ms = UINT64_MAX;
    for (int pass = 0; pass < MAX_PASSES && result == 0 && took_ms > SHORT_MS; pass++) {
        uint64_t began_ms = clock_ms();

        store->lock_until_ms = began_ms;
        result = sqlite_wal_move_pages(store, SQLITE_CHECKPOINT_PASSIVE, &pages, error);
        took_ms = clock_ms() - began_ms;
    }
    store->lock_until_ms = clock_ms() + FULL_WAIT_MS;
    if (result == 0)
        result = sqlite_wal_move_pages(store, SQLITE_CHECKPOINT_FULL, &pages, error);
    if (result == 0)
        sqlite_wal_warn(store, &pages);
    return result;
}

void sqlite_wal_finish(struct sqlite_store *store)
{
    if (!store->database || !store->files->is_proven || atomic_load(&store->files->is_suspect))
        return;
    store->read_until_ms = UINT64_MAX;
    (void)sqlite3_wal_checkpoint_v2(store->database, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

/* ---- the start ---- */

/* Writes a page that changes nothing. If all pages of the WAL were moved, the WAL starts again with
 * it. After an error the connection is closed. */
static int sqlite_wal_restart(struct sqlite_store *store, struct error *error)
{
    int64_t version = 0;
    char sql[64];
    int result = sqlite_run(store, "BEGIN IMMEDIATE", error);

    if (result != 0)
        return result == ERROR_LOCKED ? 0 : result; /* the other writer's commit does the same */
    result = sqlite_ask(store, "PRAGMA user_version", &version, error);
    (void)snprintf(sql, sizeof sql, "PRAGMA user_version = %d", (int)version);
    if (result == 0)
        result = sqlite_run(store, sql, error);
    return result == 0 ? sqlite_run(store, "COMMIT", error) : result;
}

/* Makes what the WAL holds durable, before anything is answered from it: a checkpoint syncs the WAL
 * first. While another process makes one, the sync may not have happened yet, so this waits. If the
 * disk is full, the sync has happened: the checkpoint failed after it.
 *
 * A page that another server failed to sync can be read, but may never reach the disk, because
 * Linux treats it as written. After a power failure the WAL would end before that page, and its
 * older pages would be moved again, over newer ones. So this starts the WAL from its beginning. */
int sqlite_wal_sync(struct sqlite_store *store, struct error *error)
{
    int tries = 0;
    int pages = 0;
    int moved = 0;
    int code;

    do {
        code = sqlite3_wal_checkpoint_v2(
            store->database, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);
    } while ((code & 0xff) == SQLITE_BUSY && sqlite_wait_for_lock(store, tries++));
    if ((code & 0xff) == SQLITE_FULL)
        return 0;
    if (code != SQLITE_OK)
        return sqlite_fail(store, code, "sync", error);
    return pages > 0 && moved == pages ? sqlite_wal_restart(store, error) : 0;
}

/* The journal (WAL): commits only append to it. Moving its pages to where they belong in the
 * database file is put off until there are many: a page that was written often is moved
 * once. A keeper, on a thread of its own, does it then, while the writer goes on:
 *
 *     PASSIVE, again and again   moves what it finds; holds up nobody; meanwhile more comes
 *     FULL                       moves the rest, which is little, while nobody may write
 *
 * After that the next commit begins the journal anew, unless somebody still reads from it
 * (an export): then it grows on, and this is tried again when it has grown some more. */
#include "base/clock.h"
#include "store/sqlite.h"

#define UNTIDY_PAGES 8000      /* of 4 KiB: 32 MiB */
#define AGAIN_SHARE 4          /* has it grown by a quarter of that, then again */
#define LIMIT_BYTES "67108864" /* the file is cut to that when it begins anew */
#define MOST_PASSES 8
#define SHORT_MS 10     /* a pass that took no longer leaves little */
#define FULL_WAIT_MS 20 /* for the lock that writers have, and for readers */

static int note_pages(void *context, sqlite3 *database, const char *name, int pages)
{
    struct sqlite_store *store = context;

    (void)database;
    (void)name;
    store->wal_pages = pages;
    return SQLITE_OK;
}

static int untidy_pages(const struct sqlite_store *store)
{
    return store->options.tidy_at_pages > 0 ? store->options.tidy_at_pages : UNTIDY_PAGES;
}

int sqlite_wal_attach(struct sqlite_store *store, struct error *error)
{
    store->tidy_at_pages = untidy_pages(store);
    (void)sqlite3_wal_hook(store->database, note_pages, store); /* instead of a checkpoint */
    return sqlite_run(store, "PRAGMA journal_size_limit=" LIMIT_BYTES, error);
}

bool sqlite_wal_is_untidy(const struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    if (store->wal_pages < untidy_pages(store))
        store->tidy_at_pages = untidy_pages(store);
    if (store->wal_pages < store->tidy_at_pages)
        return false;
    store->tidy_at_pages = store->wal_pages + untidy_pages(store) / AGAIN_SHARE;
    return true;
}

static int move_pages(struct sqlite_store *store, int mode, struct error *error)
{
    int code = sqlite3_wal_checkpoint_v2(store->database, NULL, mode, NULL, NULL);

    if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_INTERRUPT)
        return 0;
    return sqlite_fail(store, code, "write to", error);
}

int sqlite_wal_tidy(struct store *base, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    uint64_t took_ms = UINT64_MAX;
    int result = 0;

    store->read_until_ms = UINT64_MAX;
    for (int pass = 0; pass < MOST_PASSES && result == 0 && took_ms > SHORT_MS; pass++) {
        uint64_t began_ms = clock_ms();

        store->lock_until_ms = began_ms;
        result = move_pages(store, SQLITE_CHECKPOINT_PASSIVE, error);
        took_ms = clock_ms() - began_ms;
    }
    store->lock_until_ms = clock_ms() + FULL_WAIT_MS;
    return result == 0 ? move_pages(store, SQLITE_CHECKPOINT_FULL, error) : result;
}

/* SPDX-License-Identifier: MIT */
/* One connection to an SQLite database: opening, transactions, waiting for locks.
 *
 * A connection of its own moves the pages of the WAL into the database file (wal.c).
 *
 * Durability: journal mode WAL and, by default, synchronous=FULL, so that a commit has been synced
 * when it returns. Frames that a killed server has written and not synced become visible when the
 * next server opens the database. So the writer makes a checkpoint at its start, which syncs them,
 * and then starts the WAL from its beginning. If that fails, the writer does not start.
 *
 * The files -wal and -shm are kept at the end (SQLITE_FCNTL_PERSIST_WAL): without them, a
 * process without permission to write to the folder could not read the database. */
#include "store/sqlite/sqlite.h"

#include "base/clock.h"
#include "store/sqlite/files.h"
#include "store/sqlite/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_STEPS 10000 /* of SQLite's virtual machine: less than a millisecond */
#define NONBLOCK_MS 5
#define CACHE_SIZE "PRAGMA cache_size=-16384;" /* KiB; allocated as needed */
#define INITIAL_PAGES 2 /* of the cache of a connection; SQLite would allocate 20 at once */

/* ---- transactions ---- */

/* Called by SQLite while a statement runs; returns 1 to interrupt it. */
static int sqlite_on_progress(void *context)
{
    const struct sqlite_store *store = context;
    uint64_t now_ms = clock_ms();

    if (store->role == STORE_CHECKPOINTER && atomic_load(store->options.shutting_down))
        return 1;
    return now_ms >= store->read_until_ms ||
           (store->role != STORE_WRITER && now_ms >= atomic_load(store->options.read_deadline_ms));
}

void sqlite_end_transaction(struct sqlite_store *store)
{
    if (!store->database)
        return;
    for (int i = STATEMENT_LOAD; i < STATEMENTS; i++)
        (void)sqlite3_reset(store->statements[i]);
    if (!sqlite3_get_autocommit(store->database)) {
        /* An interrupted rollback would leave the transaction open for ever. */
        sqlite3_progress_handler(store->database, 0, NULL, NULL);
        (void)sqlite3_step(store->statements[STATEMENT_ROLLBACK]);
        (void)sqlite3_reset(store->statements[STATEMENT_ROLLBACK]);
        sqlite3_progress_handler(store->database, PROGRESS_STEPS, sqlite_on_progress, store);
    }
}

static void sqlite_rollback(struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    if (!store->is_entered) /* the scan's: somebody may be closing the connection */
        (void)pthread_mutex_lock(&store->busy);
    store->is_entered = true;
    sqlite_end_transaction(store);
    sqlite_files_leave(store);
}

/* Prepares the statements of a read-only store again if its tables have changed. */
static int sqlite_follow_schema(struct sqlite_store *store, struct error *error)
{
    int64_t schema_version = 0;
    int result = sqlite_step_once(store, STATEMENT_SCHEMA_VERSION, "read", &schema_version, error);

    if (result != 0 || schema_version == store->schema_version)
        return result;
    store->schema_version = -1;
    result = sqlite_schema_inspect(store, error);
    if (result == 0)
        result = sqlite_prepare_queries(store, error);
    if (result != 0)
        return result;
    store->schema_version = schema_version;
    return 0;
}

static int sqlite_connect_file(struct sqlite_store *store, struct error *error);

static unsigned sqlite_wait_ms(const struct sqlite_store *store)
{
    return store->options.wait_ms > 0 ? store->options.wait_ms : STORE_LOCK_WAIT_MS;
}

static unsigned sqlite_open_wait_ms(const struct sqlite_store *store)
{
    return store->options.is_startup ? STORE_LOCK_WAIT_MS : sqlite_wait_ms(store);
}

/* Opens the connection. Another process that uses other files of this database is given time to
 * notice it. */
static int sqlite_connect_patiently(struct sqlite_store *store, struct error *error)
{
    const struct timespec pause = {.tv_nsec = 100000000};
    const uint64_t until_ms = clock_ms() + sqlite_open_wait_ms(store);
    struct sqlite_files *files = store->files;
    bool again;
    int result;

    do {
        (void)pthread_mutex_lock(&files->connecting);
        if (!atomic_load(&files->is_proven))
            sqlite_files_forget(files); /* this process has none of them open */
        result = sqlite_connect_file(store, error);
        again = result == ERROR_LOCKED && !atomic_load(&files->is_proven) &&
                clock_ms() < until_ms && !atomic_load(store->options.shutting_down);
        (void)pthread_mutex_unlock(&files->connecting);
        if (again)
            (void)nanosleep(&pause, NULL);
    } while (again);
    return result;
}

/* Enters the store, and opens its connection again if it was closed. */
static int sqlite_enter(
    struct sqlite_store *store, enum store_blocking blocking, struct error *error)
{
    int result = sqlite_files_enter(store, blocking, error);

    if (result != 0 || store->database)
        return result;
    result = blocking == STORE_NONBLOCK
                 ? error_set(error, ERROR_LOCKED, "%s is not open", store->options.file)
                 : sqlite_connect_patiently(store, error);
    if (result != 0)
        sqlite_files_leave(store);
    return result;
}

static int sqlite_begin_read(struct store *base, const struct store_batch *batch,
    enum store_blocking blocking, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    bool is_nonblock = blocking == STORE_NONBLOCK;
    uint64_t now_ms = clock_ms();
    int result;

    store->wants_checkpoint = false;
    result = sqlite_enter(store, blocking, error);
    store->was_closed = false;
    if (result != 0 || !store->database)
        return result;
    store->lock_until_ms = is_nonblock ? now_ms : now_ms + sqlite_wait_ms(store);
    store->read_until_ms = is_nonblock ? now_ms + NONBLOCK_MS : UINT64_MAX;
    result = sqlite_step_once(store, STATEMENT_BEGIN, "read", NULL, error);
    if (result == 0 && store->options.read_only)
        result = sqlite_follow_schema(store, error);
    else if (result == 0 && !batch) /* BEGIN takes no snapshot, the first read does */
        result = sqlite_step_once(store, STATEMENT_SCHEMA_VERSION, "read", NULL, error);
    if (result != 0)
        sqlite_rollback(base);
    return result;
}

static int sqlite_begin_write(
    struct store *base, const struct store_batch *batch, unsigned wait_ms, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    int result = sqlite_enter(store, STORE_BLOCK, error);

    (void)batch;
    store->wants_checkpoint = false;
    if (result != 0)
        return result;
    store->lock_until_ms = clock_ms() + wait_ms;
    store->read_until_ms = UINT64_MAX;
    result = sqlite_step_once(store, STATEMENT_BEGIN_IMMEDIATE, "write to", NULL, error);
    if (result == 0 && (result = sqlite_mark_begin(store, error)) != 0)
        sqlite_rollback(base);
    else if (result != 0)
        sqlite_files_leave(store);
    return result;
}

/* Rows that were stored in files without a name would be lost with the server. So the files are
 * checked before the commit, unless the transaction has begun just now, and again before anything
 * is answered. */
static int sqlite_commit(struct store *base, const struct store_batch *next, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    int result = sqlite_files_check_lately(store, error);

    (void)next;
    if (result == 0)
        result = sqlite_mark_count(store, error);
    if (result == 0)
        result = sqlite_step_once(store, STATEMENT_COMMIT, "write to", NULL, error);
    if (result == 0)
        result = sqlite_files_check(store, error);
    sqlite_mark_end(store, result == 0);
    sqlite_rollback(base);
    return result;
}

static int sqlite_look_after(struct store *base, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    int result = sqlite_enter(store, STORE_BLOCK, error);

    sqlite_files_leave(store);
    return result;
}

static int sqlite_checkpoint(struct store *base, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    int result = sqlite_enter(store, STORE_BLOCK, error);

    if (result == 0)
        result = sqlite_wal_checkpoint(store, error);
    sqlite_files_leave(store);
    return result;
}

/* Checks the files after the snapshot: another connection may not have checked its commit yet. */
static int sqlite_find_changes(struct store *base, enum store_changes *changes, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    int64_t version = 0;
    int result;

    *changes = STORE_CHANGED;
    if (!store->database)
        return 0;
    result = sqlite_step_once(store, STATEMENT_DATA_VERSION, "read", &version, error);
    if (result == 0 && version != store->data_version)
        result = sqlite_files_check(store, error);
    if (result != 0)
        return result;
    if (version == store->data_version)
        *changes = STORE_UNCHANGED;
    else if (version != store->compared_version)
        store->others_wrote = true;
    store->data_version = version;
    if (*changes == STORE_CHANGED && store->options.read_only)
        return sqlite_mark_follow(store, false, error);
    return 0;
}

/* ---- opening and closing ---- */

static int sqlite_prepare_basics(struct sqlite_store *store, struct error *error)
{
    static const char *const sql[STATEMENT_LOAD] = {
        [STATEMENT_BEGIN] = "BEGIN",
        [STATEMENT_BEGIN_IMMEDIATE] = "BEGIN IMMEDIATE",
        [STATEMENT_COMMIT] = "COMMIT",
        [STATEMENT_ROLLBACK] = "ROLLBACK",
        [STATEMENT_DATA_VERSION] = "PRAGMA data_version",
        [STATEMENT_SCHEMA_VERSION] = "PRAGMA schema_version",
    };

    for (int i = 0; i < STATEMENT_LOAD; i++) {
        int code = sqlite3_prepare_v3(
            store->database, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &store->statements[i], NULL);

        if (code != SQLITE_OK)
            return sqlite_fail(store, code, "open", error);
    }
    return 0;
}

/* The last connection that is closed makes a checkpoint, unless its index may be out of date. */
void sqlite_disconnect(struct sqlite_store *store)
{
    for (int i = 0; i < STATEMENTS; i++) {
        (void)sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    if (store->database &&
        (!atomic_load(&store->files->is_proven) || atomic_load(&store->files->is_suspect)))
        (void)sqlite3_db_config(store->database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_close_v2(store->database);
    store->database = NULL;
    store->data_version = -1; /* others may write until it is opened again */
    store->was_closed = true;
}

static int sqlite_set_sync_and_cache(struct sqlite_store *store, struct error *error)
{
    static const char *const sql[] = {
        [STORE_SYNC_FULL] = CACHE_SIZE "PRAGMA synchronous=FULL",
        [STORE_SYNC_NORMAL] = CACHE_SIZE "PRAGMA synchronous=NORMAL",
        [STORE_SYNC_OFF] = CACHE_SIZE "PRAGMA synchronous=OFF",
    };

    return sqlite_run(store, sql[store->options.sync], error);
}

/* Reads, so that -wal and -shm are opened, and fails if other processes use other ones: then
 * reading fails as well, or returns what is not there. */
static int sqlite_prove(struct sqlite_store *store, struct error *error)
{
    int64_t version;
    struct error reading;
    const int read = sqlite_ask(store, "PRAGMA user_version", &version, &reading);
    const int result = sqlite_files_check_after_open(store, error);

    if (result != 0 || read == 0)
        return result;
    *error = reading;
    return read;
}

static int sqlite_prepare_database(struct sqlite_store *store, struct error *error)
{
    struct error ignored;
    int persist = 1;
    int result = 0;

    if (!store->options.read_only && sqlite3_db_readonly(store->database, "main") == 1)
        return error_set(error, ERROR_STORE,
            "%s is not writable; check its permissions, or serve it with --read-only",
            store->options.file);
    if (!atomic_load(&store->files->is_proven))
        result = sqlite_prove(store, error);
    if (result == 0 && store->role == STORE_WRITER)
        result = sqlite_mark_require_same(store, error);
    if (result == 0 && store->role == STORE_WRITER)
        result = sqlite_schema_prepare(store, error);
    if (result == 0)
        result = sqlite_prepare_basics(store, error);
    if (result == 0 && store->options.read_only)
        (void)!sqlite_mark_follow(store, true, &ignored); /* a transaction will fail likewise */
    if (result != 0 || store->options.read_only)
        return result; /* a read-only store prepares its queries in its transactions */
    (void)sqlite3_file_control(store->database, NULL, SQLITE_FCNTL_PERSIST_WAL, &persist);
    store->sources = SQLITE_SOURCE_MAIN;
    result = sqlite_wal_attach(store, error);
    if (result == 0)
        result = sqlite_set_sync_and_cache(store, error);
    if (result == 0)
        result = sqlite_prepare_queries(store, error);
    if (result == 0 && store->role == STORE_WRITER)
        result = sqlite_old_tables_take_over(store, error);
    if (result == 0 && store->role == STORE_WRITER)
        result = sqlite_wal_sync(store, error);
    if (result == 0 && store->role == STORE_WRITER)
        result = sqlite_mark_prepare(store, error);
    return result;
}

/* Opens the file. A read-only store leaves database NULL if it does not exist. */
static int sqlite_connect_file(struct sqlite_store *store, struct error *error)
{
    int flags = store->options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int code;
    int result;

    if (store->options.read_only && access(store->options.file, F_OK) != 0 &&
        (errno == ENOENT || errno == ENOTDIR))
        return 0;
    result = sqlite_files_check_before_open(store, error);
    if (result != 0)
        return result;
    if (store->role == STORE_WRITER)
        flags |= SQLITE_OPEN_CREATE;
    code = sqlite3_open_v2(store->options.file, &store->database,
        flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, sqlite_vfs_name());
    if (code != SQLITE_OK) {
        result = sqlite_fail(store, code, "open", error);
        sqlite_disconnect(store);
        return result;
    }
    sqlite3_progress_handler(store->database, PROGRESS_STEPS, sqlite_on_progress, store);
    (void)sqlite3_busy_handler(store->database, sqlite_wait_for_lock, store);
    store->lock_until_ms = clock_ms() + sqlite_open_wait_ms(store);
    store->read_until_ms = UINT64_MAX;
    /* A new connection counts anew: a version that the last one saw says nothing. */
    store->schema_version = store->data_version = store->mark.data_version = -1;
    store->scan.mark_version = -1;
    result = sqlite_prepare_database(store, error);
    if (result != 0)
        sqlite_disconnect(store);
    else
        sqlite_set_instance(store);
    if (result == 0)
        sqlite_survey_report(store);
    return result;
}

static void sqlite_free(struct sqlite_store *store)
{
    sqlite_mark_let_go(store);
    sqlite_scan_free(&store->scan);
    mark_file_free(store->mark.file);
    if (store->files)
        sqlite_files_part(store);
    free(store);
}

/* Closes the store. A writer first saves what a removed WAL holds, or makes a checkpoint. */
static void sqlite_close_store(struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    struct error error;

    sqlite_rollback(base);
    if (store->role == STORE_WRITER && sqlite_files_enter(store, STORE_BLOCK, &error) != 0)
        log_write(store->options.log, LOG_ERROR, "%s", error.text);
    else if (store->role == STORE_WRITER)
        sqlite_wal_finish(store);
    sqlite_files_leave(store);
    sqlite_disconnect(store);
    sqlite_free(store);
}

/* Opens what the store works on. */
static int sqlite_open_files(struct sqlite_store *store, struct error *error)
{
    const struct store_options *options = &store->options;
    const bool is_writer = store->role == STORE_WRITER;
    int result = sqlite_refuse_folder(options->file, error);

    if (result == 0 && is_writer && !options->read_only)
        result = sqlite_make_folders(options->file, error);
    if (result == 0 && (is_writer || (options->read_only && options->is_startup)))
        result = sqlite_mark_create(store, error);
    if (result == 0 && is_writer)
        result = sqlite_mark_require_file(store, error);
    if (result == 0)
        result = sqlite_files_join(store, error);
    if (result != 0)
        return result;
    sqlite_warn_of_network(store);
    return sqlite_connect_patiently(store, error);
}

int sqlite_open(struct store **opened, const struct store_options *options, enum store_role role,
    struct error *error)
{
    static const struct store_ops ops = {
        .close = sqlite_close_store,
        .begin_read = sqlite_begin_read,
        .begin_write = sqlite_begin_write,
        .commit = sqlite_commit,
        .touch = sqlite_mark_touch,
        .rollback = sqlite_rollback,
        .find_changes = sqlite_find_changes,
        .load = sqlite_load,
        .look_up = sqlite_look_up,
        .load_after = sqlite_load_after,
        .add = sqlite_add,
        .find_many = sqlite_find_many,
        .describe = sqlite_describe,
        .count = sqlite_count,
        .search = sqlite_search,
        .scan_begin = sqlite_scan_begin,
        .scan_resume = sqlite_scan_resume,
        .scan_place = sqlite_scan_place,
        .scan_next = sqlite_scan_next,
        .accept_rollback = sqlite_mark_accept,
        .check_mark = sqlite_mark_check,
        .wants_mark_file = sqlite_mark_wants_file,
        .write_mark_file = sqlite_mark_write_file,
        .pause = sqlite_pause,
        .resume = sqlite_resume,
        .wants_checkpoint = sqlite_wal_wants_checkpoint,
        .checkpoint = sqlite_checkpoint,
        .look_after = sqlite_look_after,
        .wants_review = sqlite_old_tables_want_review,
        .review = sqlite_old_tables_review,
    };
    struct sqlite_store *store = calloc(1, sizeof *store);
    int result;

    *opened = NULL;
    if (!store)
        return error_set_memory(error);
    /* Statistics cost a lock at each allocation. Both fail, without harm, once SQLite is in use. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    (void)sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, INITIAL_PAGES);
    store->base.ops = &ops;
    store->base.checks_cheaply = true;
    store->base.identity = options->identity;
    store->options = *options;
    store->role = role;
    result = sqlite_open_files(store, error);
    store->options.is_startup = false;
    if (result != 0) {
        sqlite_free(store);
        return result;
    }
    *opened = &store->base;
    return 0;
}

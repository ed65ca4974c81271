/* One connection to an SQLite database: opening, transactions, waiting for locks.
 *
 * What the journal holds is moved to the database by a connection of its own
 * (sqlite_wal.c).
 *
 * Durability: WAL journal and, unless told otherwise, synchronous=FULL, so that a
 * commit has been synced when it returns. What a server that was killed between
 * writing and syncing left in the WAL becomes visible when the next one opens the
 * database, so the writer checkpoints once at the start: that syncs it; and begins the WAL anew.
 * If that fails, it does not start.
 *
 * -wal and -shm are left in place at the end (SQLITE_FCNTL_PERSIST_WAL): without
 * them nobody could read the database in a folder that it may not write to. */
#include "store/sqlite.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRESS_STEPS 10000 /* of SQLite's machine: less than a millisecond */
#define AT_ONCE_MS 5
#define CACHE_SIZE "PRAGMA cache_size=-16384" /* KiB; what is not used is not taken */

/* ---- transactions ---- */

static int step_once(
    struct sqlite_store *store, enum sqlite_statement which, const char *doing, struct error *error)
{
    sqlite3_stmt *statement = store->statements[which];
    int code = sqlite3_step(statement);
    int result =
        code == SQLITE_DONE || code == SQLITE_ROW ? 0 : sqlite_fail(store, code, doing, error);

    (void)sqlite3_reset(statement);
    return result;
}

static int ask_once(
    struct sqlite_store *store, enum sqlite_statement which, int64_t *answer, struct error *error)
{
    sqlite3_stmt *statement = store->statements[which];
    int code = sqlite3_step(statement);
    int result = 0;

    if (code == SQLITE_ROW)
        *answer = sqlite3_column_int64(statement, 0);
    else
        result = sqlite_fail(store, code, "read the database", error);
    (void)sqlite3_reset(statement);
    return result;
}

/* Called by SQLite while a statement runs; 1 interrupts it. */
static int is_over(void *context)
{
    const struct sqlite_store *store = context;
    uint64_t now_ms = clock_ms();

    return now_ms >= store->read_until_ms ||
           (store->role == STORE_READER && now_ms >= atomic_load(store->options.give_up_ms));
}

static void rollback(struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    if (!store->database)
        return;
    for (int i = STATEMENT_LOAD; i < STATEMENTS; i++)
        (void)sqlite3_reset(store->statements[i]);
    if (!sqlite3_get_autocommit(store->database)) {
        /* A rollback that is interrupted leaves the transaction open, for ever. */
        sqlite3_progress_handler(store->database, 0, NULL, NULL);
        (void)sqlite3_step(store->statements[STATEMENT_ROLLBACK]);
        (void)sqlite3_reset(store->statements[STATEMENT_ROLLBACK]);
        sqlite3_progress_handler(store->database, PROGRESS_STEPS, is_over, store);
    }
}

/* A read-only store looks whether the tables are still those it knows. */
static int follow_schema(struct sqlite_store *store, struct error *error)
{
    int64_t user_version = 0;
    int64_t schema_version = 0;
    int result = ask_once(store, STATEMENT_USER_VERSION, &user_version, error);

    if (result == 0)
        result = ask_once(store, STATEMENT_SCHEMA_VERSION, &schema_version, error);
    if (result != 0 ||
        (user_version == store->user_version && schema_version == store->schema_version))
        return result;
    result = sqlite_schema_inspect(store, error);
    if (result == 0)
        result = sqlite_prepare_queries(store, error);
    if (result != 0)
        return result;
    store->user_version = user_version;
    store->schema_version = schema_version;
    store->sources_changed = true;
    return 0;
}

static int connect_file(struct sqlite_store *store, struct error *error);

static int begin_read(struct store *base, enum store_patience patience, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    bool at_once = patience == STORE_AT_ONCE;
    uint64_t now_ms = clock_ms();
    int result;

    if (!store->database && at_once)
        return error_set(error, ERROR_LOCKED, "%s is not open", store->options.file);
    if (!store->database) {
        result = connect_file(store, error);
        if (result != 0 || !store->database)
            return result;
    }
    store->lock_until_ms = at_once ? now_ms : now_ms + STORE_LOCK_WAIT_MS;
    store->read_until_ms = at_once ? now_ms + AT_ONCE_MS : UINT64_MAX;
    result = step_once(store, STATEMENT_BEGIN, "read", error);
    if (result == 0 && store->options.read_only)
        result = follow_schema(store, error);
    if (result != 0)
        rollback(base);
    return result;
}

static int begin_write(
    struct store *base, enum store_scope scope, unsigned wait_ms, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    (void)scope;
    store->lock_until_ms = clock_ms() + wait_ms;
    store->read_until_ms = UINT64_MAX;
    return step_once(store, STATEMENT_BEGIN_IMMEDIATE, "write to", error);
}

/* What is stored in a file that has no name any more is lost with the server. */
static int check_name(struct sqlite_store *store, struct error *error)
{
    int moved = 0;

    (void)sqlite3_file_control(store->database, NULL, SQLITE_FCNTL_HAS_MOVED, &moved);
    if (!moved)
        return 0;
    return error_set(error, ERROR_STORE,
        "the database %s was removed or replaced while the server had it open; nothing was "
        "stored: put it back, or start the server again",
        store->options.file);
}

static int commit(struct store *base, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    int result = check_name(store, error);

    if (result == 0)
        result = step_once(store, STATEMENT_COMMIT, "write to", error);
    if (result != 0)
        rollback(base);
    return result;
}

static int is_unchanged(struct store *base, bool *unchanged, struct error *error)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    int64_t version = 0;
    int result;

    *unchanged = false;
    if (!store->database)
        return 0;
    result = ask_once(store, STATEMENT_DATA_VERSION, &version, error);
    if (result != 0)
        return result;
    *unchanged = version == store->data_version && !store->sources_changed;
    store->data_version = version;
    store->sources_changed = false;
    return 0;
}

/* ---- opening and closing ---- */

static int prepare_basics(struct sqlite_store *store, struct error *error)
{
    static const char *const sql[STATEMENT_LOAD] = {
        [STATEMENT_BEGIN] = "BEGIN",
        [STATEMENT_BEGIN_IMMEDIATE] = "BEGIN IMMEDIATE",
        [STATEMENT_COMMIT] = "COMMIT",
        [STATEMENT_ROLLBACK] = "ROLLBACK",
        [STATEMENT_DATA_VERSION] = "PRAGMA data_version",
        [STATEMENT_USER_VERSION] = "PRAGMA user_version",
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

static void disconnect(struct sqlite_store *store)
{
    for (int i = 0; i < STATEMENTS; i++) {
        (void)sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    (void)sqlite3_close_v2(store->database);
    store->database = NULL;
}

static int set_sync(struct sqlite_store *store, struct error *error)
{
    static const char *const sql[] = {
        [STORE_SYNC_FULL] = "PRAGMA synchronous=FULL",
        [STORE_SYNC_NORMAL] = "PRAGMA synchronous=NORMAL",
        [STORE_SYNC_OFF] = "PRAGMA synchronous=OFF",
    };

    return sqlite_run(store, sql[store->options.sync], error);
}

/* Writes something that changes nothing; the journal begins with it, if all of it was moved. */
static int begin_journal_anew(struct sqlite_store *store, struct error *error)
{
    int64_t version = 0;
    char sql[64];
    int result = sqlite_run(store, "BEGIN IMMEDIATE", error);

    if (result != 0)
        return result == ERROR_LOCKED ? 0 : result; /* who writes it does the same */
    result = sqlite_ask(store, "PRAGMA user_version", &version, error);
    (void)snprintf(sql, sizeof sql, "PRAGMA user_version = %d", (int)version);
    if (result == 0)
        result = sqlite_run(store, sql, error);
    if (result == 0)
        result = sqlite_run(store, "COMMIT", error);
    if (result != 0)
        (void)sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
    return result;
}

/* A checkpoint syncs the journal first. Nothing may be answered from it before. While another
 * process is at it, that may not have happened yet. A full disk is found later than that.
 *
 * What another server failed to sync can be read here, and yet never get to the disk: Linux holds
 * it for written. After a cut of the power the journal would end before it, and be moved again,
 * over what is newer. So it begins anew. */
static int sync_what_is_there(struct sqlite_store *store, struct error *error)
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
    return pages > 0 && moved == pages ? begin_journal_anew(store, error) : 0;
}

static int prepare_database(struct sqlite_store *store, struct error *error)
{
    int persist = 1;
    int result = 0;

    if (!store->options.read_only && sqlite3_db_readonly(store->database, "main") == 1)
        return error_set(error, ERROR_STORE,
            "%s may only be read; check its permissions, or serve it with --read-only",
            store->options.file);
    if (store->role == STORE_WRITER)
        result = sqlite_schema_prepare(store, error);
    if (result == 0)
        result = prepare_basics(store, error);
    if (result != 0 || store->options.read_only)
        return result; /* a read-only store follows the schema at every transaction */
    (void)sqlite3_file_control(store->database, NULL, SQLITE_FCNTL_PERSIST_WAL, &persist);
    store->sources = SQLITE_SOURCE_MAIN;
    result = sqlite_wal_attach(store, error);
    if (result == 0)
        result = set_sync(store, error);
    if (result == 0)
        result = sqlite_run(store, CACHE_SIZE, error);
    if (result == 0)
        result = sqlite_prepare_queries(store, error);
    if (result == 0 && store->role == STORE_WRITER)
        result = sync_what_is_there(store, error);
    return result;
}

/* Opens the file; a read-only store leaves database NULL where there is none. */
static int connect_file(struct sqlite_store *store, struct error *error)
{
    int flags = store->options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int code;
    int result;

    if (store->options.read_only && access(store->options.file, F_OK) != 0 &&
        (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (store->role == STORE_WRITER)
        flags |= SQLITE_OPEN_CREATE;
    code = sqlite3_open_v2(store->options.file, &store->database,
        flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK) {
        result = sqlite_fail(store, code, "open", error);
        disconnect(store);
        return result;
    }
    sqlite3_progress_handler(store->database, PROGRESS_STEPS, is_over, store);
    (void)sqlite3_busy_handler(store->database, sqlite_wait_for_lock, store);
    store->lock_until_ms = clock_ms() + STORE_LOCK_WAIT_MS;
    store->read_until_ms = UINT64_MAX;
    store->user_version = store->schema_version = -1;
    result = prepare_database(store, error);
    if (result != 0)
        disconnect(store);
    return result;
}

static void close_store(struct store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    rollback(base);
    disconnect(store);
    free(store);
}

/* A new folder's entry is durable when the folder that holds it was synced. */
static int sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int descriptor = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int result = descriptor >= 0 ? fsync(descriptor) : -1;

    if (descriptor >= 0)
        (void)close(descriptor);
    free(folder);
    return result;
}

/* If not, errno says so. */
static bool is_folder(const char *path)
{
    struct stat status;

    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return true;
    errno = ENOTDIR;
    return false;
}

/* Makes it, and makes it durable; also one that is there, which a start that was killed may have
 * made just before. What is not ours we may be unable to sync. */
static int make_folder(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return sync_folder_of(path);
    if (errno != EEXIST || !is_folder(path))
        return -1;
    return sync_folder_of(path) == 0 || errno != EIO ? 0 : -1;
}

/* Makes the folders above the file. */
static int make_folders(const char *file, struct error *error)
{
    char *path = strdup(file);
    int result = 0;

    if (!path)
        return error_set_memory(error);
    for (char *slash = strchr(path + 1, '/'); slash && result == 0;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        result = make_folder(path);
        if (result != 0)
            result = error_set(error, ERROR_STORE,
                "can't make the folder %s for the database %s: %s", path, file, strerror(errno));
        *slash = '/';
    }
    free(path);
    return result;
}

int sqlite_open(struct store **result, const struct store_options *options, enum store_role role,
    struct error *error)
{
    static const struct store_ops ops = {
        .close = close_store,
        .begin_read = begin_read,
        .begin_write = begin_write,
        .commit = commit,
        .rollback = rollback,
        .is_unchanged = is_unchanged,
        .load = sqlite_load,
        .look_up = sqlite_look_up,
        .add = sqlite_add,
        .describe = sqlite_describe,
        .count = sqlite_count,
        .scan_begin = sqlite_scan_begin,
        .scan_next = sqlite_scan_next,
        .is_untidy = sqlite_wal_is_untidy,
        .tidy = sqlite_wal_tidy,
    };
    struct sqlite_store *store = calloc(1, sizeof *store);
    int code = 0;

    *result = NULL;
    if (!store)
        return error_set_memory(error);
    /* Statistics cost a lock at each allocation. Only before SQLite is first used: later it
     * refuses, and all is as it was. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    store->base.ops = &ops;
    store->options = *options;
    store->role = role;
    if (role == STORE_WRITER && !options->read_only)
        code = make_folders(options->file, error);
    if (code == 0)
        code = connect_file(store, error);
    if (code != 0) {
        free(store);
        return code;
    }
    *result = &store->base;
    return 0;
}

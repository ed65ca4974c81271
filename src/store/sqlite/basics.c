/* SPDX-License-Identifier: MIT */
/* The basics of the SQLite backend: errors, SQL that runs once, waiting for locks. */
#include "store/sqlite/sqlite.h"

#include "base/clock.h"
#include "store/sqlite/network_fs.h"

#include <errno.h>
#include <time.h>

#define HOLDER_MS 500

/* Returns the errno with which a call for the file of the database (SQLITE_FCNTL_FILE_POINTER) or
 * its WAL (SQLITE_FCNTL_JOURNAL_POINTER) last failed; 0 if it is not known. (sqlite3_system_errno
 * does not know of errors in a COMMIT.) */
static int sqlite_last_errno(const struct sqlite_store *store, int which)
{
    sqlite3_file *file = NULL;
    int number = 0;

    (void)sqlite3_file_control(store->database, "main", which, &file);
    if (!file || !file->pMethods ||
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &number) != SQLITE_OK)
        return 0;
    return number;
}

/* Returns whether there is no space for what was to be written: on the disk, or in a quota. That
 * goes away when somebody frees some. (SQLite reports only a write without space as SQLITE_FULL,
 * not a full quota, nor a sync or a -shm without space.) */
static bool sqlite_is_full(const struct sqlite_store *store, int code)
{
    const int files[] = {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER};

    if ((code & 0xff) == SQLITE_FULL)
        return true;
    if (!store->database)
        return false;
    if (code == SQLITE_IOERR_SHMSIZE)
        return sqlite3_system_errno(store->database) == ENOSPC;
    if (code != SQLITE_IOERR_WRITE && code != SQLITE_IOERR_FSYNC)
        return false;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const int number = sqlite_last_errno(store, files[i]);

        if (number == ENOSPC || number == EDQUOT)
            return true;
    }
    return false;
}

/* Describes a lock of another process, and names that. Looks for it twice a second at most. */
static int sqlite_fail_locked(struct sqlite_store *store, struct error *error)
{
    const char *file = store->database ? sqlite3_db_filename(store->database, "main") : NULL;
    const uint64_t now_ms = clock_ms();

    if (now_ms >= store->holder_ms + HOLDER_MS) {
        store->holder_ms = now_ms;
        sqlite_lock_holder_find_writer(file ? file : store->options.file, store->holder);
    }
    if (store->holder[0] != '\0')
        return error_set(error, ERROR_LOCKED, "the database %s is locked by another process: %s",
            store->options.file, store->holder);
    return error_set(error, ERROR_LOCKED,
        "the database %s is locked by another process; try again, or find out which one",
        store->options.file);
}

int sqlite_fail(struct sqlite_store *store, int code, const char *doing, struct error *error)
{
    const char *reason = store->database ? sqlite3_errmsg(store->database) : sqlite3_errstr(code);
    const char *file = store->options.file;

    if (code == SQLITE_IOERR_NOMEM)
        return error_set_memory(error);
    if (sqlite_is_full(store, code))
        return error_set(error, ERROR_LOCKED,
            "can't %s %s: the disk is full; nothing was stored, free some space", doing, file);
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL: /* others held the locks of the WAL in turn for 10 s */
        return sqlite_fail_locked(store, error);
    case SQLITE_INTERRUPT:
        return error_set(
            error, ERROR_LOCKED, "the server is stopping; the request was not carried out");
    case SQLITE_NOMEM:
        return error_set_memory(error);
    case SQLITE_NOTADB:
        return error_set(
            error, ERROR_STORE, "%s is not an SQLite database; it was not changed", file);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(error, ERROR_STORE,
            "can't %s %s: %s; check the permissions of the file, of its -wal and -shm and of its "
            "folder",
            doing, file, reason);
    default:
        return error_set(error, ERROR_STORE, "can't %s %s: %s", doing, file, reason);
    }
}

int sqlite_step_once(struct sqlite_store *store, enum sqlite_statement which, const char *doing,
    int64_t *answer, struct error *error)
{
    sqlite3_stmt *statement = store->statements[which];
    const int code = sqlite3_step(statement);
    int result = 0;

    if (code == SQLITE_ROW && answer)
        *answer = sqlite3_column_int64(statement, 0);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        result = sqlite_fail(store, code, doing, error);
    (void)sqlite3_reset(statement);
    return result;
}

int sqlite_run(struct sqlite_store *store, const char *sql, struct error *error)
{
    int code = sqlite3_exec(store->database, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : sqlite_fail(store, code, "use the database", error);
}

int sqlite_ask(struct sqlite_store *store, const char *sql, int64_t *answer, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL);

    *answer = 0;
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *answer = sqlite3_column_int64(statement, 0);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        code = sqlite_fail(store, code, "read the database", error);
    else
        code = 0;
    (void)sqlite3_finalize(statement);
    return code;
}

int sqlite_wait_for_lock(void *context, int tries)
{
    const struct sqlite_store *store = context;
    const struct timespec pause = {.tv_nsec = tries < 5 ? 200000 : 1000000};

    if (clock_ms() >= store->lock_until_ms || atomic_load(store->options.shutting_down))
        return 0;
    (void)nanosleep(&pause, NULL);
    return 1;
}

void sqlite_warn_of_network(const struct sqlite_store *store)
{
    bool is_certain;
    const char *name = network_fs_name(store->options.file, &is_certain);

    if (name && store->options.is_startup &&
        store->role == (store->options.read_only ? STORE_READER : STORE_WRITER))
        log_write(store->options.log, LOG_WARNING,
            "%s is on a network file system (%s). All servers of the database must run on one "
            "machine, because SQLite's WAL needs memory that they share; for several machines use "
            "PostgreSQL",
            store->options.file, name);
}

/* What every part of the SQLite backend stands on: its errors, and SQL that runs once. */
#include "store/sqlite.h"

#include "base/clock.h"

#include <time.h>

int sqlite_fail(struct sqlite_store *store, int code, const char *doing, struct error *error)
{
    const char *reason = store->database ? sqlite3_errmsg(store->database) : sqlite3_errstr(code);
    const char *file = store->options.file;

    if (code == SQLITE_IOERR_NOMEM)
        return error_set_memory(error);
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(error, ERROR_LOCKED,
            "the database %s is locked by another process; try again, or find out who holds it",
            file);
    case SQLITE_INTERRUPT:
        return error_set(
            error, ERROR_LOCKED, "the server is stopping; the request was not carried out");
    case SQLITE_NOMEM:
        return error_set_memory(error);
    case SQLITE_NOTADB:
        return error_set(error, ERROR_STORE, "%s is no SQLite database; it was not touched", file);
    case SQLITE_FULL:
        return error_set(error, ERROR_STORE,
            "can't %s %s: the disk is full; nothing was stored, free some space", doing, file);
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

    if (clock_ms() >= store->lock_until_ms || atomic_load(store->options.hurry))
        return 0;
    (void)nanosleep(&pause, NULL);
    return 1;
}

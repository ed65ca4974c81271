/* SPDX-License-Identifier: MIT */
/* What to do when -wal, -shm or the database were removed or replaced.
 *
 *   the database              lost: this process writes to another file than the next one
 *   -wal                      its rows are in the file that is still open. If nobody else has the
 *                             database open, and there is no new WAL with rows, they are moved to
 *                             the database, and the WAL is emptied, in case it is put back
 *   -shm only                 all rows are in the WAL, which is in its place; the files are opened
 *                             again, which succeeds once all processes use the same -shm
 *
 * A connection that is closed meanwhile makes no checkpoint (sqlite_disconnect): its index may be
 * out of date. */
#include "base/clock.h"
#include "store/sqlite/file_locks.h"
#include "store/sqlite/files.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ALONE_WAIT_MS 2000 /* for servers that are starting, and programs that only look */
#define SECURE_WAIT_MS 500
#define SETTLE_NS 200000000
#define PAUSE_NS 10000000
#define REASON_BYTES 512
#define REPORT_BYTES 512

/* Returns the connection that has been open for longest and can write, or any other one. */
static struct sqlite_store *files_choose_store(struct sqlite_files *files)
{
    struct sqlite_store *chosen = NULL;

    for (struct sqlite_store *store = files->stores; store; store = store->next) {
        if (store->database && (!chosen || store->role == STORE_WRITER))
            chosen = store;
    }
    return chosen;
}

/* Waits until no other process has the database open, and keeps others out. Returns 0, or the
 * process that has it open. */
static pid_t files_wait_until_alone(int descriptor, unsigned wait_ms)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    const uint64_t until_ms = clock_ms() + wait_ms;
    pid_t user = SQLITE_LOCKS_UNKNOWN;

    while (descriptor >= 0) {
        if (sqlite_locks_keep_out(descriptor)) {
            user = sqlite_locks_find_user(descriptor);
            if (user == 0)
                return 0;
            sqlite_locks_let_in(descriptor);
        }
        if (clock_ms() >= until_ms)
            break;
        (void)nanosleep(&pause, NULL);
    }
    return user;
}

static void files_close_all(struct sqlite_files *files, const struct sqlite_store *except)
{
    for (struct sqlite_store *store = files->stores; store; store = store->next) {
        if (store == except || !store->database)
            continue;
        sqlite_disconnect(store);
    }
}

/* Makes a checkpoint with all other connections closed. Returns SQLite's code. */
static int files_checkpoint(struct sqlite_files *files, struct sqlite_store *store, int mode)
{
    files_close_all(files, store);
    sqlite_end_transaction(store);
    store->lock_until_ms = clock_ms() + ALONE_WAIT_MS;
    store->read_until_ms = UINT64_MAX;
    return sqlite3_wal_checkpoint_v2(store->database, NULL, mode, NULL, NULL);
}

/* Moves the rows of the removed WAL to the database. Returns false, and the reason, if that is not
 * possible. */
static bool files_move_rows(
    struct sqlite_files *files, struct sqlite_store *store, char reason[REASON_BYTES])
{
    const char *wal = files->paths[SQLITE_FILE_WAL];
    struct sqlite_wal_index index;
    struct stat now;
    int code;

    (void)sqlite_files_is_in_place(files, SQLITE_FILE_WAL, &now);
    if (now.st_size > 0) {
        (void)snprintf(reason, REASON_BYTES, "the %s that is there now holds other rows", wal);
        return false;
    }
    if (!sqlite_wal_index_read(store->database, &index) ||
        !sqlite_wal_index_matches(store->database, &index)) {
        (void)snprintf(reason, REASON_BYTES, "another program has changed its index");
        return false;
    }
    if (store->options.read_only) {
        (void)snprintf(reason, REASON_BYTES, "a read-only server can't move rows to the database");
        return index.n_moved == index.n_frames;
    }
    code = files_checkpoint(files, store, SQLITE_CHECKPOINT_TRUNCATE);
    if (code == SQLITE_OK)
        return true;
    (void)snprintf(reason, REASON_BYTES, "its rows can't be moved to the database: %s",
        sqlite3_errmsg(store->database));
    return false;
}

/* The same once no other process has the database open. The others stay out until all connections
 * are closed. */
static bool files_rescue_wal(
    struct sqlite_files *files, struct sqlite_store *store, char reason[REASON_BYTES])
{
    const struct sqlite_identity main = sqlite_files_opened(files, SQLITE_FILE_MAIN);
    const int descriptor = sqlite_locks_descriptor(main.device, main.inode);
    const pid_t user = files_wait_until_alone(descriptor, ALONE_WAIT_MS);

    if (user != 0) {
        (void)snprintf(
            reason, REASON_BYTES, "another process has the database open (%ld)", (long)user);
        return false;
    }
    if (files_move_rows(files, store, reason))
        return true;
    sqlite_locks_let_in(descriptor);
    return false;
}

/* Moves the rows of a WAL that is in its place to the database if that is safe: whoever has removed
 * -shm may be about to remove the WAL as well. Rows that others have added stay in the WAL. Returns
 * whether it is still in its place after a while. */
static bool files_secure_wal(struct sqlite_files *files, struct sqlite_store *store)
{
    const struct sqlite_identity main = sqlite_files_opened(files, SQLITE_FILE_MAIN);
    const int descriptor = sqlite_locks_descriptor(main.device, main.inode);
    const struct timespec pause = {.tv_nsec = SETTLE_NS};
    struct sqlite_wal_index index;

    if (files_wait_until_alone(descriptor, SECURE_WAIT_MS) != 0) {
        (void)nanosleep(&pause, NULL);
    } else {
        if (!store->options.read_only && sqlite_wal_index_read(store->database, &index) &&
            sqlite_wal_index_matches(store->database, &index))
            (void)files_checkpoint(files, store, SQLITE_CHECKPOINT_FULL);
        sqlite_locks_let_in(descriptor);
    }
    return sqlite_files_is_in_place(files, SQLITE_FILE_WAL, NULL);
}

/* Opens the database that has taken the place of another one, on a read-only server: a mirror gets
 * a new copy now and then. Returns false if rows could be lost, or added to the wrong database: the
 * WAL that is open, or the one that is there now, has some. */
static bool files_follow(struct sqlite_files *files, struct sqlite_store *store)
{
    struct sqlite_wal_index index;
    struct stat now;
    struct stat wal;

    (void)sqlite_files_is_in_place(files, SQLITE_FILE_WAL, &wal);
    if (!store->options.read_only || sqlite_files_is_in_place(files, SQLITE_FILE_MAIN, &now) ||
        now.st_ino == 0 || wal.st_size > 0 ||
        (sqlite_wal_index_read(store->database, &index) && index.n_moved < index.n_frames))
        return false;
    files_close_all(files, NULL);
    sqlite_files_forget(files);
    log_write(store->options.log, LOG_WARNING,
        "%s was replaced by another file; reading that one from now on",
        files->paths[SQLITE_FILE_MAIN]);
    return true;
}

/* Recovers, or says why that would lose rows. Everything is locked. */
static bool files_repair(
    struct sqlite_files *files, struct sqlite_store *store, char reason[REASON_BYTES])
{
    bool has_wal = sqlite_files_is_in_place(files, SQLITE_FILE_WAL, NULL);

    if (sqlite_files_compare_content(files, store) != SQLITE_UNTOUCHED) {
        (void)snprintf(reason, REASON_BYTES, "another program wrote over it, without SQLite");
        return false;
    }
    if (!sqlite_files_is_in_place(files, SQLITE_FILE_MAIN, NULL)) {
        (void)snprintf(
            reason, REASON_BYTES, "it can't be used as long as its name leads elsewhere");
        return false;
    }
    has_wal = has_wal && files_secure_wal(files, store);
    if (!has_wal && !files_rescue_wal(files, store, reason))
        return false;
    files_close_all(files, NULL);
    sqlite_files_forget(files);
    log_write(store->options.log, LOG_WARNING,
        "%s was removed or replaced while the server had it open; no row is lost%s. These files "
        "belong to the database: don't touch them while a server runs",
        files->paths[has_wal ? SQLITE_FILE_SHM : SQLITE_FILE_WAL],
        has_wal ? "" : ": those in it were moved to the database");
    return true;
}

/* Returns whether the name of the database leads to another one. */
static bool files_is_another_database(struct sqlite_files *files, struct sqlite_store *store)
{
    struct stat now;

    if (sqlite_files_is_in_place(files, SQLITE_FILE_MAIN, &now))
        return sqlite_files_compare_content(files, store) == SQLITE_OVERWRITTEN;
    return now.st_ino != 0;
}

/* Puts a copy of the removed WAL in its place, if nothing is there that anybody needs, so that the
 * next start has all rows. -shm is removed: whoever still has the removed WAL open uses it, and
 * must not share it with those who open the new one. */
static bool files_put_wal_back(struct sqlite_files *files, struct sqlite_store *store)
{
    struct sqlite_wal_index index;
    struct stat wal;
    struct stat shm;

    if (sqlite_files_is_in_place(files, SQLITE_FILE_WAL, &wal) || wal.st_size > 0)
        return false;
    if (!sqlite_files_is_in_place(files, SQLITE_FILE_SHM, &shm) && shm.st_ino != 0 &&
        sqlite_locks_is_shm_used(shm.st_ino))
        return false; /* its user does not know these rows */
    if (sqlite_wal_index_read(store->database, &index) &&
        sqlite_wal_index_is_newer(store->database, &index))
        return false; /* all of its rows had been moved before */
    if (shm.st_ino != 0)
        (void)unlink(files->paths[SQLITE_FILE_SHM]);
    return sqlite_salvage_to(
        sqlite_wal_index_wal(store->database), files->paths[SQLITE_FILE_WAL], wal.st_ino != 0);
}

/* Writes FILE-mark, so that the next start refuses an older database in the place of this one. The
 * files are locked. */
static void files_write_marks(struct sqlite_files *files)
{
    for (struct sqlite_store *store = files->stores; store; store = store->next) {
        if (store->mark.file)
            mark_file_write(store->mark.file);
    }
}

/* Saves what is open, and ends the service. */
static int files_give_up(struct sqlite_files *files, struct sqlite_store *store,
    enum sqlite_file which, const char *reason, struct error *error)
{
    struct log *log = store->options.log;
    const bool take_wal = files_is_another_database(files, store);
    bool is_back;
    char report[REPORT_BYTES];

    atomic_store(&files->is_lost, true);
    log_write(log, LOG_CRITICAL,
        "%s was removed or replaced while the server had it open; the server ends, because %s",
        files->paths[which], reason);
    files_write_marks(files);
    sqlite_salvage(store, reason, take_wal, report, sizeof report);
    is_back = which == SQLITE_FILE_WAL && files_put_wal_back(files, store);
    log_write(log, LOG_CRITICAL, "%s. %s", report,
        is_back ? "A copy of the WAL is back in its place: start the server again, and it has all "
                  "rows. If rows are missing all the same, raise the revisions with 'prserv floor'"
                : "Stop all servers, and see \"Files were removed\" in the handbook "
                  "(operations.md): put the rows back, or raise the revisions with 'prserv floor'");
    if (store->options.on_loss)
        store->options.on_loss();
    return error_set(error, ERROR_STORE,
        "%s was removed or replaced while the server had it open; restart the server",
        files->paths[which]);
}

/* Returns the file that gives the trouble its name. */
static enum sqlite_file files_find_culprit(struct sqlite_files *files)
{
    for (int i = SQLITE_FILE_MAIN; i < SQLITE_FILES; i++) {
        if (!sqlite_files_is_in_place(files, (enum sqlite_file)i, NULL))
            return (enum sqlite_file)i;
    }
    return SQLITE_FILE_MAIN;
}

/* Recovers, with all stores locked. */
static int files_recover_all(struct sqlite_files *files, struct error *error)
{
    struct sqlite_store *store = files_choose_store(files);
    char reason[REASON_BYTES] = "";
    enum sqlite_file culprit;

    if (!store) {
        sqlite_files_forget(files); /* nothing is open, so nothing can be lost */
        return 0;
    }
    if (files_follow(files, store) || files_repair(files, store, reason))
        return 0;
    culprit = files_find_culprit(files);
    return files_give_up(files, store, culprit, reason, error);
}

int sqlite_files_recover(struct sqlite_store *store, struct error *error)
{
    struct sqlite_files *files = store->files;
    int result = 0;

    (void)pthread_mutex_lock(&files->mutex);
    if (atomic_load(&files->is_suspect) && !atomic_load(&files->is_lost)) {
        for (struct sqlite_store *each = files->stores; each; each = each->next)
            (void)pthread_mutex_lock(&each->busy);
        result = files_recover_all(files, error);
        if (result == 0)
            atomic_store(&files->is_suspect, false);
        for (struct sqlite_store *each = files->stores; each; each = each->next)
            (void)pthread_mutex_unlock(&each->busy);
    }
    (void)pthread_mutex_unlock(&files->mutex);
    return result;
}

/* SPDX-License-Identifier: MIT */
/* Which files SQLite has open is noted when it opens them: its VFS lets a program replace the
 * system calls that it uses, and fstat(2) follows each open(2) of one of the three files. A path is
 * then compared by stat(2). A VFS that does not make system calls (a test's disk in memory) opens
 * no file that is noted, and nothing is compared.
 *
 *     enter ── files in place ──→ entered ──→ leave
 *       └────── not in place ───→ is_suspect ──→ recover ──→ enter again, or is_lost
 *
 * Reads check the files at most once in a millisecond, which bounds the cost; no server can start,
 * open a new file and answer in that time. A transaction that writes checks them when it begins and
 * after its commit. Before its commit it checks them if nobody has in the same millisecond.
 *
 * A program that copies over the database leaves its inode as it is. But then the file's time of
 * writing changes while the index says that no checkpoint has taken place. */
#include "store/sqlite/files.h"

#include "base/clock.h"
#include "store/sqlite/file_locks.h"
#include "store/sqlite/network_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ENTER_TRIES 3
#define STRANGER_TRIES 4

typedef int (*files_open_fn)(const char *path, int flags, int mode);

/* The databases of this process. Locks belong to a process, and so does SQLite's open. */
static struct {
    pthread_mutex_t mutex; /* nothing else is locked while it is held */
    struct sqlite_files *first;
    files_open_fn open; /* SQLite's own; NULL: not replaced yet */
} registry = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- noting what SQLite opens ---- */

static void files_note_one(struct sqlite_files *files, enum sqlite_file which, int descriptor)
{
    struct sqlite_identity *opened = &files->opened[which];
    struct stat status;

    if (fstat(descriptor, &status) != 0) {
        atomic_store(&files->is_suspect, true);
        return;
    }
    if (!opened->is_known)
        *opened = (struct sqlite_identity){status.st_dev, status.st_ino, true};
    else if (opened->device != status.st_dev || opened->inode != status.st_ino)
        atomic_store(&files->is_suspect, true);
}

static void files_note(const char *path, int descriptor)
{
    (void)pthread_mutex_lock(&registry.mutex);
    for (struct sqlite_files *files = registry.first; files; files = files->next) {
        for (int i = 0; i < SQLITE_FILES; i++) {
            if (strcmp(path, files->paths[i]) == 0)
                files_note_one(files, (enum sqlite_file)i, descriptor);
        }
    }
    (void)pthread_mutex_unlock(&registry.mutex);
}

/* Opens a file for SQLite. */
static int files_open(const char *path, int flags, int mode)
{
    int descriptor = registry.open(path, flags, mode);

    if (descriptor >= 0) {
        const int code = errno;

        files_note(path, descriptor);
        errno = code;
    }
    return descriptor;
}

/* Puts files_open in the place of SQLite's open, once. The registry is locked. */
static void files_replace_open(sqlite3_vfs *vfs)
{
    if (registry.open || vfs->iVersion < 3 || !vfs->xGetSystemCall || !vfs->xSetSystemCall)
        return;
    registry.open = (files_open_fn)vfs->xGetSystemCall(vfs, "open");
    if (registry.open)
        (void)vfs->xSetSystemCall(vfs, "open", (sqlite3_syscall_ptr)files_open);
}

/* ---- joining and parting ---- */

static void files_free(struct sqlite_files *files)
{
    for (int i = 0; i < SQLITE_FILES; i++)
        free(files->paths[i]);
    (void)pthread_mutex_destroy(&files->mutex);
    (void)pthread_mutex_destroy(&files->connecting);
    free(files);
}

static struct sqlite_files *files_create(const char *path)
{
    static const char *const ends[SQLITE_FILES] = {"", "-wal", "-shm"};
    struct sqlite_files *files = calloc(1, sizeof *files);
    bool is_complete = true;
    bool is_certain;

    if (!files)
        return NULL;
    (void)pthread_mutex_init(&files->mutex, NULL);
    (void)pthread_mutex_init(&files->connecting, NULL);
    for (int i = 0; i < SQLITE_FILES; i++) {
        const size_t size = strlen(path) + 5;

        files->paths[i] = malloc(size);
        is_complete = is_complete && files->paths[i];
        if (files->paths[i])
            (void)snprintf(files->paths[i], size, "%s%s", path, ends[i]);
    }
    if (!is_complete) {
        files_free(files);
        return NULL;
    }
    files->is_network = network_fs_name(path, &is_certain) != NULL;
    return files;
}

/* Finds or creates the files of a path. The registry is locked. */
static struct sqlite_files *files_find(const char *path)
{
    struct sqlite_files *files = registry.first;

    while (files && strcmp(files->paths[SQLITE_FILE_MAIN], path) != 0)
        files = files->next;
    if (!files) {
        files = files_create(path);
        if (!files)
            return NULL;
        files->next = registry.first;
        registry.first = files;
    }
    files->n_users++;
    return files;
}

int sqlite_files_join(struct sqlite_store *store, struct error *error)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    const size_t size = vfs ? (size_t)vfs->mxPathname + 1 : 0;
    char *path = vfs ? malloc(size) : NULL;

    if (!path)
        return error_set_memory(error);
    if (vfs->xFullPathname(vfs, store->options.file, (int)size, path) > SQLITE_NOTICE)
        (void)snprintf(path, size, "%s", store->options.file); /* opening it says what is wrong */
    (void)pthread_mutex_lock(&registry.mutex);
    files_replace_open(vfs);
    store->files = files_find(path);
    (void)pthread_mutex_unlock(&registry.mutex);
    free(path);
    if (!store->files)
        return error_set_memory(error);
    (void)pthread_mutex_init(&store->busy, NULL);
    (void)pthread_mutex_lock(&store->files->mutex);
    store->next = store->files->stores;
    store->files->stores = store;
    (void)pthread_mutex_unlock(&store->files->mutex);
    return 0;
}

void sqlite_files_part(struct sqlite_store *store)
{
    struct sqlite_files *files = store->files;
    struct sqlite_store **at = &files->stores;
    struct sqlite_files **record = &registry.first;
    bool is_last;

    (void)pthread_mutex_lock(&files->mutex);
    while (*at != store)
        at = &(*at)->next;
    *at = store->next;
    (void)pthread_mutex_unlock(&files->mutex);
    (void)pthread_mutex_destroy(&store->busy);
    (void)pthread_mutex_lock(&registry.mutex);
    is_last = --files->n_users == 0;
    while (is_last && *record != files)
        record = &(*record)->next;
    if (is_last)
        *record = files->next;
    (void)pthread_mutex_unlock(&registry.mutex);
    if (is_last)
        files_free(files);
}

/* ---- checks ---- */

struct sqlite_identity sqlite_files_opened(struct sqlite_files *files, enum sqlite_file which)
{
    struct sqlite_identity opened;

    (void)pthread_mutex_lock(&registry.mutex);
    opened = files->opened[which];
    (void)pthread_mutex_unlock(&registry.mutex);
    return opened;
}

void sqlite_files_forget(struct sqlite_files *files)
{
    (void)pthread_mutex_lock(&registry.mutex);
    memset(files->opened, 0, sizeof files->opened);
    files->content.is_known = false;
    atomic_store(&files->is_proven, false);
    (void)pthread_mutex_unlock(&registry.mutex);
}

bool sqlite_files_is_in_place(struct sqlite_files *files, enum sqlite_file which, struct stat *now)
{
    const struct sqlite_identity opened = sqlite_files_opened(files, which);
    struct stat status;

    memset(&status, 0, sizeof status);
    if (stat(files->paths[which], &status) != 0)
        memset(&status, 0, sizeof status);
    if (now)
        *now = status;
    return !opened.is_known || (opened.device == status.st_dev && opened.inode == status.st_ino);
}

static bool files_is_at_rest(const struct sqlite_wal_index *index)
{
    return index->n_moved == index->n_attempted;
}

/* Returns whether no checkpoint has taken place between two readings of the index. (The number of
 * changes is less after SQLite has made the index anew; then a checkpoint moves pages again.) */
static bool files_is_same_checkpoint(
    const struct sqlite_wal_index *before, const struct sqlite_wal_index *now)
{
    return before->n_attempted == now->n_attempted && before->n_changes <= now->n_changes &&
           memcmp(before->salts, now->salts, sizeof now->salts) == 0;
}

/* Reads what the database file is now, between two equal readings of the index. Returns false while
 * a checkpoint is in progress. last: what was read before, or unknown. *is_in_place: whether the
 * path leads to the file that is open. */
static bool files_read_content(struct sqlite_files *files, struct sqlite_store *store,
    const struct sqlite_content *last, struct sqlite_content *now, bool *is_in_place)
{
    sqlite3_file *file = sqlite_wal_index_database(store->database);
    struct sqlite_wal_index again;
    struct stat status;
    bool is_at_rest;

    *now = *last;
    is_at_rest = file && sqlite_wal_index_read(store->database, &now->index) &&
                 files_is_at_rest(&now->index);
    *is_in_place = sqlite_files_is_in_place(files, SQLITE_FILE_MAIN, &status);
    if (!is_at_rest || !*is_in_place)
        return false;
    if (!last->is_known || last->written.tv_sec != status.st_mtim.tv_sec ||
        last->written.tv_nsec != status.st_mtim.tv_nsec) {
        memset(now->header, 0, sizeof now->header);
        (void)file->pMethods->xRead(file, now->header, sizeof now->header, 0);
    }
    now->written = status.st_mtim;
    now->size = status.st_size;
    now->is_known = true;
    return sqlite_wal_index_read(store->database, &again) &&
           memcmp(&again, &now->index, sizeof again) == 0;
}

/* Checks the database file, and that its path leads to it. */
static enum sqlite_overwritten files_check_main(
    struct sqlite_files *files, struct sqlite_store *store, bool *is_in_place)
{
    struct sqlite_content before;
    struct sqlite_content now;

    if (files->is_network || !store->database ||
        !sqlite_files_opened(files, SQLITE_FILE_SHM).is_known) {
        *is_in_place = sqlite_files_is_in_place(files, SQLITE_FILE_MAIN, NULL);
        return SQLITE_UNTOUCHED;
    }
    (void)pthread_mutex_lock(&registry.mutex);
    before = files->content;
    (void)pthread_mutex_unlock(&registry.mutex);
    if (!files_read_content(files, store, &before, &now, is_in_place))
        return SQLITE_UNTOUCHED;
    if (before.is_known && files_is_same_checkpoint(&before.index, &now.index) &&
        (before.written.tv_sec != now.written.tv_sec ||
            before.written.tv_nsec != now.written.tv_nsec))
        return before.size == now.size && memcmp(before.header, now.header, sizeof now.header) == 0
                   ? SQLITE_TOUCHED
                   : SQLITE_OVERWRITTEN;
    (void)pthread_mutex_lock(&registry.mutex);
    files->content = now;
    (void)pthread_mutex_unlock(&registry.mutex);
    return SQLITE_UNTOUCHED;
}

enum sqlite_overwritten sqlite_files_compare_content(
    struct sqlite_files *files, struct sqlite_store *store)
{
    bool ignored;

    return files_check_main(files, store, &ignored);
}

/* Returns whether the files are those that are open, and sets is_suspect if not. */
static bool files_are_in_place(struct sqlite_store *store)
{
    struct sqlite_files *files = store->files;
    const uint64_t now_ms = clock_ms();
    bool result = true;
    bool is_main_in_place;

    for (int i = SQLITE_FILE_WAL; i < SQLITE_FILES && result; i++)
        result = sqlite_files_is_in_place(files, (enum sqlite_file)i, NULL);
    result = result && files_check_main(files, store, &is_main_in_place) == SQLITE_UNTOUCHED &&
             is_main_in_place;
    if (!result)
        atomic_store(&files->is_suspect, true);
    else if (store->database) /* otherwise the content was not compared */
        atomic_store(&files->checked_ms, now_ms);
    return result && !atomic_load(&files->is_suspect);
}

/* The same, unless they were checked in this millisecond. */
static bool files_are_probably_in_place(struct sqlite_store *store)
{
    if (atomic_load(&store->files->is_suspect))
        return false;
    return atomic_load(&store->files->checked_ms) == clock_ms() || files_are_in_place(store);
}

/* Fails if the files are not in place. */
static int files_report(const struct sqlite_store *store, bool are_in_place, struct error *error)
{
    if (are_in_place)
        return 0;
    return error_set(error, ERROR_LOCKED,
        "the files of the database %s were removed or replaced while the server had them open",
        store->options.file);
}

int sqlite_files_check(struct sqlite_store *store, struct error *error)
{
    return files_report(store, files_are_in_place(store), error);
}

int sqlite_files_check_lately(struct sqlite_store *store, struct error *error)
{
    return files_report(store, files_are_probably_in_place(store), error);
}

/* ---- entering and leaving ---- */

static int files_say_lost(struct sqlite_store *store, struct error *error)
{
    return error_set(error, ERROR_STORE,
        "the files of the database %s were removed or replaced while the server had them open; "
        "restart the server",
        store->options.file);
}

int sqlite_files_enter(
    struct sqlite_store *store, enum store_blocking blocking, struct error *error)
{
    for (int tries = 0; tries < ENTER_TRIES; tries++) {
        int result;

        if (blocking == STORE_BLOCK)
            (void)pthread_mutex_lock(&store->busy);
        else if (pthread_mutex_trylock(&store->busy) != 0)
            break;
        store->is_entered = true;
        if (!atomic_load(&store->files->is_lost) &&
            (blocking == STORE_NONBLOCK ? files_are_probably_in_place(store)
                                        : files_are_in_place(store)))
            return 0;
        sqlite_files_leave(store);
        if (blocking == STORE_NONBLOCK)
            break;
        if (atomic_load(&store->files->is_lost))
            return files_say_lost(store, error);
        result = sqlite_files_recover(store, error);
        if (result != 0)
            return result;
    }
    return error_set(error, ERROR_LOCKED, "the files of %s are being checked", store->options.file);
}

int sqlite_files_enter_again(struct sqlite_store *store, struct error *error)
{
    if (store->is_entered)
        return 0;
    (void)pthread_mutex_lock(&store->busy);
    store->is_entered = true;
    if (!store->was_closed && files_are_probably_in_place(store))
        return 0;
    sqlite_files_leave(store);
    return error_set(error, ERROR_STORE,
        "the files of the database %s were removed or replaced meanwhile; try again",
        store->options.file);
}

void sqlite_files_leave(struct sqlite_store *store)
{
    if (!store->is_entered)
        return;
    store->is_entered = false;
    (void)pthread_mutex_unlock(&store->busy);
}

/* ---- opening ---- */

int sqlite_files_check_before_open(struct sqlite_store *store, struct error *error)
{
    const char *const *paths = (const char *const *)store->files->paths;
    struct stat status;

    if (sqlite_files_opened(store->files, SQLITE_FILE_MAIN).is_known)
        return 0; /* another store has it open, and sqlite_files_check looks after it */
    if (stat(paths[SQLITE_FILE_MAIN], &status) == 0 && status.st_size > 0)
        return 0;
    if (stat(paths[SQLITE_FILE_WAL], &status) != 0 || status.st_size == 0)
        return 0;
    return error_set(error, ERROR_STORE,
        "the database %s is missing or empty, but %s holds rows of it: put the database back, or "
        "move that file away to begin with a new one",
        store->options.file, paths[SQLITE_FILE_WAL]);
}

/* Returns a process that uses some of the files that are open, but not all of them; 0: none. A
 * process that opens or closes them looks like that for a moment, so this tries some times. */
static pid_t files_find_stranger(struct sqlite_files *files)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    const struct sqlite_identity main = sqlite_files_opened(files, SQLITE_FILE_MAIN);
    const struct sqlite_identity wal = sqlite_files_opened(files, SQLITE_FILE_WAL);
    const struct sqlite_identity shm = sqlite_files_opened(files, SQLITE_FILE_SHM);
    struct sqlite_locks_files open = {.wal_device = wal.device, .wal_inode = wal.inode};
    pid_t stranger;

    if (!main.is_known || !wal.is_known || !shm.is_known)
        return 0;
    open.descriptor = sqlite_locks_descriptor(main.device, main.inode);
    open.shm_descriptor = sqlite_locks_descriptor(shm.device, shm.inode);
    if (open.descriptor < 0 || open.shm_descriptor < 0)
        return 0;
    stranger = sqlite_locks_find_stranger(&open);
    for (int i = 0; i < STRANGER_TRIES && stranger != 0; i++) {
        (void)nanosleep(&pause, NULL);
        stranger = sqlite_locks_find_stranger(&open);
    }
    return stranger;
}

/* Returns whether the WAL that is open lacks rows that the index says it has. A commit between two
 * readings can look like that once. */
static bool files_lacks_rows(struct sqlite_store *store)
{
    struct sqlite_wal_index index;

    if (!sqlite_files_opened(store->files, SQLITE_FILE_WAL).is_known)
        return false;
    for (int tries = 0; tries < ENTER_TRIES; tries++) {
        if (!sqlite_wal_index_read(store->database, &index) || index.n_moved >= index.n_frames ||
            sqlite_wal_index_matches(store->database, &index))
            return false;
    }
    return true;
}

int sqlite_files_check_after_open(struct sqlite_store *store, struct error *error)
{
    const pid_t stranger = files_find_stranger(store->files);

    if (stranger != 0)
        return error_set(error, ERROR_LOCKED,
            "another process (%ld) does not share the database %s, its -wal and its -shm as they "
            "are now: they were removed or replaced, or it has lost its locks; stop that process",
            (long)stranger, store->options.file);
    if (files_lacks_rows(store))
        return error_set(error, ERROR_LOCKED,
            "%s-wal was removed or replaced while another process had it open; stop all processes "
            "that use the database (fuser lists them)",
            store->options.file);
    atomic_store(&store->files->is_proven, true);
    return 0;
}

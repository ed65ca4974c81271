/* SPDX-License-Identifier: MIT */
/* Copies of the files that SQLite has open, in a new folder FILE-salvage-TIME beside the database.
 *
 * They are read through SQLite's own descriptors, because the names lead elsewhere and closing
 * another descriptor would drop the process' locks. The WAL comes first: on a full disk it is what
 * counts, because it holds the newest rows. Meanwhile a read transaction keeps other processes from
 * overwriting it. What can't be copied in full is removed again. */
#include "base/error.h"
#include "base/folder.h"
#include "store/sqlite/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE_BYTES 65536
#define MAX_TRIES 100 /* of names for the folder */

/* Makes a folder that did not exist. Returns false, and sets errno, if that fails. */
static bool salvage_make_folder(const char *database, char folder[PATH_MAX])
{
    const time_t now = time(NULL);
    struct tm parts;
    char stamp[32];

    (void)gmtime_r(&now, &parts);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &parts);
    for (int i = 1; i <= MAX_TRIES; i++) {
        int length = i == 1 ? snprintf(folder, PATH_MAX, "%s-salvage-%s", database, stamp)
                            : snprintf(folder, PATH_MAX, "%s-salvage-%s-%d", database, stamp, i);

        if (length >= PATH_MAX) {
            errno = ENAMETOOLONG;
            return false;
        }
        if (mkdir(folder, 0777) == 0)
            return true;
        if (errno != EEXIST)
            return false;
    }
    return false;
}

static bool salvage_write(int descriptor, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(descriptor, bytes, n);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        bytes += written;
        n -= (size_t)written;
    }
    return true;
}

/* Returns the length of the bytes without the zeros at their end. */
static size_t salvage_length(const char *bytes, size_t n)
{
    while (n > 0 && bytes[n - 1] == 0)
        n--;
    return n;
}

/* Copies what SQLite has open to a descriptor. Zeros take no space: a WAL has many at its end. */
static bool salvage_copy_to(sqlite3_file *from, int descriptor)
{
    char piece[PIECE_BYTES];
    sqlite3_int64 size = 0;

    if (from->pMethods->xFileSize(from, &size) != SQLITE_OK) {
        errno = EIO;
        return false;
    }
    for (sqlite3_int64 at = 0; at < size; at += PIECE_BYTES) {
        int n = size - at < PIECE_BYTES ? (int)(size - at) : PIECE_BYTES;

        if (from->pMethods->xRead(from, piece, n, at) != SQLITE_OK) {
            errno = EIO;
            return false;
        }
        if (!salvage_write(descriptor, piece, salvage_length(piece, (size_t)n)) ||
            lseek(descriptor, at + n, SEEK_SET) < 0)
            return false;
    }
    return ftruncate(descriptor, size) == 0 && fsync(descriptor) == 0;
}

/* Copies an open file to a new one. Returns false, and sets errno, if that fails. */
static bool salvage_copy(sqlite3_file *from, const char *path)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int code;
    bool is_complete;

    if (descriptor < 0)
        return false;
    is_complete = salvage_copy_to(from, descriptor);
    code = errno;
    if (close(descriptor) != 0 && is_complete) {
        is_complete = false;
        code = errno;
    }
    if (!is_complete)
        (void)unlink(path);
    errno = code;
    return is_complete;
}

bool sqlite_salvage_to(sqlite3_file *from, const char *path, bool replace)
{
    char aside[PATH_MAX];
    char *slash;

    if (!from ||
        snprintf(aside, sizeof aside, "%s-salvage-%ld", path, (long)getpid()) >= (int)sizeof aside)
        return false;
    if (!salvage_copy(from, aside))
        return false;
    if (replace ? rename(aside, path) != 0 : link(aside, path) != 0) {
        (void)unlink(aside);
        return false;
    }
    if (!replace)
        (void)unlink(aside);
    slash = strrchr(aside, '/');
    if (slash) {
        *slash = '\0';
        (void)folder_sync(aside);
    }
    return true;
}

static void salvage_explain(const char *folder, const char *database, const char *reason)
{
    char path[PATH_MAX];
    int descriptor;

    if (snprintf(path, sizeof path, "%s/README", folder) >= (int)sizeof path)
        return;
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0)
        return;
    (void)dprintf(descriptor,
        "prservd made these copies of %s and of its -wal, as it had them open, because they were\n"
        "removed or replaced: %s.\n\n"
        "The rows of both files count. 'prserv verify' on the copy of the database reads both, "
        "and\n"
        "'prserv migrate' adds its rows to another database while no server runs. Packages whose\n"
        "last rows may be missing are raised with 'prserv floor'. doc/operations.md has the "
        "steps:\n"
        "\"Files were removed\".\n",
        database, reason);
    (void)close(descriptor);
}

/* Copies one of the files, or moves it if it is in its place and take is true. Describes the error
 * in problem. */
static bool salvage_one(struct sqlite_store *store, const char *folder, enum sqlite_file which,
    bool take, char *problem, size_t size)
{
    sqlite3_file *from = which == SQLITE_FILE_MAIN ? sqlite_wal_index_database(store->database)
                                                   : sqlite_wal_index_wal(store->database);
    const char *source = store->files->paths[which];
    const char *slash = strrchr(source, '/');
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/%s", folder, slash ? slash + 1 : source) >=
        (int)sizeof path)
        return false;
    if (take && sqlite_files_is_in_place(store->files, which, NULL) && rename(source, path) == 0)
        return true;
    if (from && salvage_copy(from, path))
        return true;
    (void)snprintf(problem, size, "%s can't be copied (%s)", source,
        from ? strerror(errno) : "it is not open");
    return false;
}

/* Begins to read, so that others neither move what the WAL holds nor overwrite it. */
static void salvage_hold_wal(struct sqlite_store *store)
{
    sqlite_end_transaction(store);
    sqlite3_progress_handler(store->database, 0, NULL, NULL);
    store->lock_until_ms = 0;
    (void)sqlite3_exec(store->database, "BEGIN; PRAGMA user_version", NULL, NULL, NULL);
}

void sqlite_salvage(
    struct sqlite_store *store, const char *reason, bool take_wal, char *report, size_t size)
{
    const char *database = store->files->paths[SQLITE_FILE_MAIN];
    char folder[PATH_MAX];
    char problem[256] = "";
    bool has_wal;
    bool has_database;

    if (!salvage_make_folder(database, folder)) {
        (void)snprintf(report, size,
            "Nothing could be saved: the folder %s can't be made (%s). Copy %s and its -wal",
            folder, strerror(errno), database);
        return;
    }
    salvage_hold_wal(store);
    has_wal = salvage_one(store, folder, SQLITE_FILE_WAL, take_wal, problem, sizeof problem);
    has_database = salvage_one(store, folder, SQLITE_FILE_MAIN, false, problem, sizeof problem);
    salvage_explain(folder, database, reason);
    (void)folder_sync(folder);
    (void)sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
    (void)snprintf(report, size, "%s%s%s%s are in %s%s%s", has_database ? "The database" : "",
        has_database && has_wal ? " and " : "",
        has_wal ? (has_database ? "its -wal" : "The rows of its -wal") : "",
        has_database || has_wal ? ", as the server had them open," : "No files", folder,
        problem[0] ? "; " : "", problem);
}

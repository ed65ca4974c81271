/* SPDX-License-Identifier: MIT */
/* The files of a database: the database itself, -wal and -shm, as this process has them open.
 *
 * All stores of a process on one database share a struct sqlite_files, as SQLite shares the locks
 * and the memory of -shm. A store is entered before it uses its connection, and left afterwards;
 * whoever holds all stores may close their connections. */
#ifndef PRSERVD_SQLITE_FILES_H
#define PRSERVD_SQLITE_FILES_H

#include "store/sqlite/sqlite.h"
#include "store/sqlite/wal_index.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum sqlite_file { SQLITE_FILE_MAIN, SQLITE_FILE_WAL, SQLITE_FILE_SHM, SQLITE_FILES };

/* What stat(2) said about a file when it was opened. */
struct sqlite_identity {
    dev_t device;
    ino_t inode;
    bool is_known; /* SQLite has opened the file */
};

#define SQLITE_HEADER_BYTES 100 /* at the start of a database; a change of its size changes it */

/* The database file when no checkpoint was in progress. */
struct sqlite_content {
    struct sqlite_wal_index index;
    struct timespec written; /* mtime */
    off_t size;
    uint8_t header[SQLITE_HEADER_BYTES];
    bool is_known;
};

struct sqlite_files {
    struct sqlite_files *next;
    char *paths[SQLITE_FILES];
    unsigned n_users;                            /* guarded by the registry, like what follows */
    struct sqlite_identity opened[SQLITE_FILES]; /* of the first opening */
    struct sqlite_content content;
    pthread_mutex_t connecting;  /* held while a connection is opened; locked after a store */
    atomic_bool is_proven;       /* by the first connection: others use the same files */
    pthread_mutex_t mutex;       /* guards stores; whoever recovers holds it */
    struct sqlite_store *stores; /* linked by next */
    atomic_bool is_suspect;      /* a check has failed: recover before anything else */
    atomic_bool is_lost;         /* recovering failed: nothing works any more */
    atomic_ullong checked_ms;    /* when the last complete check began */
    bool is_network;             /* the times of the files mean little; constant */
};

/* ---- files.c ---- */

/* Joins the store to the files of its database. *error is set if that fails. */
ERROR_MUST_CHECK int sqlite_files_join(struct sqlite_store *store, struct error *error);

/* The reverse, after the connection was closed. */
void sqlite_files_part(struct sqlite_store *store);

/* Enters the store, so that its connection may be used. If the files are not those that are open,
 * recovers first, or fails with ERROR_LOCKED if that would take waiting. ERROR_STORE: the rows in
 * the files can't be relied upon any more. With STORE_NONBLOCK the files are checked once in a
 * millisecond. */
ERROR_MUST_CHECK int sqlite_files_enter(
    struct sqlite_store *store, enum store_blocking blocking, struct error *error);

/* Enters the store to go on with its transaction, unless it is entered. Fails with ERROR_STORE if
 * the files have changed since that began. */
ERROR_MUST_CHECK int sqlite_files_enter_again(struct sqlite_store *store, struct error *error);

/* Leaves the store. Allowed if it was not entered. */
void sqlite_files_leave(struct sqlite_store *store);

/* Inside an entered store: fails with ERROR_LOCKED if the files are not those that are open. The
 * next sqlite_files_enter recovers. */
ERROR_MUST_CHECK int sqlite_files_check(struct sqlite_store *store, struct error *error);

/* The same, but they are not checked again in the same millisecond. */
ERROR_MUST_CHECK int sqlite_files_check_lately(struct sqlite_store *store, struct error *error);

/* Before a connection is opened: refuses a missing database beside a WAL with rows, which SQLite
 * would delete. */
ERROR_MUST_CHECK int sqlite_files_check_before_open(
    struct sqlite_store *store, struct error *error);

/* After the first connection was opened and has read: fails with ERROR_LOCKED if another process
 * uses other files of this database; is_proven is true otherwise. */
ERROR_MUST_CHECK int sqlite_files_check_after_open(struct sqlite_store *store, struct error *error);

/* Returns what stat says about the file when it was opened. */
struct sqlite_identity sqlite_files_opened(struct sqlite_files *files, enum sqlite_file which);

/* Returns whether the path leads to the file that is open. *now: what is there; NULL allowed. */
bool sqlite_files_is_in_place(struct sqlite_files *files, enum sqlite_file which, struct stat *now);

/* Whether another program wrote to the database file without SQLite. */
enum sqlite_overwritten {
    SQLITE_UNTOUCHED,
    SQLITE_TOUCHED, /* its time has changed, but neither its size nor its header */
    SQLITE_OVERWRITTEN,
};

enum sqlite_overwritten sqlite_files_compare_content(
    struct sqlite_files *files, struct sqlite_store *store);

/* Forgets the files that were opened. All connections are closed. */
void sqlite_files_forget(struct sqlite_files *files);

/* ---- files_recover.c ---- */

/* Closes all connections, after moving what a removed WAL holds to the database; they are opened
 * again when they are used. If that can't be done without a loss, saves the files and calls
 * options.on_loss; ERROR_STORE if that returns. No store is entered by the calling thread. */
ERROR_MUST_CHECK int sqlite_files_recover(struct sqlite_store *store, struct error *error);

/* ---- salvage.c ---- */

/* Copies the database and its WAL, as the store has them open, to a new folder beside them. With
 * take_wal, the WAL is also taken away from its place: what is there now is another database, and
 * SQLite would add the rows to it. report: what was saved and where, or why not. */
void sqlite_salvage(
    struct sqlite_store *store, const char *reason, bool take_wal, char *report, size_t size);

/* Copies a file that SQLite has open to this path, in whole or not at all. What is there is kept
 * unless replace is true. */
bool sqlite_salvage_to(sqlite3_file *from, const char *path, bool replace);

#endif

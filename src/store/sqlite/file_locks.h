/* SPDX-License-Identifier: MIT */
/* What other processes' locks tell about who has a database open. Asked through descriptors that
 * SQLite has open: closing another one would drop all locks of this process. */
#ifndef PRSERVD_SQLITE_FILE_LOCKS_H
#define PRSERVD_SQLITE_FILE_LOCKS_H

#include <stdbool.h>
#include <sys/types.h>

#define SQLITE_LOCKS_UNKNOWN (-1) /* can't be found out, or in another PID namespace */

/* Returns a descriptor of this process for the file; -1 if it has none, or /proc is missing. */
int sqlite_locks_descriptor(dev_t device, ino_t inode);

/* Returns another process that has the database open in WAL mode, 0 if there is none, or
 * SQLITE_LOCKS_UNKNOWN. descriptor: of the database file. */
pid_t sqlite_locks_find_user(int descriptor);

/* The same for processes that use this -shm. */
pid_t sqlite_locks_find_shm_user(int descriptor);

/* The files of a database that this process has open. */
struct sqlite_locks_files {
    int descriptor;
    int shm_descriptor;
    dev_t wal_device;
    ino_t wal_inode;
};

/* Returns another process that uses some of these files and other ones in place of the rest; 0 if
 * there is none. A process that opens or closes them looks like that for a moment. */
pid_t sqlite_locks_find_stranger(const struct sqlite_locks_files *files);

/* Returns whether a process of this PID namespace uses the -shm with this inode. */
bool sqlite_locks_is_shm_used(ino_t inode);

/* Keeps other processes from opening the database until a descriptor of its file is closed, or
 * until sqlite_locks_let_in. Returns false if one is just doing it. */
bool sqlite_locks_keep_out(int descriptor);
void sqlite_locks_let_in(int descriptor);

#endif

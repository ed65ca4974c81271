/* SPDX-License-Identifier: MIT */
/* Names the processes that hold locks of an SQLite database, as far as /proc tells. Nothing is
 * opened but files in /proc. */
#ifndef PRSERVD_SQLITE_LOCK_HOLDER_H
#define PRSERVD_SQLITE_LOCK_HOLDER_H

#include <stddef.h>

#define LOCK_HOLDER_BYTES 200

/* Names the other processes that keep this database from being written: "sqlite3
 * (process 1234)". "" if that can't be told. */
void sqlite_lock_holder_find_writer(const char *file, char names[LOCK_HOLDER_BYTES]);

/* Names the other processes that read from the WAL now. */
void sqlite_lock_holder_find_readers(const char *file, char names[LOCK_HOLDER_BYTES]);

#endif

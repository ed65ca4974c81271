/* SPDX-License-Identifier: MIT */
/* The state of a WAL, as its index in -shm describes it (SQLite's walformat.html). Everything is
 * read through SQLite's own descriptors: closing another one would drop the process' locks. */
#ifndef PRSERVD_SQLITE_WAL_INDEX_H
#define PRSERVD_SQLITE_WAL_INDEX_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

struct sqlite_wal_index {
    uint32_t n_changes; /* counts commits; 0 after SQLite has made the index anew */
    uint32_t n_frames;  /* committed */
    uint32_t page_bytes;
    uint32_t checksums[2]; /* of the last frame */
    uint8_t salts[8];      /* another one each time the WAL starts from its beginning */
    uint32_t n_moved;      /* frames that a checkpoint has moved to the database */
    uint32_t n_attempted;  /* greater while one moves them, and after one that failed */
};

/* Returns a connection's file: the database, or its WAL. NULL if it is not open. */
sqlite3_file *sqlite_wal_index_database(sqlite3 *database);
sqlite3_file *sqlite_wal_index_wal(sqlite3 *database);

/* Reads the index. Returns false if the connection has no WAL, or while the index changes. */
bool sqlite_wal_index_read(sqlite3 *database, struct sqlite_wal_index *index);

/* Returns whether the index describes a WAL that was begun after the one that the connection has
 * open: nobody begins one before all rows of the last were moved. */
bool sqlite_wal_index_is_newer(sqlite3 *database, const struct sqlite_wal_index *index);

/* Returns whether the WAL that the connection has open is the one that the index describes. */
bool sqlite_wal_index_matches(sqlite3 *database, const struct sqlite_wal_index *index);

#endif

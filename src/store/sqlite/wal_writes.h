/* SPDX-License-Identifier: MIT */
/* The writes of one connection to its WAL, joined: SQLite writes each frame in two calls, a header
 * and a page. They are collected, and written together before anybody can look for them.
 *
 * Only the connection's thread calls these functions. */
#ifndef PRSERVD_SQLITE_WAL_WRITES_H
#define PRSERVD_SQLITE_WAL_WRITES_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SQLite's unix VFS can't write 128 KiB or more at once: it reports that the disk is full. */
#define WAL_WRITES_MAX_BYTES (128 * 1024 - 1)

struct wal_writes {
    sqlite3_file *file;
    const sqlite3_io_methods *usual; /* the methods that write to the file */
    uint8_t *bytes;                  /* what was collected; NULL: nothing yet */
    size_t n;
    sqlite3_int64 offset; /* of the first of bytes in the file */
    sqlite3_int64 end;    /* behind the last write of this transaction */
    sqlite3_int64 size;   /* of the file, as far as it is known; never less than that */
    bool is_commit;       /* the last write is the header of the frame that commits */
    int failed;           /* the code of a write that failed in this transaction; 0: none */
    sqlite3_int64 lost;   /* where that write began */
};

/* file: of the WAL, open; kept until wal_writes_close. */
void wal_writes_open(
    struct wal_writes *writes, sqlite3_file *file, const sqlite3_io_methods *usual);

/* Writes what was collected, and frees the memory. The file is still open. */
void wal_writes_close(struct wal_writes *writes);

/* Writes, now or with one of the next calls. When the page of the frame that commits was added, all
 * of the transaction has been written. Returns SQLite's code, also for an earlier write that failed
 * in this transaction. */
int wal_writes_add(struct wal_writes *writes, const void *data, int size, sqlite3_int64 offset);

/* Writes what was collected. Returns SQLite's code, also for an earlier write that failed in this
 * transaction. */
int wal_writes_flush(struct wal_writes *writes);

/* Writes what was collected, and extends the file if this transaction has made it longer. A failure
 * to extend it does no harm. Returns SQLite's code, as wal_writes_flush does. */
int wal_writes_prepare_sync(struct wal_writes *writes);

/* Makes the bytes of a range readable in the file. Returns SQLite's code if they can't be. */
int wal_writes_prepare_read(struct wal_writes *writes, int size, sqlite3_int64 offset);

/* Notes that the transaction has ended: others may write to the WAL now. After a failure, SQLite
 * has rolled it back. */
void wal_writes_end_transaction(struct wal_writes *writes);

#endif

/* SPDX-License-Identifier: MIT */
/* The file that remembers the mark of a database: FILE-mark beside an SQLite database, a file in
 * --state-dir for PostgreSQL.
 *
 * The file is never ahead of what the database has on its disk, and its counter only grows. Several
 * servers may share it. All functions may be called on any thread. */
#ifndef PRSERVD_MARK_FILE_H
#define PRSERVD_MARK_FILE_H

#include "base/error.h"
#include "base/log.h"
#include "store/mark.h"

#include <stdbool.h>
#include <stdint.h>

#define MARK_MACHINE_BYTES 40

struct mark_file;

/* The machine that has a database on a network file system open. */
struct mark_owner {
    char machine[MARK_MACHINE_BYTES]; /* machine-id; empty: none has it open */
    char boot[MARK_MACHINE_BYTES];    /* the machine's boot_id */
};

/* What the file holds. */
struct mark_record {
    struct mark mark;
    struct mark_owner owner;
    int64_t time_s; /* when it was written, since 1970 */
};

enum mark_file_state {
    MARK_FILE_MISSING,
    MARK_FILE_VALID,
    MARK_FILE_INVALID,  /* it exists, but holds no valid record */
    MARK_FILE_UNUSABLE, /* it can't be read, or may not be written; the system's errno says why */
};

/* Creates the object, not the file. The path is copied, the log borrowed. */
ERROR_MUST_CHECK int mark_file_create(
    struct mark_file **file, const char *path, struct log *log, struct error *error);

/* Writes what is left to write, and frees the object. NULL is allowed. */
void mark_file_free(struct mark_file *file);

const char *mark_file_path(const struct mark_file *file);

/* Reads the file. record is set only if the file is valid. */
enum mark_file_state mark_file_read(const struct mark_file *file, struct mark_record *record);

/* Says what the file holds already, instead of mark_file_put. */
void mark_file_adopt(struct mark_file *file, const struct mark *mark);

/* Sets the owner that the next writes name. */
void mark_file_set_owner(struct mark_file *file, const struct mark_owner *owner);

/* Remembers a mark: writes and syncs the file at once, also if it belongs to another database. A
 * greater counter of the same database stays. If that fails, a warning is logged once and false is
 * returned; the server goes on without the file. */
bool mark_file_put(struct mark_file *file, const struct mark *mark);

/* Notes a counter that is durable in the database; the file gets it later. Waits for nothing. One
 * thread at a time, not at the same time as mark_file_put. */
void mark_file_advance(struct mark_file *file, int64_t counter);

/* Returns whether mark_file_write has something to do: there is a counter to write, and the last
 * write was at least a second ago. */
bool mark_file_is_due(struct mark_file *file);

/* Writes the last counter that was noted, without a sync: after a power failure the file may be
 * older, but that does no harm. A file that belongs to another database by now is left alone. */
void mark_file_write(struct mark_file *file);

#endif

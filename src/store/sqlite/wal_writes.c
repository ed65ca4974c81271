/* SPDX-License-Identifier: MIT */
/* A transaction appends its frames to the WAL, one behind the other, and the last one says that it
 * commits. So what is written at the end of the last write is copied to a buffer, and written when
 * the buffer is full or the last frame is complete. Any other write (SQLite writes a page of this
 * transaction again, or the header of the file) is made at once, behind those that were collected.
 *
 * SQLite puts frames into the index only after it has written them; readers follow the index up to
 * the last frame that commits. The buffer never keeps such a frame, so readers find all of theirs.
 *
 * SQLite believes that a collected write has succeeded. If it fails later, the transaction must not
 * commit: all further writes and syncs fail with the same code, until the transaction has ended.
 *
 * A sync of a file that has grown writes its size as well, which takes about as long as the pages
 * of a small transaction. So before a sync, the file gets zeros for the next transactions. They are
 * no frames: a frame repeats two numbers of the file's header. (Allocating the space is not enough:
 * the first write to it changes the file's list of blocks.) */
#include "store/sqlite/wal_writes.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_HEADER_BYTES 24
#define COMMIT_AT 4 /* in the header of a frame: the size of the database, if the frame commits */
#define COMMIT_BYTES 4
#define EXTEND_BYTES ((sqlite3_int64)1024 * 1024)

void wal_writes_open(struct wal_writes *writes, sqlite3_file *file, const sqlite3_io_methods *usual)
{
    *writes = (struct wal_writes){.file = file, .usual = usual};
}

void wal_writes_close(struct wal_writes *writes)
{
    (void)wal_writes_flush(writes);
    free(writes->bytes);
    writes->bytes = NULL;
}

/* Writes to the file, and remembers a failure. */
static int wal_writes_write(
    struct wal_writes *writes, const void *data, int size, sqlite3_int64 offset)
{
    const int code = writes->usual->xWrite(writes->file, data, size, offset);

    if (code != SQLITE_OK) {
        writes->failed = code;
        writes->lost = offset;
    }
    return code;
}

int wal_writes_flush(struct wal_writes *writes)
{
    const size_t n = writes->n;

    writes->n = 0;
    if (n == 0 || writes->failed != SQLITE_OK)
        return writes->failed;
    return wal_writes_write(writes, writes->bytes, (int)n, writes->offset);
}

/* Returns whether the write may be collected. */
static bool wal_writes_can_keep(struct wal_writes *writes, int size, sqlite3_int64 offset)
{
    if (offset == 0 || offset < writes->end || size > WAL_WRITES_MAX_BYTES)
        return false;
    if (!writes->bytes)
        writes->bytes = malloc(WAL_WRITES_MAX_BYTES);
    return writes->bytes != NULL;
}

static bool wal_writes_is_commit(const uint8_t *data, int size)
{
    static const uint8_t none[COMMIT_BYTES];

    return size == FRAME_HEADER_BYTES && memcmp(data + COMMIT_AT, none, sizeof none) != 0;
}

int wal_writes_add(struct wal_writes *writes, const void *data, int size, sqlite3_int64 offset)
{
    const bool can_keep = wal_writes_can_keep(writes, size, offset);
    const bool is_next = writes->n > 0 && offset == writes->offset + (sqlite3_int64)writes->n;
    const bool ends_transaction = writes->is_commit;
    int code = writes->failed;

    if (!can_keep || !is_next || writes->n + (size_t)size > WAL_WRITES_MAX_BYTES)
        code = wal_writes_flush(writes);
    if (code != SQLITE_OK)
        return code;
    writes->is_commit = wal_writes_is_commit(data, size);
    if (offset + size > writes->end)
        writes->end = offset + size;
    if (offset == 0)
        writes->size = 0; /* the WAL starts again, and others may have cut it */
    if (!can_keep)
        return wal_writes_write(writes, data, size, offset);
    if (writes->n == 0)
        writes->offset = offset;
    memcpy(writes->bytes + writes->n, data, (size_t)size);
    writes->n += (size_t)size;
    return ends_transaction ? wal_writes_flush(writes) : SQLITE_OK;
}

/* Writes zeros from one offset to another. Nothing is collected. */
static int wal_writes_fill(struct wal_writes *writes, sqlite3_int64 from, sqlite3_int64 to)
{
    int code = SQLITE_OK;

    memset(writes->bytes, 0, WAL_WRITES_MAX_BYTES);
    while (code == SQLITE_OK && from < to) {
        const int size = to - from < WAL_WRITES_MAX_BYTES ? (int)(to - from) : WAL_WRITES_MAX_BYTES;

        code = writes->usual->xWrite(writes->file, writes->bytes, size, from);
        from += size;
    }
    return code;
}

int wal_writes_prepare_sync(struct wal_writes *writes)
{
    const int code = wal_writes_flush(writes);
    sqlite3_int64 size = 0;

    if (code != SQLITE_OK || writes->end <= writes->size || !writes->bytes)
        return code;
    writes->size = (writes->end / EXTEND_BYTES + 1) * EXTEND_BYTES;
    if (writes->usual->xFileSize(writes->file, &size) != SQLITE_OK || size < writes->end)
        return SQLITE_OK;
    if (size >= writes->size)
        writes->size = size;
    else if (wal_writes_fill(writes, size, writes->size) != SQLITE_OK)
        (void)writes->usual->xTruncate(writes->file, size);
    return SQLITE_OK;
}

int wal_writes_prepare_read(struct wal_writes *writes, int size, sqlite3_int64 offset)
{
    const sqlite3_int64 end = offset + size;

    if (writes->n > 0 && end > writes->offset)
        (void)wal_writes_flush(writes);
    return writes->failed != SQLITE_OK && end > writes->lost ? writes->failed : SQLITE_OK;
}

void wal_writes_end_transaction(struct wal_writes *writes)
{
    (void)wal_writes_flush(writes);
    writes->failed = SQLITE_OK;
    writes->end = 0;
}

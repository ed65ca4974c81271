/* SPDX-License-Identifier: MIT */
/* The index begins with two copies of its header, 48 bytes each, and the state of checkpoints:
 *
 *     8 changes  16 frames  14 size of a page  24 checksums of the last frame  32 salts
 *     96 frames moved  128 frames that a checkpoint wanted to move
 *
 * Numbers are in the byte order of the machine; the WAL has them with the high byte first. */
#include "store/sqlite/wal_index.h"

#include <string.h>

#define HEADER_BYTES 48
#define REGION_BYTES 32768 /* SQLite maps the index in pieces of this size */
#define WAL_HEADER_BYTES 32
#define FRAME_HEADER_BYTES 24

static sqlite3_file *wal_index_file(sqlite3 *database, int which)
{
    sqlite3_file *file = NULL;

    if (sqlite3_file_control(database, "main", which, &file) != SQLITE_OK)
        return NULL;
    return file && file->pMethods ? file : NULL;
}

sqlite3_file *sqlite_wal_index_database(sqlite3 *database)
{
    return wal_index_file(database, SQLITE_FCNTL_FILE_POINTER);
}

sqlite3_file *sqlite_wal_index_wal(sqlite3 *database)
{
    return wal_index_file(database, SQLITE_FCNTL_JOURNAL_POINTER);
}

/* Returns the beginning of the index, which is mapped already: the connection has a WAL. */
static const volatile uint8_t *wal_index_map(sqlite3 *database)
{
    sqlite3_file *file = sqlite_wal_index_database(database);
    void volatile *region = NULL;

    if (!file || !sqlite_wal_index_wal(database) || file->pMethods->iVersion < 2 ||
        !file->pMethods->xShmMap)
        return NULL;
    if (file->pMethods->xShmMap(file, 0, REGION_BYTES, 0, &region) != SQLITE_OK)
        return NULL;
    return region;
}

static void wal_index_copy(uint8_t *to, const volatile uint8_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = from[i];
}

static uint32_t wal_index_number(const volatile uint8_t *from)
{
    uint8_t bytes[4];
    uint32_t number;

    wal_index_copy(bytes, from, sizeof bytes);
    memcpy(&number, bytes, sizeof number);
    return number;
}

bool sqlite_wal_index_read(sqlite3 *database, struct sqlite_wal_index *index)
{
    const volatile uint8_t *at = wal_index_map(database);
    uint8_t header[HEADER_BYTES];
    uint8_t again[HEADER_BYTES];
    uint16_t page;

    if (!at)
        return false;
    wal_index_copy(header, at, sizeof header);
    wal_index_copy(again, at + HEADER_BYTES, sizeof again);
    if (memcmp(header, again, sizeof header) != 0)
        return false;
    memcpy(&page, header + 14, sizeof page);
    memset(index, 0, sizeof *index);
    index->n_changes = wal_index_number(header + 8);
    index->n_frames = wal_index_number(header + 16);
    index->page_bytes = (page & 0xfe00U) + ((page & 1U) << 16);
    memcpy(index->checksums, header + 24, sizeof index->checksums);
    memcpy(index->salts, header + 32, sizeof index->salts);
    index->n_moved = wal_index_number(at + 96);
    index->n_attempted = wal_index_number(at + 128);
    return true;
}

static uint32_t wal_index_big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

bool sqlite_wal_index_matches(sqlite3 *database, const struct sqlite_wal_index *index)
{
    sqlite3_file *wal = sqlite_wal_index_wal(database);
    uint8_t header[WAL_HEADER_BYTES];
    uint8_t frame[FRAME_HEADER_BYTES];
    sqlite3_int64 offset;

    if (index->n_frames == 0)
        return true; /* nothing is read from the WAL */
    if (!wal)
        return false;
    offset = WAL_HEADER_BYTES +
             (sqlite3_int64)(index->n_frames - 1) * (FRAME_HEADER_BYTES + index->page_bytes);
    return wal->pMethods->xRead(wal, header, sizeof header, 0) == SQLITE_OK &&
           wal->pMethods->xRead(wal, frame, sizeof frame, offset) == SQLITE_OK &&
           memcmp(header + 16, index->salts, sizeof index->salts) == 0 &&
           memcmp(frame + 8, index->salts, sizeof index->salts) == 0 &&
           wal_index_big_endian(frame + 16) == index->checksums[0] &&
           wal_index_big_endian(frame + 20) == index->checksums[1];
}

bool sqlite_wal_index_is_newer(sqlite3 *database, const struct sqlite_wal_index *index)
{
    static const uint8_t none[sizeof index->salts];
    sqlite3_file *wal = sqlite_wal_index_wal(database);
    uint8_t header[WAL_HEADER_BYTES];

    /* An index that was made anew from an empty WAL has no salts. */
    if (!wal || memcmp(index->salts, none, sizeof none) == 0)
        return false;
    return wal->pMethods->xRead(wal, header, sizeof header, 0) == SQLITE_OK &&
           memcmp(header + 16, index->salts, sizeof index->salts) != 0;
}

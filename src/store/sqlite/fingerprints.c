/* SPDX-License-Identifier: MIT */
/* Looking up a million rows takes four seconds, because each look-up reads other pages. Reading
 * both tables from their beginning to their end takes one: the old rows' fingerprints of 64 bits go
 * to a hash table, 16 bytes for a row, and then the rows of PRMAIN are found there.
 *
 * The key of the hash is random. So a missing row escapes with a probability of the number of rows
 * in PRMAIN / 2^64, and not at the next start again. */
#include "store/sqlite/fingerprints.h"

#include "base/buffer.h"
#include "base/hash.h"
#include "revision/revision.h"
#include "store/sqlite/old_tables.h"

#include <stdio.h>
#include <stdlib.h>

#define ROW_BYTES 100    /* about, in the file */
#define LOOK_UP_FACTOR 6 /* a look-up takes as long as reading so many rows */
#define IS_OLD(source) ((source) & ~(unsigned)SQLITE_SOURCE_MAIN)

struct fingerprints {
    uint64_t *slots; /* 0: free */
    size_t n_slots;  /* a power of two, more than there are rows */
    uint64_t n;      /* different fingerprints */
    struct buffer row;
};

/* Returns the fingerprint of the row in the first four columns of a result; 0 if it has a NULL or
 * memory ran out. */
static uint64_t sqlite_fingerprints_of(struct fingerprints *prints, sqlite3_stmt *result)
{
    uint64_t hash;

    buffer_reset(&prints->row, BUFFER_KEEP_BYTES);
    for (int i = 0; i < 4; i++) {
        const char *bytes = (const char *)sqlite3_column_text(result, i);
        const uint64_t length = (uint64_t)sqlite3_column_bytes(result, i);

        if (!bytes)
            return 0;
        buffer_append(&prints->row, (const char *)&length, sizeof length);
        buffer_append(&prints->row, bytes, (size_t)length);
    }
    if (buffer_failed(&prints->row))
        return 0;
    hash = hash_text(buffer_text(&prints->row));
    return hash != 0 ? hash : 1;
}

/* Returns the slot that holds a fingerprint, or the free one for it. */
static uint64_t *sqlite_fingerprints_slot(const struct fingerprints *prints, uint64_t print)
{
    size_t at = print & (prints->n_slots - 1);

    while (prints->slots[at] != 0 && prints->slots[at] != print)
        at = (at + 1) & (prints->n_slots - 1);
    return &prints->slots[at];
}

/* Adds an old row. Returns false if it is not one that is taken over. */
static bool sqlite_fingerprints_add(struct fingerprints *prints, sqlite3_stmt *result)
{
    const bool has_key = sqlite3_column_int(result, 4) != 0;
    const uint64_t print = has_key ? sqlite_fingerprints_of(prints, result) : 0;
    const char *value = (const char *)sqlite3_column_text(result, 3);
    uint64_t *slot;

    if (print == 0 || !value ||
        !revision_is_valid(value, (size_t)sqlite3_column_bytes(result, 3)) ||
        prints->n + 1 >= prints->n_slots)
        return false;
    slot = sqlite_fingerprints_slot(prints, print);
    prints->n += *slot == 0;
    *slot = print;
    return true;
}

/* Adds the rows of the old tables. *all becomes false if one of them is not taken over. */
static int sqlite_fingerprints_load(struct sqlite_store *store, unsigned sources,
    struct fingerprints *prints, bool *all, struct error *error)
{
    int code = SQLITE_DONE;

    for (size_t i = 0; i < SQLITE_SOURCES && code == SQLITE_DONE; i++) {
        sqlite3_stmt *statement = NULL;
        char sql[512];

        if (!IS_OLD(sources & sqlite_sources[i].source))
            continue;
        (void)snprintf(sql, sizeof sql,
            "SELECT old.version, old.pkgarch, old.checksum, " SQLITE_OLD_VALUE
            ", " SQLITE_OLD_HAS_KEY " FROM %s AS old",
            sqlite_sources[i].table);
        code = sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL);
        if (code == SQLITE_OK) {
            while ((code = sqlite3_step(statement)) == SQLITE_ROW && *all)
                *all = sqlite_fingerprints_add(prints, statement);
        }
        (void)sqlite3_finalize(statement);
    }
    return code == SQLITE_DONE || code == SQLITE_ROW ? 0 : sqlite_fail(store, code, "read", error);
}

/* Finds the rows of PRMAIN, which has none twice, until all fingerprints are found. */
static int sqlite_fingerprints_find(
    struct sqlite_store *store, struct fingerprints *prints, bool *all, struct error *error)
{
    sqlite3_stmt *statement = NULL;
    uint64_t n_found = 0;
    int code = sqlite3_prepare_v2(store->database,
        "SELECT version, pkgarch, checksum, value FROM PRMAIN", -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = prints->n > 0 ? sqlite3_step(statement) : SQLITE_DONE;
    while (code == SQLITE_ROW && n_found < prints->n) {
        const uint64_t print = sqlite_fingerprints_of(prints, statement);

        n_found += print != 0 && *sqlite_fingerprints_slot(prints, print) == print;
        code = sqlite3_step(statement);
    }
    *all = n_found == prints->n;
    (void)sqlite3_finalize(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? 0 : sqlite_fail(store, code, "read", error);
}

/* Counts the rows of the old tables, and those of PRMAIN by the size of the file. */
static int sqlite_fingerprints_count(struct sqlite_store *store, unsigned sources, int64_t *n_old,
    int64_t *n_main, struct error *error)
{
    int64_t n_bytes = 0;
    int result = sqlite_ask(store,
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", &n_bytes, error);

    *n_old = 0;
    for (size_t i = 0; i < SQLITE_SOURCES && result == 0; i++) {
        char sql[80];
        int64_t n_rows = 0;

        if (!IS_OLD(sources & sqlite_sources[i].source))
            continue;
        (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", sqlite_sources[i].table);
        result = sqlite_ask(store, sql, &n_rows, error);
        *n_old += n_rows;
    }
    *n_main = n_bytes / ROW_BYTES - *n_old;
    return result;
}

int sqlite_fingerprints_compare(
    struct sqlite_store *store, unsigned sources, bool *all, struct error *error)
{
    struct fingerprints prints = {.n_slots = 1, .row = BUFFER_EMPTY};
    int64_t n_old;
    int64_t n_main;
    int result = sqlite_fingerprints_count(store, sources, &n_old, &n_main, error);

    *all = result == 0 && n_old == 0;
    if (result != 0 || *all || n_main / LOOK_UP_FACTOR > n_old)
        return result;
    while (prints.n_slots < 2 * (size_t)n_old)
        prints.n_slots *= 2;
    prints.slots = calloc(prints.n_slots, sizeof *prints.slots);
    if (!prints.slots)
        return 0;
    *all = true;
    result = sqlite_fingerprints_load(store, sources, &prints, all, error);
    if (result == 0 && *all)
        result = sqlite_fingerprints_find(store, &prints, all, error);
    free(prints.slots);
    buffer_free(&prints.row);
    return result;
}

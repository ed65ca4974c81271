/* SPDX-License-Identifier: MIT */
/* audit: makes the audit log of an SQLite database as if prservd had kept one, for measurements of
 * what reads it.
 *
 *     audit DATABASE
 *
 * Each row gets a record, and was asked for once more, a hundred in a second until now. The program
 * prints its measurements as JSON, and ends at the first error. */
#include "store/audit_store.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BATCH 1000
#define TEXT_BYTES 200
#define SECOND_US INT64_C(1000000)
#define PERIOD_US (SECOND_US / 100) /* between two records */

enum { VERSION, PKGARCH, CHECKSUM, VALUE, COLUMNS };

struct batch {
    char texts[BATCH][COLUMNS][TEXT_BYTES];
    struct audit_revision revisions[BATCH];
    struct audit_use uses[BATCH];
    size_t n;
};

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

/* Appends a row, with its record and the request that belongs to it. */
static void add(struct batch *batch, sqlite3_stmt *rows, int64_t time_us)
{
    const size_t at = batch->n++;
    struct audit_revision *revision = &batch->revisions[at];

    for (int column = 0; column < COLUMNS; column++)
        (void)snprintf(batch->texts[at][column], TEXT_BYTES, "%s",
            (const char *)sqlite3_column_text(rows, column));
    *revision = (struct audit_revision){
        .time_us = time_us,
        .version = text_of(batch->texts[at][VERSION]),
        .pkgarch = text_of(batch->texts[at][PKGARCH]),
        .checksum = text_of(batch->texts[at][CHECKSUM]),
        .value = text_of(batch->texts[at][VALUE]),
        .request = AUDIT_GET_PR,
        .rights = text_of("rw"),
        .peer = text_of(at % 2 == 0 ? "10.0.0.7" : "10.0.0.9"),
        .annotations = text_of(""),
    };
    batch->uses[at] = (struct audit_use){
        .version = revision->version,
        .pkgarch = revision->pkgarch,
        .checksum = revision->checksum,
        .last_us = time_us,
        .count = 1,
    };
}

static int write_batch(struct audit_store *store, struct batch *batch, struct error *error)
{
    const struct audit_batch notes = {
        .revisions = batch->revisions,
        .n_revisions = batch->n,
        .uses = batch->uses,
        .n_uses = batch->n,
    };

    batch->n = 0;
    return audit_store_write(store, &notes, error);
}

/* Writes the records of all rows. Returns their number, or -1. */
static int64_t fill(
    struct audit_store *store, sqlite3_stmt *rows, int64_t time_us, struct error *error)
{
    static struct batch batch;
    int64_t n = 0;
    int result = 0;

    while (result == 0 && sqlite3_step(rows) == SQLITE_ROW) {
        add(&batch, rows, time_us + n++ * PERIOD_US);
        if (batch.n == BATCH)
            result = write_batch(store, &batch, error);
    }
    if (result == 0 && batch.n > 0)
        result = write_batch(store, &batch, error);
    return result == 0 ? n : -1;
}

/* Counts the rows, and selects them. Returns false if that is not possible. */
static bool open_rows(const char *file, sqlite3 **database, sqlite3_stmt **rows, int64_t *n_rows)
{
    bool is_open =
        sqlite3_open_v2(file, database, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(*database, "SELECT count(*) FROM PRMAIN", -1, rows, NULL) == SQLITE_OK &&
        sqlite3_step(*rows) == SQLITE_ROW;

    if (!is_open)
        return false;
    *n_rows = sqlite3_column_int64(*rows, 0);
    (void)sqlite3_finalize(*rows);
    return sqlite3_prepare_v2(*database, "SELECT version, pkgarch, checksum, value FROM PRMAIN", -1,
               rows, NULL) == SQLITE_OK;
}

int main(int argc, char **argv)
{
    const struct audit_store_options options = {
        .file = argc == 2 ? argv[1] : "", .writes = true, .wait_ms = 10000};
    const int64_t begun_us = now_us();
    struct audit_store *store = NULL;
    struct error error;
    sqlite3 *database;
    sqlite3_stmt *rows;
    int64_t n = 0;

    if (argc != 2) {
        (void)fprintf(stderr, "Usage: audit DATABASE\n");
        return 2;
    }
    if (!open_rows(argv[1], &database, &rows, &n)) {
        (void)fprintf(stderr, "audit: %s\n", sqlite3_errmsg(database));
        return 1;
    }
    if (audit_store_open(&store, &options, &error) == 0)
        n = fill(store, rows, begun_us - n * PERIOD_US, &error);
    else
        n = -1;
    audit_store_close(store);
    (void)sqlite3_finalize(rows);
    (void)sqlite3_close(database);
    if (n < 0) {
        (void)fprintf(stderr, "audit: %s\n", error.text);
        return 1;
    }
    (void)printf(
        "{\"records\": %" PRId64 ", \"seconds\": %.3f}\n", n, (double)(now_us() - begun_us) / 1e6);
    return 0;
}

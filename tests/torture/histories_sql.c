/* SPDX-License-Identifier: MIT */
/* Another program that writes to the database as BitBake's server does: it looks up the greatest
 * value and inserts a greater one in two transactions, so that it misses rows that others store
 * in between. No server uses its checksums. */
#include "histories.h"

#include "revision/revision.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct row {
    struct history_operation operation;
    char *value;
};

struct sql_writer {
    char file[512];
    atomic_ullong *ticks;
    uint64_t dice;
    atomic_bool stop;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the members below */
    char name[64];         /* of the round, or empty */
    uint32_t n_checksums;
    struct row *rows;
    size_t n_rows, most_rows;
    uint64_t n_all;
};

static char *greater_than_all(sqlite3 *database, const char *version)
{
    sqlite3_stmt *statement;
    char *greatest = NULL;
    char *next;

    if (sqlite3_prepare_v2(database, "SELECT value FROM PRMAIN WHERE version=? AND pkgarch='all'",
            -1, &statement, NULL) != SQLITE_OK)
        return NULL;
    (void)sqlite3_bind_text(statement, 1, version, -1, SQLITE_TRANSIENT);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        const char *value = (const char *)sqlite3_column_text(statement, 0);

        if (value && (!greatest || revision_compare(value, greatest) > 0)) {
            free(greatest);
            greatest = strdup(value);
        }
    }
    (void)sqlite3_finalize(statement);
    next = greatest ? revision_increase(greatest) : strdup("0");
    free(greatest);
    return next;
}

static bool insert(sqlite3 *database, const char *version, uint32_t checksum, const char *value)
{
    char *sql = sqlite3_mprintf(
        "INSERT INTO PRMAIN VALUES (%Q, 'all', 'f%u', %Q)", version, checksum, value);
    int result = sqlite3_exec(database, sql, NULL, NULL, NULL);

    sqlite3_free(sql);
    return result == SQLITE_OK;
}

static void note(struct sql_writer *writer, const struct history_operation *operation, char *value)
{
    if (writer->n_rows == writer->most_rows) {
        writer->most_rows = writer->most_rows * 2 + 256;
        writer->rows = reallocarray(writer->rows, writer->most_rows, sizeof *writer->rows);
        if (!writer->rows)
            abort();
    }
    writer->rows[writer->n_rows++] = (struct row){.operation = *operation, .value = value};
    writer->n_all++;
}

static void store_one(struct sql_writer *writer, sqlite3 *database)
{
    struct history_operation operation = {.kind = HISTORY_FOREIGN_ROW,
        .package = (uint32_t)dice(&writer->dice, PACKAGES),
        .checksum = writer->n_checksums | HISTORY_FOREIGN,
        .answered = HISTORY_NEVER};
    char version[96];
    char *value;

    if (!writer->name[0])
        return;
    (void)snprintf(version, sizeof version, "%s-%u", writer->name, operation.package);
    value = greater_than_all(database, version);
    if (!value)
        return;
    (void)usleep((useconds_t)dice(&writer->dice, 2000));
    operation.sent = atomic_fetch_add(writer->ticks, 1) + 1;
    if (insert(database, version, writer->n_checksums, value))
        operation.answered = atomic_fetch_add(writer->ticks, 1) + 1;
    writer->n_checksums++;
    note(writer, &operation, value);
}

static void *run(void *context)
{
    struct sql_writer *writer = context;
    sqlite3 *database;

    if (sqlite3_open(writer->file, &database) != SQLITE_OK)
        abort();
    (void)sqlite3_busy_timeout(database, 5000);
    (void)sqlite3_exec(
        database, "PRAGMA synchronous=OFF; PRAGMA journal_mode=WAL", NULL, NULL, NULL);
    while (!atomic_load(&writer->stop)) {
        (void)pthread_mutex_lock(&writer->mutex);
        store_one(writer, database);
        (void)pthread_mutex_unlock(&writer->mutex);
        (void)usleep((useconds_t)dice(&writer->dice, 5000));
    }
    (void)sqlite3_close(database);
    return NULL;
}

struct sql_writer *sql_writer_create(const char *file, atomic_ullong *ticks, uint64_t seed)
{
    struct sql_writer *writer = calloc(1, sizeof *writer);

    if (!writer)
        abort();
    (void)snprintf(writer->file, sizeof writer->file, "%s", file);
    writer->ticks = ticks;
    writer->dice = seed;
    (void)pthread_mutex_init(&writer->mutex, NULL);
    if (pthread_create(&writer->thread, NULL, run, writer) != 0)
        abort();
    return writer;
}

void sql_writer_begin(struct sql_writer *writer, const char *name)
{
    (void)pthread_mutex_lock(&writer->mutex);
    (void)snprintf(writer->name, sizeof writer->name, "%s", name);
    writer->n_checksums = 0;
    (void)pthread_mutex_unlock(&writer->mutex);
}

void sql_writer_finish(struct sql_writer *writer, struct history *history)
{
    (void)pthread_mutex_lock(&writer->mutex);
    for (size_t i = 0; i < writer->n_rows; i++) {
        struct row *row = &writer->rows[i];

        row->operation.value = history_value(history, text_of(row->value));
        (void)history_add(history, &row->operation);
        free(row->value);
    }
    writer->n_rows = 0;
    writer->name[0] = '\0';
    (void)pthread_mutex_unlock(&writer->mutex);
}

uint64_t sql_writer_rows(struct sql_writer *writer)
{
    uint64_t n;

    (void)pthread_mutex_lock(&writer->mutex);
    n = writer->n_all;
    (void)pthread_mutex_unlock(&writer->mutex);
    return n;
}

void sql_writer_free(struct sql_writer *writer)
{
    atomic_store(&writer->stop, true);
    (void)pthread_join(writer->thread, NULL);
    (void)pthread_mutex_destroy(&writer->mutex);
    free(writer->rows);
    free(writer);
}

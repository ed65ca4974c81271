/* SPDX-License-Identifier: MIT */
/* Reads with the store's own scan: so old tables and other shapes of PRMAIN are read as a server
 * reads them. */
#include "cli/rows/database.h"

#include "store/scan.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct database_reader {
    struct row_reader reader; /* first */
    struct store *store;
    atomic_bool shutting_down;      /* false */
    atomic_ullong read_deadline_ms; /* never */
};

bool database_is(const char *name)
{
    static const char magic[] = "SQLite format 3"; /* and its NUL */
    char begin[sizeof magic] = "";
    FILE *file = strcmp(name, "-") != 0 ? fopen(name, "rbe") : NULL;
    size_t length;

    if (!file)
        return false;
    length = fread(begin, 1, sizeof begin, file);
    (void)fclose(file);
    return length == sizeof begin && memcmp(begin, magic, sizeof magic) == 0;
}

static int database_next(struct row_reader *reader, struct row *row, struct error *error)
{
    struct database_reader *database = (struct database_reader *)reader;
    int more = store_scan_next(database->store, row, error);

    if (more != 0 && more != 1)
        return ROW_BROKEN;
    reader->line++;
    return more == 1 ? ROW_READ : ROW_END;
}

static void database_free(struct row_reader *reader)
{
    struct database_reader *database = (struct database_reader *)reader;

    if (database->store)
        store_rollback(database->store);
    store_close(database->store);
    free(database);
}

static int database_begin(struct database_reader *database, struct error *error)
{
    static const struct store_filter all = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    const struct store_options options = {
        .file = database->reader.source.name,
        .read_only = true,
        .shutting_down = &database->shutting_down,
        .read_deadline_ms = &database->read_deadline_ms,
    };
    int result = store_open(&database->store, &options, STORE_READER, error);

    if (result == 0)
        result = store_begin_read(database->store, NULL, STORE_BLOCK, error);
    return result == 0 ? store_scan_begin(database->store, &all, error) : result;
}

int database_reader_open(struct row_reader **opened, const char *name, struct error *error)
{
    struct database_reader *database = calloc(1, sizeof *database);
    int result;

    *opened = NULL;
    if (!database)
        return error_set_memory(error);
    database->reader = (struct row_reader){
        .source = {.name = name}, .next = database_next, .free = database_free, .is_known = true};
    atomic_init(&database->read_deadline_ms, UINT64_MAX);
    result = database_begin(database, error);
    if (result != 0) {
        row_reader_close(&database->reader);
        return result;
    }
    *opened = &database->reader;
    return 0;
}

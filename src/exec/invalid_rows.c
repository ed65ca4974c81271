/* SPDX-License-Identifier: MIT */
/* Reported rows are remembered as hashes in a table of fixed size, so that a database full of such
 * rows fills neither the memory nor the log. */
#include "exec/invalid_rows.h"

#include "base/hash.h"
#include "revision/revision.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#define MAX_REPORTED 256

struct invalid_rows {
    pthread_mutex_t mutex; /* guards the members below */
    uint64_t reported[MAX_REPORTED];
    unsigned count;
    bool rest_reported; /* the log says that no more will be reported */
    struct log *log;
};

struct invalid_rows *invalid_rows_create(struct log *log)
{
    struct invalid_rows *invalid_rows = calloc(1, sizeof *invalid_rows);

    if (!invalid_rows)
        return NULL;
    (void)pthread_mutex_init(&invalid_rows->mutex, NULL);
    invalid_rows->log = log;
    return invalid_rows;
}

void invalid_rows_free(struct invalid_rows *invalid_rows)
{
    if (!invalid_rows)
        return;
    (void)pthread_mutex_destroy(&invalid_rows->mutex);
    free(invalid_rows);
}

static uint64_t invalid_rows_hash(const struct row *row)
{
    const uint64_t hashes[] = {hash_text(row->version), hash_text(row->pkgarch),
        hash_text(row->checksum), hash_text(row->value.bytes ? row->value : text_of("NULL"))};

    return hash_text((struct text){.bytes = (const char *)hashes, .length = sizeof hashes});
}

/* Returns true, and remembers the row, if it is to be reported now. */
static bool invalid_rows_remember(struct invalid_rows *invalid_rows, uint64_t row)
{
    for (unsigned i = 0; i < invalid_rows->count; i++) {
        if (invalid_rows->reported[i] == row)
            return false;
    }
    if (invalid_rows->count == MAX_REPORTED)
        return false;
    invalid_rows->reported[invalid_rows->count++] = row;
    return true;
}

static void invalid_rows_report(struct invalid_rows *invalid_rows, const struct row *row)
{
    log_write(invalid_rows->log, LOG_WARNING,
        "The row %.*s, %.*s, %.*s holds %.*s, which is not a revision (another program's work); "
        "the row is ignored",
        (int)row->version.length, row->version.bytes, (int)row->pkgarch.length, row->pkgarch.bytes,
        (int)row->checksum.length, row->checksum.bytes,
        row->value.bytes ? (int)row->value.length : 4,
        row->value.bytes ? row->value.bytes : "NULL");
    if (invalid_rows->count == MAX_REPORTED && !invalid_rows->rest_reported) {
        invalid_rows->rest_reported = true;
        log_write(invalid_rows->log, LOG_WARNING,
            "More such rows will not be reported; an export with history shows them");
    }
}

bool invalid_rows_check(struct invalid_rows *invalid_rows, const struct row *row)
{
    if (row->value.bytes && revision_is_valid(row->value.bytes, row->value.length))
        return true;
    (void)pthread_mutex_lock(&invalid_rows->mutex);
    if (invalid_rows_remember(invalid_rows, invalid_rows_hash(row)))
        invalid_rows_report(invalid_rows, row);
    (void)pthread_mutex_unlock(&invalid_rows->mutex);
    return false;
}

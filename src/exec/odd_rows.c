/* What was named is remembered as hashes in a fixed table, so that a database full
 * of such rows fills neither memory nor log. */
#include "exec/odd_rows.h"

#include "revision/revision.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#define MOST_NAMED 256

struct odd_rows {
    pthread_mutex_t mutex; /* guards what follows */
    uint64_t named[MOST_NAMED];
    unsigned count;
    bool rest_named; /* the log was told that no more will be named */
    struct log *log;
};

struct odd_rows *odd_rows_create(struct log *log)
{
    struct odd_rows *odd_rows = calloc(1, sizeof *odd_rows);

    if (!odd_rows)
        return NULL;
    (void)pthread_mutex_init(&odd_rows->mutex, NULL);
    odd_rows->log = log;
    return odd_rows;
}

void odd_rows_free(struct odd_rows *odd_rows)
{
    if (!odd_rows)
        return;
    (void)pthread_mutex_destroy(&odd_rows->mutex);
    free(odd_rows);
}

/* FNV-1a over a text and its end. */
static uint64_t hash(uint64_t seed, struct text text)
{
    for (size_t i = 0; i < text.length; i++)
        seed = (seed ^ (unsigned char)text.bytes[i]) * 0x100000001b3;
    return (seed ^ 0x100) * 0x100000001b3;
}

static uint64_t hash_row(const struct row *row)
{
    uint64_t seed = hash(0xcbf29ce484222325, row->version);

    seed = hash(seed, row->pkgarch);
    seed = hash(seed, row->checksum);
    return hash(seed, row->value.bytes ? row->value : text_of("NULL"));
}

/* Is it to be named now? */
static bool remember(struct odd_rows *odd_rows, uint64_t row)
{
    for (unsigned i = 0; i < odd_rows->count; i++) {
        if (odd_rows->named[i] == row)
            return false;
    }
    if (odd_rows->count == MOST_NAMED)
        return false;
    odd_rows->named[odd_rows->count++] = row;
    return true;
}

static void name_row(struct odd_rows *odd_rows, const struct row *row)
{
    log_write(odd_rows->log, LOG_WARNING,
        "The row %.*s, %.*s, %.*s holds %.*s, which is no revision (another program's work); it "
        "counts as if it were not there",
        (int)row->version.length, row->version.bytes, (int)row->pkgarch.length, row->pkgarch.bytes,
        (int)row->checksum.length, row->checksum.bytes,
        row->value.bytes ? (int)row->value.length : 4,
        row->value.bytes ? row->value.bytes : "NULL");
    if (odd_rows->count == MOST_NAMED && !odd_rows->rest_named) {
        odd_rows->rest_named = true;
        log_write(odd_rows->log, LOG_WARNING,
            "More such rows will not be named; an export with history shows them");
    }
}

bool odd_rows_check(struct odd_rows *odd_rows, const struct row *row)
{
    if (row->value.bytes && revision_is_valid(row->value.bytes, row->value.length))
        return true;
    (void)pthread_mutex_lock(&odd_rows->mutex);
    if (remember(odd_rows, hash_row(row)))
        name_row(odd_rows, row);
    (void)pthread_mutex_unlock(&odd_rows->mutex);
    return false;
}

/* SPDX-License-Identifier: MIT */
/* A list of blocks, the oldest first. Rows of a transaction are gathered in a buffer; when it is
 * committed, they move to the last block together. Whole blocks are forgotten. */
#include "exec/acknowledged.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define BLOCK_BYTES ((size_t)1024 * 1024)
#define TEXTS 4

struct block {
    STAILQ_ENTRY(block) entry;
    size_t length;
    size_t capacity;
    char bytes[];
};

STAILQ_HEAD(blocks, block);

/* Before the texts of each row: version, pkgarch, checksum, value. */
struct header {
    int64_t counter;
    size_t lengths[TEXTS];
};

struct acknowledged {
    struct blocks blocks;
    struct block *last;    /* of the blocks; NULL: there is none */
    struct buffer pending; /* of the transaction under way */
    size_t bytes;
    size_t limit_bytes;
};

struct acknowledged *acknowledged_create(size_t limit_bytes)
{
    struct acknowledged *rows = calloc(1, sizeof *rows);

    if (!rows)
        return NULL;
    STAILQ_INIT(&rows->blocks);
    rows->limit_bytes = limit_bytes;
    return rows;
}

static void acknowledged_forget_oldest(struct acknowledged *rows)
{
    struct block *block = STAILQ_FIRST(&rows->blocks);

    STAILQ_REMOVE_HEAD(&rows->blocks, entry);
    rows->bytes -= block->capacity;
    free(block);
}

void acknowledged_free(struct acknowledged *rows)
{
    if (!rows)
        return;
    while (!STAILQ_EMPTY(&rows->blocks))
        acknowledged_forget_oldest(rows);
    buffer_free(&rows->pending);
    free(rows);
}

/* ---- adding ---- */

void acknowledged_add(struct acknowledged *rows, const struct row *row)
{
    const struct header header = {.lengths = {row->version.length, row->pkgarch.length,
                                      row->checksum.length, row->value.length}};
    const size_t before = rows->pending.length;

    buffer_append(&rows->pending, (const char *)&header, sizeof header);
    buffer_append_text(&rows->pending, row->version);
    buffer_append_text(&rows->pending, row->pkgarch);
    buffer_append_text(&rows->pending, row->checksum);
    buffer_append_text(&rows->pending, row->value);
    if (buffer_failed(&rows->pending)) {
        rows->pending.length = before;
        rows->pending.failed = false;
    }
}

static size_t acknowledged_row_bytes(const struct header *header)
{
    size_t bytes = sizeof *header;

    for (int i = 0; i < TEXTS; i++)
        bytes += header->lengths[i];
    return bytes;
}

/* Writes the counter into the rows that are pending. */
static void acknowledged_number(struct buffer *pending, int64_t counter)
{
    struct header header;

    for (size_t at = 0; at < pending->length; at += acknowledged_row_bytes(&header)) {
        memcpy(&header, pending->bytes + at, sizeof header);
        header.counter = counter;
        memcpy(pending->bytes + at, &header, sizeof header);
    }
}

/* Returns the last block if it has room for so many bytes, or a new one; NULL when memory ran out.
 */
static struct block *acknowledged_make_room(struct acknowledged *rows, size_t bytes)
{
    struct block *block = rows->last;
    const size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;

    if (block && block->capacity - block->length >= bytes)
        return block;
    block = malloc(sizeof *block + capacity);
    if (!block)
        return NULL;
    block->length = 0;
    block->capacity = capacity;
    STAILQ_INSERT_TAIL(&rows->blocks, block, entry);
    rows->last = block;
    rows->bytes += capacity;
    while (rows->bytes > rows->limit_bytes && STAILQ_FIRST(&rows->blocks) != block)
        acknowledged_forget_oldest(rows);
    return block;
}

void acknowledged_keep(struct acknowledged *rows, int64_t counter)
{
    struct buffer *pending = &rows->pending;
    struct block *block;

    if (pending->length == 0)
        return;
    acknowledged_number(pending, counter);
    block = acknowledged_make_room(rows, pending->length);
    if (block) {
        memcpy(block->bytes + block->length, pending->bytes, pending->length);
        block->length += pending->length;
    }
    acknowledged_drop(rows);
}

void acknowledged_drop(struct acknowledged *rows)
{
    buffer_reset(&rows->pending, BLOCK_BYTES);
}

/* ---- reading ---- */

bool acknowledged_next(const struct acknowledged *rows, struct acknowledged_place *place,
    struct row *row, int64_t *counter)
{
    const struct block *block = place->block ? place->block : STAILQ_FIRST(&rows->blocks);
    size_t at = place->at;
    struct text texts[TEXTS];
    struct header header;
    const char *bytes;

    if (block && at == block->length) {
        block = STAILQ_NEXT(block, entry);
        at = 0;
    }
    if (!block)
        return false;
    bytes = block->bytes + at;
    memcpy(&header, bytes, sizeof header);
    bytes += sizeof header;
    for (int i = 0; i < TEXTS; i++) {
        texts[i] = (struct text){.bytes = bytes, .length = header.lengths[i]};
        bytes += header.lengths[i];
    }
    *row = (struct row){
        .version = texts[0], .pkgarch = texts[1], .checksum = texts[2], .value = texts[3]};
    *counter = header.counter;
    place->block = block;
    place->at = at + acknowledged_row_bytes(&header);
    return true;
}

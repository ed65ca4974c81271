/* SPDX-License-Identifier: MIT */
/* Notes for the audit log that are not written yet: records of rows, and requests, which are
 * counted for each content. One thread at a time. */
#ifndef PRSERVD_AUDIT_NOTES_H
#define PRSERVD_AUDIT_NOTES_H

#include "base/buffer.h"
#include "base/map.h"
#include "store/audit_store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct notes_use;

struct notes {
    struct buffer revisions;                    /* a header and the texts of each */
    size_t taken_bytes;                         /* of revisions: what notes_take has handed out */
    struct map uses;                            /* by package and checksum */
    STAILQ_HEAD(notes_uses, notes_use) waiting; /* the same, those that are not taken */
    struct buffer key;
    size_t use_bytes;
    uint64_t n_waiting; /* records and requests that are not taken */
};

void notes_init(struct notes *notes);
void notes_clear(struct notes *notes);

/* Returns the memory in use. */
size_t notes_bytes(const struct notes *notes);

static inline bool notes_is_empty(const struct notes *notes)
{
    return notes->n_waiting == 0;
}

/* Adds a record, or a request. Returns false when memory ran out. */
bool notes_add_revision(struct notes *notes, const struct audit_revision *revision);
bool notes_add_use(struct notes *notes, struct text version, struct text pkgarch,
    struct text checksum, int64_t now_us);

#define NOTES_BATCH 8192

/* Notes that are written in one transaction. */
struct notes_batch {
    struct audit_revision revisions[NOTES_BATCH];
    struct audit_use uses[NOTES_BATCH];
    struct audit_batch batch; /* of these */
    size_t end_bytes;         /* behind the last record */
    struct notes_use *last;   /* the last use; NULL: none */
    uint64_t n;               /* records and requests */
};

/* Finds the next notes. Their texts are borrowed until notes_take, which removes them. */
void notes_peek(const struct notes *notes, struct notes_batch *batch);
void notes_take(struct notes *notes, const struct notes_batch *batch);

#endif

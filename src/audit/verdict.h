/* SPDX-License-Identifier: MIT */
/* The rows of a package, with what the audit log knows of them, and what they mean, in words. */
#ifndef PRSERVD_VERDICT_H
#define PRSERVD_VERDICT_H

#include "base/buffer.h"
#include "base/map.h"
#include "base/row.h"
#include "store/audit_store.h"

#include <stdbool.h>

struct why_row {
    struct text checksum; /* owned, with value, in the same allocation */
    const char *value;
    int64_t time_us; /* when it was assigned; 0: not known */
    enum audit_request request;
    bool is_return;
    char *source; /* the bytes of the three texts; NULL: they are empty */
    struct text peer;
    struct text rights;
    struct text annotations;
    int64_t asked_us; /* when the content was last asked for; 0: not known */
    uint64_t count;
};

struct why_item {
    struct map_entry entry;
    struct why_row *row;
};

/* Copies a row, whose value is a revision. Returns NULL when memory ran out. */
struct why_row *why_row_create(const struct row *row);
void why_row_free(struct why_row *row);
size_t why_row_bytes(const struct why_row *row);

/* Notes when, and to whom, a row was assigned; of several records the first that comes counts.
 * Returns false when memory ran out. */
bool why_row_assign(struct why_row *row, const struct audit_revision *record);

struct verdict {
    struct text version;
    struct why_row *const *rows; /* in the order of revisions; borrowed */
    size_t n_rows;
    bool shows_peers;
};

/* Appends the members "verdict", a sentence, and "compare": the checksums of the two contents that
 * differ, or null. */
void verdict_write(const struct verdict *verdict, struct buffer *out);

#endif

/* SPDX-License-Identifier: MIT */
/* The requests of one transaction (store.h), as the store sees them. */
#ifndef PRSERVD_STORE_BATCH_H
#define PRSERVD_STORE_BATCH_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

/* One request of a batch: what it asks about a package, and whether it may add a row. */
struct store_item {
    struct text version;
    struct text pkgarch;
    struct text checksum; /* bytes NULL: none */
    bool wants_smallest;  /* the smallest of the checksum's values */
    bool wants_largest;   /* the largest of the checksum's values */
    struct text value; /* a value that may be given: the rows that hold it, and the greatest floor
                          if that is not below, are asked for; bytes NULL: none */
    bool may_add;      /* a row may be added to the package */
};

/* The requests of one transaction, as a list that the backend walks if it needs to. The list and
 * the texts in it do not change until the store_begin_* function returns; the texts stay valid
 * until the transaction ends. */
struct store_batch {
    const void *first; /* position of the first request */
    const void *end;   /* position after the last one */
    /* Describes the request at a position and returns the next position. */
    const void *(*describe)(const void *at, struct store_item *item);
    uint64_t until_ms; /* when a request has to have its answer or its error (clock_ms) */
};

#endif

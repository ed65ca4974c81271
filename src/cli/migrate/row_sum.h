/* SPDX-License-Identifier: MIT */
/* A digest of many rows that does not depend on their order: the sum of the rows' SHA-256, modulo
 * 2^256. One thread. */
#ifndef PRSERV_ROW_SUM_H
#define PRSERV_ROW_SUM_H

#include "base/digest.h"
#include "store/store.h"

#include <stdint.h>

struct row_sum {
    struct digest *digester; /* borrowed; needed to add rows */
    uint64_t rows;
    unsigned char digest[DIGEST_BYTES]; /* most significant byte first */
    bool failed;                        /* out of memory; the digest is invalid */
};

/* Adds a row. Its SHA-256 is that of version, pkgarch, checksum and value, each preceded by its
 * length in 4 bytes; a missing value is 4 bytes of 255. */
void row_sum_add(struct row_sum *sum, const struct row *row);

/* Adds the rows of another sum. */
void row_sum_join(struct row_sum *sum, const struct row_sum *more);

/* Returns whether both have the same rows; false if one of them has failed. */
bool row_sum_equal(const struct row_sum *a, const struct row_sum *b);

/* Writes the digest in hexadecimal, with a NUL. */
void row_sum_print(const struct row_sum *sum, char text[2 * DIGEST_BYTES + 1]);

#endif

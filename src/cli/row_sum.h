/* A digest of many rows that does not depend on their order: the sum of the SHA-256 of each,
 * modulo 2^256. One thread. */
#ifndef PRSERV_ROW_SUM_H
#define PRSERV_ROW_SUM_H

#include "base/digest.h"
#include "store/store.h"

#include <stdint.h>

struct row_sum {
    struct digest *digester; /* borrowed by who adds rows */
    uint64_t rows;
    unsigned char digest[DIGEST_BYTES]; /* the highest byte first */
    bool failed;                        /* memory ran out; it is worthless */
};

/* Each row counts with version, pkgarch, checksum and value, each after its length in 4 bytes;
 * for a value that is not there, 4 bytes of 255 alone. */
void row_sum_add(struct row_sum *sum, const struct row *row);

/* As if the rows of more had been added. */
void row_sum_join(struct row_sum *sum, const struct row_sum *more);

bool row_sum_equal(const struct row_sum *a, const struct row_sum *b);

/* The digest in hexadecimal, with a NUL. */
void row_sum_print(const struct row_sum *sum, char text[2 * DIGEST_BYTES + 1]);

#endif

/* SPDX-License-Identifier: MIT */
#include "cli/migrate/row_sum.h"

#include <arpa/inet.h>
#include <stdio.h>

static void row_sum_add_text(struct digest *digester, struct text text)
{
    const uint32_t length = text.bytes ? htonl((uint32_t)text.length) : UINT32_MAX;

    digest_add(digester, (struct text){.bytes = (const char *)&length, .length = sizeof length});
    digest_add(digester, text);
}

static bool row_sum_digest_row(
    struct digest *digester, const struct row *row, unsigned char digest[DIGEST_BYTES])
{
    digest_begin(digester);
    row_sum_add_text(digester, text_not_null(row->version));
    row_sum_add_text(digester, text_not_null(row->pkgarch));
    row_sum_add_text(digester, text_not_null(row->checksum));
    row_sum_add_text(digester, row->value);
    return digest_end(digester, digest);
}

void row_sum_join(struct row_sum *sum, const struct row_sum *more)
{
    unsigned carry = 0;

    sum->rows += more->rows;
    sum->failed = sum->failed || more->failed;
    for (int i = DIGEST_BYTES - 1; i >= 0; i--) {
        carry += (unsigned)sum->digest[i] + more->digest[i];
        sum->digest[i] = (unsigned char)(carry & 0xff);
        carry >>= 8;
    }
}

void row_sum_add(struct row_sum *sum, const struct row *row)
{
    struct row_sum one = {.rows = 1};

    one.failed = !row_sum_digest_row(sum->digester, row, one.digest);
    row_sum_join(sum, &one);
}

bool row_sum_equal(const struct row_sum *a, const struct row_sum *b)
{
    return !a->failed && !b->failed && a->rows == b->rows &&
           memcmp(a->digest, b->digest, DIGEST_BYTES) == 0;
}

void row_sum_print(const struct row_sum *sum, char text[2 * DIGEST_BYTES + 1])
{
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", sum->digest[i]);
}

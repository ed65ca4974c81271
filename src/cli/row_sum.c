#include "cli/row_sum.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <stdio.h>

static bool add_text(EVP_MD_CTX *context, struct text text)
{
    const uint32_t length = text.bytes ? htonl((uint32_t)text.length) : UINT32_MAX;

    return EVP_DigestUpdate(context, &length, sizeof length) == 1 &&
           (!text.bytes || EVP_DigestUpdate(context, text.bytes, text.length) == 1);
}

static bool digest_row(const struct row *row, unsigned char digest[ROW_SUM_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                add_text(context, text_not_null(row->version)) &&
                add_text(context, text_not_null(row->pkgarch)) &&
                add_text(context, text_not_null(row->checksum)) && add_text(context, row->value) &&
                EVP_DigestFinal_ex(context, digest, NULL) == 1;

    EVP_MD_CTX_free(context);
    return done;
}

void row_sum_join(struct row_sum *sum, const struct row_sum *more)
{
    unsigned carry = 0;

    sum->rows += more->rows;
    sum->failed = sum->failed || more->failed;
    for (int i = ROW_SUM_BYTES - 1; i >= 0; i--) {
        carry += (unsigned)sum->digest[i] + more->digest[i];
        sum->digest[i] = (unsigned char)(carry & 0xff);
        carry >>= 8;
    }
}

void row_sum_add(struct row_sum *sum, const struct row *row)
{
    struct row_sum one = {.rows = 1};

    one.failed = !digest_row(row, one.digest);
    row_sum_join(sum, &one);
}

bool row_sum_equal(const struct row_sum *a, const struct row_sum *b)
{
    return !a->failed && !b->failed && a->rows == b->rows &&
           memcmp(a->digest, b->digest, ROW_SUM_BYTES) == 0;
}

void row_sum_print(const struct row_sum *sum, char text[2 * ROW_SUM_BYTES + 1])
{
    for (size_t i = 0; i < ROW_SUM_BYTES; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", sum->digest[i]);
}

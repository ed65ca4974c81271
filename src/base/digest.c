/* SPDX-License-Identifier: MIT */
#include "base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

struct digest {
    EVP_MD *kind; /* fetched once; that takes longer than hashing a short text */
    EVP_MD_CTX *context;
    bool failed;
};

struct digest *digest_create(void)
{
    struct digest *digest = calloc(1, sizeof *digest);

    if (!digest)
        return NULL;
    /* Its memory is not freed at exit: a thread of libpq that connects may still be using it. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    digest->kind = EVP_MD_fetch(NULL, "SHA256", NULL);
    digest->context = EVP_MD_CTX_new();
    if (digest->kind && digest->context)
        return digest;
    digest_free(digest);
    return NULL;
}

void digest_free(struct digest *digest)
{
    if (!digest)
        return;
    EVP_MD_CTX_free(digest->context);
    EVP_MD_free(digest->kind);
    free(digest);
}

void digest_begin(struct digest *digest)
{
    digest->failed = EVP_DigestInit_ex(digest->context, digest->kind, NULL) != 1;
}

void digest_add(struct digest *digest, struct text text)
{
    if (!digest->failed && text.length > 0)
        digest->failed = EVP_DigestUpdate(digest->context, text.bytes, text.length) != 1;
}

bool digest_end(struct digest *digest, unsigned char result[DIGEST_BYTES])
{
    return !digest->failed && EVP_DigestFinal_ex(digest->context, result, NULL) == 1;
}

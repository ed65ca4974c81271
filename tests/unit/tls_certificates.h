/* SPDX-License-Identifier: MIT */
/* Certificates for tests, made with OpenSSL. A function that fails ends the process. */
#ifndef PRSERVD_TLS_CERTIFICATES_H
#define PRSERVD_TLS_CERTIFICATES_H

#include "base/text.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

/* A certificate and its key, which is one of P-256. */
struct certificate {
    X509 *x509;
    EVP_PKEY *key;
};

struct certificate_wishes {
    struct text name;         /* the subject's common name */
    int name_type;            /* an ASN.1 type, such as V_ASN1_BMPSTRING; 0: UTF-8 */
    const char *organisation; /* NULL: none */
    const char *hosts;        /* "DNS:localhost,IP:127.0.0.1"; NULL: none */
    int first_day, last_day;  /* from now; both 0: from yesterday to 30 days from now */
    long last_s;              /* added to last_day */
};

/* Makes a certificate; issuer: a CA, or NULL to make a CA. */
void certificate_create(struct certificate *certificate, const struct certificate *issuer,
    const struct certificate_wishes *wishes);

/* Write PEM files, which only their owner may read, or add to them. passphrase: NULL: none. */
void certificate_write(const struct certificate *certificate, const char *file);
void certificate_write_key(
    const struct certificate *certificate, const char *file, const char *passphrase);

void certificate_free(struct certificate *certificate);

#endif

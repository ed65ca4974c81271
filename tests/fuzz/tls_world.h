/* SPDX-License-Identifier: MIT */
/* What all inputs of the fuzz target tls share: certificates, contexts, a text. The random numbers
 * of OpenSSL are the same for each input, so that what an input does can be seen again. */
#ifndef PRSERVD_FUZZ_TLS_WORLD_H
#define PRSERVD_FUZZ_TLS_WORLD_H

#include "tls/tls.h"
#include "tls_certificates.h"

#include <openssl/ssl.h>

#define TLS_WORLD_HOST "pr.example.com"
#define TLS_WORLD_FILE_BYTES 32
#define TLS_WORLD_TEXT_BYTES (256 * 1024)

struct tls_world {
    struct certificate ca, server, farm;
    struct certificate stranger; /* with the server's names, and of no CA */
    char ca_file[TLS_WORLD_FILE_BYTES];
    char server_file[TLS_WORLD_FILE_BYTES]; /* with the key, as the next one */
    char farm_file[TLS_WORLD_FILE_BYTES];
    struct tls_context *servers[2];  /* the second wants certificates */
    SSL_CTX *others[2];              /* OpenSSL's own: a server, a client */
    char text[TLS_WORLD_TEXT_BYTES]; /* what is written, in both directions */
};

/* Creates all of that at the first call. It lives as long as the process. */
const struct tls_world *tls_world_get(void);

/* Begins the random numbers again. */
void tls_world_restart(void);

#endif

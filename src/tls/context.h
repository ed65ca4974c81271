/* SPDX-License-Identifier: MIT */
/* What sessions have in common: certificates, keys and rules. */
#ifndef PRSERVD_TLS_CONTEXT_H
#define PRSERVD_TLS_CONTEXT_H

#include "tls/tls.h"

#include <openssl/ssl.h>

struct tls_context {
    SSL_CTX *ssl;
    bool is_server;
    int64_t expires_s;
};

/* For SSL_CTX_set_msg_callback: counts messages that cost the receiver much. */
void tls_count_key_updates(int is_written, int version, int type, const void *bytes, size_t length,
    SSL *ssl, void *argument);

/* Returns a client's last session, which the next one continues; NULL: there is none. Borrowed. */
SSL_SESSION *tls_context_last_session(const struct tls_context *context);

/* Returns whether the certificate of a session has not ended: it is not checked again. */
bool tls_context_may_continue(SSL_SESSION *session);

/* Writes what the library says of its last failure, after "what: ". Returns code. */
int tls_describe_failure(struct error *error, int code, const char *what);

#endif

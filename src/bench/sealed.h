/* SPDX-License-Identifier: MIT */
/* TLS of a connection under test. Without TLS in the build, only sealed_prepare may be called. */
#ifndef PRSERV_SEALED_H
#define PRSERV_SEALED_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "tls/tls.h"

#include <stdbool.h>

/* Reads the files that PRSERV_TLS_CA, PRSERV_TLS_CERT and PRSERV_TLS_KEY name. *context is the
 * caller's, to the end of the program. Fails with ERROR_INPUT or ERROR_MEMORY. */
ERROR_MUST_CHECK int sealed_prepare(struct tls_context **context, struct error *error);

/* Negotiates on a connected socket, and waits for it. *session is the caller's (sealed_close).
 * Fails with ERROR_SYSTEM or ERROR_MEMORY. */
ERROR_MUST_CHECK int sealed_open(struct tls_session **session, struct tls_context *context,
    const char *host, int descriptor, int timeout_ms, struct error *error);

/* Appends plain, encrypted, to out, and empties it. Returns false if that fails. */
bool sealed_write(struct tls_session *session, struct buffer *plain, struct buffer *out);

/* Appends what bytes of the network contain to plain. Returns false if the connection is broken. */
bool sealed_read(struct tls_session *session, struct text bytes, struct buffer *plain);

/* NULL is allowed. */
void sealed_close(struct tls_session *session);

#endif

/* SPDX-License-Identifier: MIT */
/* prservd's side of TLS: loads the module, has the certificates in use, and watches their end.
 *
 * There is one endpoint for all listeners, and one for what the server connects to. */
#ifndef PRSERVD_TLS_ENDPOINT_H
#define PRSERVD_TLS_ENDPOINT_H

#include "base/error.h"
#include "base/log.h"
#include "tls/tls.h"

#include <stdint.h>

struct tls_endpoint;

/* Loads the module and reads the files, whose names are borrowed as long as the endpoint lives.
 * Fails with ERROR_INPUT or ERROR_MEMORY. */
ERROR_MUST_CHECK int tls_endpoint_create(struct tls_endpoint **endpoint,
    const struct tls_options *options, struct log *log, struct error *error);

/* The module's functions; borrowed. */
const struct tls_module *tls_endpoint_module(const struct tls_endpoint *endpoint);

/* Begins a session, as tls_open does. On the thread of its other sessions. */
ERROR_MUST_CHECK int tls_endpoint_begin(struct tls_endpoint *endpoint, const char *host,
    struct tls_session **session, struct error *error);

/* Reads the files again, for the sessions that begin later. If one of them is invalid, logs an
 * error and goes on with what it has. From any thread; may wait for a disk. */
void tls_endpoint_reload(struct tls_endpoint *endpoint);

/* Logs a warning, once a day, if our certificate ends soon. Call it about once a second. */
void tls_endpoint_tick(struct tls_endpoint *endpoint);

/* Returns when our certificate ends, in seconds since 1970; 0: there is none. From any thread. */
int64_t tls_endpoint_expires_s(struct tls_endpoint *endpoint);

/* Frees the endpoint; its sessions may live longer. NULL is allowed. */
void tls_endpoint_free(struct tls_endpoint *endpoint);

#endif

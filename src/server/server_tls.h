/* SPDX-License-Identifier: MIT */
/* The certificates of a server: those of its listeners, and what it shows to the upstream. */
#ifndef PRSERVD_SERVER_TLS_H
#define PRSERVD_SERVER_TLS_H

#include "base/error.h"
#include "server/metrics.h"
#include "server/server.h"
#include "tls/endpoint.h"

struct server_tls {
    struct tls_endpoint *listeners; /* NULL: none has TLS */
    struct tls_endpoint *upstream;  /* NULL: there is none with TLS */
};

/* Reads the certificates that the options want. Fails with ERROR_INPUT or ERROR_MEMORY; what was
 * opened is freed by server_tls_close. */
ERROR_MUST_CHECK int server_tls_open(
    struct server_tls *tls, const struct server_options *options, struct error *error);

/* Reads the files again (SIGHUP). From any thread, between open and close. */
void server_tls_reload(const struct server_tls *tls);

/* Warns of certificates that end soon, and publishes when they do. Call it about once a second. */
void server_tls_tick(const struct server_tls *tls, struct metrics *metrics);

void server_tls_close(struct server_tls *tls);

#endif

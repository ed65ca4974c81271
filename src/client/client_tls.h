/* SPDX-License-Identifier: MIT */
/* Certificates for addresses with tls://. */
#ifndef PRSERV_CLIENT_TLS_H
#define PRSERV_CLIENT_TLS_H

#include "client/prserv.h"
#include "tls/tls.h"

/* Returns the functions of TLS; NULL: this library was built without it. */
const struct tls_module *client_tls_module(void);

/* Reads the files that are given (NULL: none), or else that the environment names. Fails with
 * PRSERV_ERROR_ARGUMENT or _MEMORY. */
PRSERV_CHECK int client_tls_open(
    struct tls_context **context, const struct prserv_tls *files, struct prserv_error *error);

#endif

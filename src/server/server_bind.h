/* SPDX-License-Identifier: MIT */
/* From the options of a server to its listeners. */
#ifndef PRSERVD_SERVER_BIND_H
#define PRSERVD_SERVER_BIND_H

#include "base/error.h"
#include "server/http_host.h"
#include "server/listener.h"
#include "server/server.h"

#include <stdbool.h>

/* Binds all addresses; http: NULL if there are none for HTTP. Fails with ERROR_SYSTEM, ERROR_INPUT
 * or ERROR_MEMORY. */
ERROR_MUST_CHECK int server_bind(struct listeners *listeners, struct http_host *http,
    const struct server_options *options, struct error *error);

/* Returns whether anything is limited for an address. */
bool server_counts_addresses(const struct server_options *options);

#endif

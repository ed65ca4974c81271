/* SPDX-License-Identifier: MIT */
/* A server's side of the HTTP interface: binds the addresses, loads the module, and answers it. On
 * the loop's thread. */
#ifndef PRSERVD_HTTP_HOST_H
#define PRSERVD_HTTP_HOST_H

#include "base/address.h"
#include "base/error.h"
#include "server/server_context.h"

#include <stddef.h>
#include <uv.h>

struct http_host;

/* Makes a host without addresses. Returns NULL if there is no memory. */
struct http_host *http_host_create(uv_loop_t *loop, struct log *log);

/* Loads the module and binds the addresses. Fails with ERROR_SYSTEM, or ERROR_MEMORY. */
ERROR_MUST_CHECK int http_host_bind(struct http_host *host, const struct address *addresses,
    size_t n_addresses, struct error *error);

/* Starts to serve, and logs the addresses. server is copied; what it points to is borrowed until
 * http_host_stop. commit: of this program. */
ERROR_MUST_CHECK int http_host_start(struct http_host *host, const struct server_context *server,
    const char *commit, struct error *error);

/* Removes the files of unix sockets, because the process is about to end: a thread that binds
 * addresses waits for ever. Any thread. */
void http_host_remove_files(struct http_host *host);

/* Ends the module's threads. Afterwards what the server pointed to may be freed. NULL is allowed.
 */
void http_host_stop(struct http_host *host);

/* Closes the handles; the loop has to run until they are closed, which frees the host. NULL is
 * allowed. */
void http_host_free(struct http_host *host);

#endif

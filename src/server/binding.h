/* SPDX-License-Identifier: MIT */
/* From an address to the sockets that listen on it. listener.h accepts the clients.
 *
 * After a failure nothing is left: no descriptor, and no file of a unix socket. */
#ifndef PRSERVD_BINDING_H
#define PRSERVD_BINDING_H

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "server/listener_options.h"

#include <netdb.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/un.h>
#include <uv.h>

/* One socket that listens. */
struct listener {
    TAILQ_ENTRY(listener) entry;
    int descriptor;
    char name[ADDRESS_TEXT_BYTES];
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* of a unix socket: removed at the end */
    dev_t path_device;
    ino_t path_inode;
    bool is_inherited;        /* another process has bound it */
    bool has_earlier_clients; /* perhaps: they connected before their options were set */

    struct listeners *listeners; /* set by listener.c, as what follows; NULL: poll is not in use */
    uv_poll_t poll;
    struct listener_options options;
};

TAILQ_HEAD(listener_list, listener);

/* Resolves the name of the address; *resolved is for freeaddrinfo, and NULL for a unix socket.
 * Fails with ERROR_SYSTEM. May block. */
ERROR_MUST_CHECK int binding_resolve(
    const struct address *address, struct addrinfo **resolved, struct error *error);

/* Appends a socket for each address that binding_resolve found. Port 0 takes a free port, the same
 * for all of them. v6_only: IPv4 is left to another socket. An address whose family this machine
 * lacks is skipped and logged, if another one works. Fails with ERROR_SYSTEM or ERROR_MEMORY. */
ERROR_MUST_CHECK int binding_open(struct listener_list *listeners, const struct address *address,
    const struct addrinfo *resolved, bool v6_only, struct log *log, struct error *error);

/* Appends a socket that another process has bound. Takes the descriptor over, also when it fails:
 * with ERROR_SYSTEM if this is not a TCP or unix stream socket, or with ERROR_MEMORY. */
ERROR_MUST_CHECK int binding_adopt(
    struct listener_list *listeners, int descriptor, struct error *error);

/* Sets the options of a client's socket. Linux gives a socket that is accepted those of the one
 * that listens, so this is for clients that connected to an inherited socket before they were set.
 */
void binding_set_client_options(int descriptor);

/* Removes the file of a unix socket, unless another socket has taken its place. */
void binding_remove_file(const struct listener *listener);

/* Closes the socket, and removes its file unless another socket has taken its place. */
void binding_close(struct listener *listener);

#endif

/* From an address to the sockets that listen on it. Who connects to them is not known here.
 *
 * On failure nothing is left behind: no descriptor, and no file of a unix socket. */
#ifndef PRSERVD_BINDING_H
#define PRSERVD_BINDING_H

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/un.h>

/* One socket. */
struct binding {
    TAILQ_ENTRY(binding) link;
    int descriptor;
    char name[ADDRESS_TEXT_BYTES];
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* unix: removed at the end */
    dev_t path_device;
    ino_t path_inode;
};

TAILQ_HEAD(binding_list, binding);

/* Appends a socket for each address that the name has; port 0 takes a free one, the same
 * for all of them. v6_only: leave IPv4 to another socket. An address whose family this
 * machine lacks is passed over, and logged, if another one works. Fails with ERROR_SYSTEM or
 * ERROR_MEMORY. May block: it asks for the name. */
ERROR_MUST_CHECK int binding_open(struct binding_list *bindings, const struct address *address,
    bool v6_only, struct log *log, struct error *error);

/* Appends a socket that somebody else has bound. The descriptor is the binding's from now
 * on, also when this fails, with ERROR_SYSTEM if it is no stream socket of a kind that is
 * served, or ERROR_MEMORY. */
ERROR_MUST_CHECK int binding_adopt(
    struct binding_list *bindings, int descriptor, struct error *error);

/* Closes the socket, removes its file unless that is a successor's, and frees the binding,
 * which must not be on a list. */
void binding_close(struct binding *binding);

#endif

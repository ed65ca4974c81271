/* What a service manager hands over, and what it wants to be told: the protocols of
 * sd_listen_fds(3) and sd_notify(3). Built without libsystemd, nothing is ever handed
 * over and nothing told. */
#ifndef PRSERVD_ACTIVATION_H
#define PRSERVD_ACTIVATION_H

#include "base/error.h"
#include "server/server.h"

#include <stddef.h>

#define ACTIVATION_MOST_SOCKETS 64

/* Finds the sockets that this process has inherited (LISTEN_FDS, LISTEN_PID), none in
 * most cases; one that LISTEN_FDNAMES calls "ro" is read-only. They are the caller's,
 * and no child of this process inherits them. To be called before there are threads,
 * and in the process that was started: a fork is another one. Fails with ERROR_SYSTEM. */
ERROR_MUST_CHECK int activation_take_sockets(
    struct server_inherited sockets[ACTIVATION_MOST_SOCKETS], size_t *n_sockets,
    struct error *error);

/* Tells the service manager (NOTIFY_SOCKET), if there is one. */
void activation_tell(enum server_phase phase);

#endif

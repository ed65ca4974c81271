/* SPDX-License-Identifier: MIT */
/* Inherited sockets and notifications of a service manager, or of any program that starts the
 * server in the same way: the protocols of sd_listen_fds(3) and sd_notify(3). Without libsystemd,
 * there are no notifications. */
#ifndef PRSERVD_ACTIVATION_H
#define PRSERVD_ACTIVATION_H

#include "base/error.h"
#include "server/server.h"

#include <stddef.h>

#define ACTIVATION_MAX_SOCKETS 64

/* Finds the sockets that this process has inherited (LISTEN_FDS, LISTEN_PID), usually none; a
 * socket whose name in LISTEN_FDNAMES begins with a word of listener_words.h has these options.
 * They are the caller's, and children of this process do not inherit them. To be called before
 * there are threads, and in the process that the service manager has started, not in a fork of it.
 * Fails with ERROR_SYSTEM. */
ERROR_MUST_CHECK int activation_take_sockets(
    struct server_inherited sockets[ACTIVATION_MAX_SOCKETS], size_t *n_sockets,
    struct error *error);

enum activation_phase {
    ACTIVATION_SERVING, /* after the start, and after a reload */
    ACTIVATION_RELOADING,
    ACTIVATION_STOPPING,
};

/* Notifies the service manager (NOTIFY_SOCKET), if any. From any thread. */
void activation_notify(enum activation_phase phase);

/* Tells the service manager that the event loop turns (WATCHDOG=1, if the manager has asked for
 * that: WATCHDOG_USEC), and, when it has changed, a line about the server (STATUS=). To be called
 * about once a second by the loop's thread. */
void activation_tell(const char *summary);

#endif

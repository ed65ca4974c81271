/* Accepts those who connect to the sockets that are listened on. On the loop's thread.
 *
 * accept(2) is called here and not by libuv, which closes what it accepts when
 * descriptors run out: here the clients wait in the backlog until there are some. */
#ifndef PRSERVD_LISTENER_H
#define PRSERVD_LISTENER_H

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <uv.h>

struct listeners;

struct listeners_events {
    /* A client has connected; the descriptor is the callee's. */
    void (*accepted)(void *context, int descriptor, bool read_only);
    void *context;
};

/* *listeners is the caller's. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int listeners_create(struct listeners **listeners, uv_loop_t *loop,
    const struct listeners_events *events, struct log *log, struct error *error);

/* Listens on every address that the name has: binding_open says how, and how it fails. What
 * other calls have bound stays. */
ERROR_MUST_CHECK int listeners_bind(struct listeners *listeners, const struct address *address,
    bool read_only, bool v6_only, struct error *error);

/* Takes over a socket that somebody else has bound, and holds too: it lives on when
 * listeners_close closes it here, with the clients in its backlog, and a unix socket's
 * file stays. The descriptor is the listeners' from now on, also when this fails, as
 * binding_adopt does. */
ERROR_MUST_CHECK int listeners_adopt(
    struct listeners *listeners, int descriptor, bool read_only, struct error *error);

/* Accepts clients from now on, and logs the addresses. */
void listeners_start(struct listeners *listeners);

/* A descriptor became free: accepts again, if it had to pause. */
void listeners_resume(struct listeners *listeners);

/* Closes the sockets; the loop has to run on until that is done, and the memory goes
 * with them. NULL is allowed. */
void listeners_close(struct listeners *listeners);

#endif

/* The server that prserv bench loads: its address, and sockets to it. */
#ifndef PRSERV_BENCH_TARGET_H
#define PRSERV_BENCH_TARGET_H

#include "base/address.h"
#include "base/error.h"

#include <stdbool.h>
#include <sys/socket.h>

struct bench_target {
    char text[ADDRESS_TEXT_BYTES]; /* as it was given */
    struct sockaddr_storage address;
    socklen_t length;
    unsigned timeout_ms; /* for connecting */
};

/* Resolves the name and connects once: the first of its addresses that answers is taken.
 * Fails with ERROR_INPUT for what is no address, ERROR_SYSTEM if nothing answers. */
ERROR_MUST_CHECK int bench_target_find(
    struct bench_target *target, const char *address, unsigned timeout_ms, struct error *error);

/* A new non-blocking socket, connected; it waits for that. *descriptor is the caller's.
 * Fails with ERROR_SYSTEM. */
ERROR_MUST_CHECK int bench_target_connect(
    const struct bench_target *target, int *descriptor, struct error *error);

/* Likewise, but does not wait where that can be avoided: the connection may still be
 * under way, or fail later. */
ERROR_MUST_CHECK int bench_target_start(
    const struct bench_target *target, int *descriptor, struct error *error);

#endif

/* SPDX-License-Identifier: MIT */
/* The server under test: its address, and sockets connected to it. */
#ifndef PRSERV_TARGET_H
#define PRSERV_TARGET_H

#include "base/address.h"
#include "base/error.h"
#include "tls/tls.h"

#include <stdbool.h>
#include <sys/socket.h>

struct bench_target {
    char text[ADDRESS_TEXT_BYTES]; /* the address as given, printable */
    struct sockaddr_storage address;
    socklen_t length;
    unsigned timeout_ms;     /* limit for connecting, and for each answer */
    unsigned n_sources;      /* addresses that connections come from: 127.0.0.1, .2 and so on */
    struct tls_context *tls; /* NULL: without TLS */
    char host[ADDRESS_HOST_BYTES];
};

#define BENCH_MAX_SOURCES 250

/* Resolves the name and connects once, to choose the first address that accepts a connection.
 * n_sources: 1, or up to BENCH_MAX_SOURCES for a server at 127.0.0.0/8. Fails with ERROR_INPUT if
 * the address is invalid, or another one needs one source; ERROR_SYSTEM if none accepts. */
ERROR_MUST_CHECK int bench_target_resolve(struct bench_target *target, const char *address,
    unsigned timeout_ms, unsigned n_sources, struct error *error);

/* Opens a non-blocking socket and waits until it is connected. number: of the connection, which
 * chooses its source. *descriptor is the caller's. Fails with ERROR_SYSTEM. */
ERROR_MUST_CHECK int bench_target_connect(
    const struct bench_target *target, size_t number, int *descriptor, struct error *error);

/* Opens a non-blocking socket without waiting, except for a Unix socket: the connection may still
 * be in progress, and may fail later. */
ERROR_MUST_CHECK int bench_target_start(
    const struct bench_target *target, size_t number, int *descriptor, struct error *error);

#endif

/* SPDX-License-Identifier: MIT */
/* Connections that keep a server busy: each sends its next request as soon as an answer has
 * arrived (a closed loop). One thread, no JSON and few system calls, so that the server is the
 * bottleneck. */
#ifndef PRSERV_LOAD_H
#define PRSERV_LOAD_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/histogram.h"
#include "bench/target.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_ERROR_BYTES 240
#define BENCH_ATTEMPTS 4 /* for one request with reconnect, as BitBake's client makes */

struct bench_load_options {
    unsigned connections; /* at least 1 */
    unsigned depth;       /* requests in flight on each; 1 with reconnect */
    bool reconnect;       /* a new connection for each request */
    int stop;             /* signalfd; a signal ends the phase */
};

/* A part of the run. It ends at the first of its limits, once requests in flight are answered. */
struct bench_phase {
    uint64_t requests;                            /* 0: no limit */
    uint64_t duration_ns;                         /* 0: no limit */
    void (*next)(void *work, struct buffer *out); /* appends a request */
    void *work;
    /* Called a few times a second, for a progress line; or NULL. */
    void (*tick)(void *context, uint64_t elapsed_ns, uint64_t answers);
    void *tick_context;
};

struct bench_figures {
    uint64_t sent; /* requests, without retries */
    uint64_t answers;
    uint64_t errors; /* unexpected answers among them */
    uint64_t retries;
    uint64_t elapsed_ns; /* time until the last answer */
    struct histogram latency_ns;
    char first_error[BENCH_ERROR_BYTES + 1]; /* beginning of the first unexpected answer */
    bool stopped;                            /* ended by a signal */
};

struct bench_load;

/* Opens the connections, unless with reconnect. *load is the caller's (bench_load_free); target is
 * borrowed. Fails with ERROR_MEMORY or ERROR_SYSTEM. */
ERROR_MUST_CHECK int bench_load_create(struct bench_load **load, const struct bench_target *target,
    const struct bench_load_options *options, struct error *error);
void bench_load_free(struct bench_load *load);

/* Runs a phase. Fails with ERROR_MEMORY, or ERROR_SYSTEM if the server goes away, times out or
 * sends an answer without a request. figures then hold the measurements so far, and the load can
 * only be freed. */
ERROR_MUST_CHECK int bench_load_run(struct bench_load *load, const struct bench_phase *phase,
    struct bench_figures *figures, struct error *error);

#endif

/* Connections to a server, each kept busy: as soon as an answer has come, the next request
 * is sent (a closed loop). One thread, no JSON, few system calls, so that the server is
 * what is measured. */
#ifndef PRSERV_BENCH_LOAD_H
#define PRSERV_BENCH_LOAD_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/histogram.h"
#include "cli/bench_answer.h"
#include "cli/bench_target.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_TRIES 4 /* of one request with reconnect, as BitBake's client */

struct bench_load_options {
    unsigned connections; /* at least 1 */
    unsigned depth;       /* requests under way on each; 1 with reconnect */
    bool reconnect;       /* a connection for each request */
    unsigned timeout_ms;  /* for each answer */
    int stop;             /* a signalfd: what can be read there ends a phase */
};

/* A part of the run. Ends at the first of its limits; answers under way are waited for. */
struct bench_phase {
    uint64_t requests;                            /* 0: no limit */
    uint64_t duration_ns;                         /* 0: no limit */
    void (*next)(void *work, struct buffer *out); /* appends a request */
    void *work;
    /* NULL, or called a few times a second, for a progress line. */
    void (*tick)(void *context, uint64_t elapsed_ns, uint64_t answers);
    void *tick_context;
};

struct bench_figures {
    uint64_t sent; /* requests, each counted once however often it was tried */
    uint64_t answers;
    uint64_t errors; /* wrong answers among them */
    uint64_t retries;
    uint64_t elapsed_ns; /* up to the last answer */
    struct histogram latency_ns;
    char first_error[BENCH_HEAD_BYTES + 1]; /* how the first wrong answer began */
    bool stopped;                           /* by the signal */
};

struct bench_load;

/* *load is the caller's: bench_load_free. target is borrowed. Connections that are kept
 * are made here. Fails with ERROR_MEMORY, ERROR_SYSTEM. */
ERROR_MUST_CHECK int bench_load_new(struct bench_load **load, const struct bench_target *target,
    const struct bench_load_options *options, struct error *error);
void bench_load_free(struct bench_load *load);

/* Fails with ERROR_SYSTEM if the server goes away, is silent for too long or says what
 * nobody asked for, ERROR_MEMORY; figures hold what was measured until then, and the load
 * can only be freed. */
ERROR_MUST_CHECK int bench_load_run(struct bench_load *load, const struct bench_phase *phase,
    struct bench_figures *figures, struct error *error);

#endif

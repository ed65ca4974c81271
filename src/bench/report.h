/* SPDX-License-Identifier: MIT */
/* The settings of prserv-bench, its measurements, and the report about them. */
#ifndef PRSERV_REPORT_H
#define PRSERV_REPORT_H

#include "bench/load.h"
#include "bench/work.h"

#include <stdbool.h>
#include <stdint.h>

struct bench_settings {
    struct bench_plan plan;
    unsigned connections;
    unsigned pipeline;
    unsigned sources; /* addresses that connections come from */
    bool reconnect;
    bool prepared;     /* an earlier run has stored the known content */
    uint64_t requests; /* 0: no limit */
    double seconds;    /* 0: no limit */
    double warm_up_s;
    uint64_t warm_up_requests;
    double timeout_s;
};

struct bench_part {
    struct bench_figures figures;
    struct bench_counts counts; /* requests of this part alone */
};

struct bench_result {
    const char *server;
    struct bench_part prepare;
    struct bench_part warm_up;
    struct bench_part measured;
    double user_s; /* the client's CPU time during the measurement */
    double system_s;
    const char *failure; /* reason why the run ended early, or NULL */
};

/* Both print to standard output. */
void bench_report_text(const struct bench_settings *settings, const struct bench_result *result);
void bench_report_json(const struct bench_settings *settings, const struct bench_result *result);

/* A progress line on standard error. */
struct bench_progress {
    const char *part; /* "measuring" */
    bool shown;
};

/* Prints the line; a bench_phase.tick whose context is a struct bench_progress. */
void bench_progress_tick(void *progress, uint64_t elapsed_ns, uint64_t answers);
void bench_progress_clear(const struct bench_progress *progress);

#endif

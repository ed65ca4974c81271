/* SPDX-License-Identifier: MIT */
/* What the loop's thread counts for other threads: the sources of /metrics, /healthz and, partly,
 * get-stats. Gauges are copied here at the end of each turn of the loop, so they are those of the
 * last turn. Written on the loop's thread, read on any. */
#ifndef PRSERVD_METRICS_H
#define PRSERVD_METRICS_H

#include "base/metric.h"
#include "wire/request.h"

enum metrics_result {
    METRICS_OK,
    METRICS_REFUSED, /* the request itself was invalid */
    METRICS_ERROR,   /* it could not be carried out */
    METRICS_RESULTS
};

/* Messages that are no known request count as the kind REQUEST_KINDS. */
struct metrics {
    struct metric requests[REQUEST_KINDS + 1][METRICS_RESULTS]; /* answered, since the start */
    struct metric_histogram request_us[REQUEST_KINDS + 1];      /* from read to written */
    struct metric turned_ms; /* the end of the loop's last turn (clock_ms) */
    struct metric n_open;    /* connections */
    struct metric n_accepted;
    struct metric n_refused;
    struct metric n_tls_failures;    /* negotiations that failed */
    struct metric tls_expires_s;     /* end of our certificate, in seconds since 1970; 0: none */
    struct metric memory_used_bytes; /* of the budget of client data */
    struct metric memory_limit_bytes;
};

/* Returns the requests of a kind that were answered with an error. */
static inline uint64_t metrics_errors(const struct metrics *metrics, enum request_kind kind)
{
    return metric_get(&metrics->requests[kind][METRICS_REFUSED]) +
           metric_get(&metrics->requests[kind][METRICS_ERROR]);
}

#endif

/* SPDX-License-Identifier: MIT */
/* Statistics of the writer: its commits, and how many requests and rows went into them. */
#ifndef PRSERVD_BATCH_STATS_H
#define PRSERVD_BATCH_STATS_H

#include "base/histogram.h"

#include <stdint.h>

struct batch_stats {
    uint64_t count;             /* commits */
    uint64_t requests;          /* answered by them */
    uint64_t rows;              /* added by them */
    uint64_t largest;           /* number of requests in the largest batch */
    struct histogram commit_us; /* time until a commit was durable */
};

/* Adds a commit. */
static inline void batch_stats_add(
    struct batch_stats *stats, uint64_t n_requests, uint64_t n_rows, uint64_t commit_us)
{
    stats->count++;
    stats->requests += n_requests;
    stats->rows += n_rows;
    if (n_requests > stats->largest)
        stats->largest = n_requests;
    histogram_add(&stats->commit_us, commit_us);
}

#endif

/* SPDX-License-Identifier: MIT */
/* A histogram of durations. Its buckets grow with the value, so that percentiles are exact to
 * within 4 %, in constant memory. One thread at a time. */
#ifndef PRSERVD_HISTOGRAM_H
#define PRSERVD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 1024

struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count;
    uint64_t largest;
};

void histogram_add(struct histogram *histogram, uint64_t value);

/* Returns the value that this part (0.5, 0.99) of all values does not exceed, or 0 if there are no
 * values. */
uint64_t histogram_percentile(const struct histogram *histogram, double part);

#endif

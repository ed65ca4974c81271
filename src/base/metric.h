/* SPDX-License-Identifier: MIT */
/* Figures that one thread counts and any thread reads: counters, gauges, and histograms with fixed
 * buckets. Counting costs a plain load and a plain store (relaxed atomics), and never waits. A
 * reader may see a histogram between two of its counts: it reads the buckets, and derives the
 * number of values from them. */
#ifndef PRSERVD_METRIC_H
#define PRSERVD_METRIC_H

#include <stdatomic.h>
#include <stdint.h>

struct metric {
    atomic_ullong value;
};

static inline uint64_t metric_get(const struct metric *metric)
{
    return atomic_load_explicit(&metric->value, memory_order_relaxed);
}

static inline void metric_set(struct metric *metric, uint64_t value)
{
    atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

/* Adds. One thread at a time. */
static inline void metric_add(struct metric *metric, uint64_t number)
{
    metric_set(metric, metric_get(metric) + number);
}

/* Counts up or down. One thread at a time. */
static inline void metric_count(struct metric *metric, int change)
{
    metric_set(metric, metric_get(metric) + (uint64_t)change);
}

#define METRIC_BOUNDS 18

enum metric_scale {
    METRIC_DURATION, /* microseconds, 50 µs to 30 s */
    METRIC_NUMBER,   /* powers of two, 1 to 131,072 */
};

/* The upper ends of the buckets, included in them. Behind the last one there is another bucket. */
extern const uint64_t metric_bounds[2][METRIC_BOUNDS];

struct metric_histogram {
    struct metric buckets[METRIC_BOUNDS + 1];
    struct metric sum;
};

/* Adds a value. One thread at a time. */
void metric_histogram_add(
    struct metric_histogram *histogram, enum metric_scale scale, uint64_t value);

#endif

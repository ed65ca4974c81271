/* SPDX-License-Identifier: MIT */
/* Each value below 32 has a bucket of its own; above, each power of two has 16 buckets. */
#include "base/histogram.h"

#define LINEAR 32u
#define STEPS 16u
#define STEP_BITS 4u

static unsigned histogram_bucket_of(uint64_t value)
{
    unsigned power;

    if (value < LINEAR)
        return (unsigned)value;
    power = 63u - (unsigned)__builtin_clzll(value);
    return LINEAR + (power - STEP_BITS - 1) * STEPS +
           (unsigned)((value >> (power - STEP_BITS)) & (STEPS - 1));
}

/* Returns the greatest value that belongs to a bucket. */
static uint64_t histogram_upper_end(unsigned bucket)
{
    unsigned shift;

    if (bucket < LINEAR)
        return bucket;
    shift = (bucket - LINEAR) / STEPS + 1;
    return ((STEPS + (bucket - LINEAR) % STEPS + 1ull) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[histogram_bucket_of(value)]++;
    histogram->count++;
    if (value > histogram->largest)
        histogram->largest = value;
}

uint64_t histogram_percentile(const struct histogram *histogram, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)histogram->count + 0.5);
    uint64_t seen = 0;

    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS && histogram->count > 0; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= wanted && seen > 0)
            return histogram_upper_end(bucket) < histogram->largest ? histogram_upper_end(bucket)
                                                                    : histogram->largest;
    }
    return 0;
}

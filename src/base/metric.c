/* SPDX-License-Identifier: MIT */
#include "base/metric.h"

const uint64_t metric_bounds[2][METRIC_BOUNDS] = {
    [METRIC_DURATION] = {50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000,
        500000, 1000000, 2000000, 5000000, 10000000, 30000000},
    [METRIC_NUMBER] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768,
        65536, 131072},
};

void metric_histogram_add(
    struct metric_histogram *histogram, enum metric_scale scale, uint64_t value)
{
    unsigned bucket = 0;

    while (bucket < METRIC_BOUNDS && value > metric_bounds[scale][bucket])
        bucket++;
    metric_add(&histogram->buckets[bucket], 1);
    metric_add(&histogram->sum, value);
}

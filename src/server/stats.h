/* SPDX-License-Identifier: MIT */
/* The answer to get-stats: figures of the whole server. On the loop's thread. */
#ifndef PRSERVD_STATS_H
#define PRSERVD_STATS_H

#include "base/buffer.h"
#include "server/metrics.h"
#include "wire/request.h"

#include <stdint.h>

struct connections;

/* The sources of the figures; all pointers are borrowed. */
struct stats {
    const char *database; /* its kind: "sqlite", "postgresql" */
    uint64_t started_ms;  /* clock_ms */
    const struct connections *connections;
    uint64_t requests[REQUEST_KINDS]; /* since the start, by kind */
    struct metrics *metrics;
};

/* Appends the figures as one JSON object; rows is the number of rows in the database, or an
 * estimate of it. */
void stats_write(const struct stats *stats, uint64_t rows, bool rows_estimated, struct buffer *out);

#endif

/* SPDX-License-Identifier: MIT */
/* The answer to get-stats: figures of the whole server. On the loop's thread. */
#ifndef PRSERVD_STATS_H
#define PRSERVD_STATS_H

#include "base/buffer.h"
#include "server/metrics.h"
#include "wire/request.h"

#include <stdint.h>

struct connections;
struct listeners;

/* The sources of the figures; all pointers are borrowed. */
struct stats {
    const char *database; /* its kind: "sqlite", "postgresql" */
    uint64_t started_ms;  /* clock_ms */
    const struct connections *connections;
    const struct listeners *listeners;
    uint64_t requests[REQUEST_KINDS]; /* since the start, by kind */
    struct metrics *metrics;
};

/* What the other figures are written with. */
struct stats_view {
    uint64_t rows; /* in the database */
    bool rows_estimated;
    bool shows_addresses; /* of listeners and of the upstream */
};

/* Appends the figures as one JSON object. */
void stats_write(const struct stats *stats, const struct stats_view *view, struct buffer *out);

#endif

/* What get-stats answers: figures of the whole server. On the loop's thread. */
#ifndef PRSERVD_STATS_H
#define PRSERVD_STATS_H

#include "base/buffer.h"
#include "exec/executor.h"
#include "server/connections.h"
#include "server/service.h"
#include "server/upstream.h"

#include <stdbool.h>
#include <stdint.h>

/* Where the figures come from; all of it is borrowed. */
struct stats {
    bool read_only;
    const char *database; /* which kind: "sqlite", "postgresql" */
    uint64_t started_ms;  /* clock_ms */
    struct executor *executor;
    const struct upstream *upstream; /* NULL: there is none */
    const struct connections *connections;
    struct request_counts counts;
};

/* Appends them as one JSON object; rows: in the database. */
void stats_write(const struct stats *stats, uint64_t rows, struct buffer *out);

#endif

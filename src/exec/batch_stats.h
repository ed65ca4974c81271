/* What the writer has done: commits, and what went into them. */
#ifndef PRSERVD_BATCH_STATS_H
#define PRSERVD_BATCH_STATS_H

#include "base/histogram.h"

#include <stdint.h>

struct batch_stats {
    uint64_t count;             /* commits */
    uint64_t requests;          /* that they answered */
    uint64_t rows;              /* that they added */
    uint64_t largest;           /* most requests in one */
    struct histogram commit_us; /* until it was durable */
};

#endif

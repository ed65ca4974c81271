/* What the server's rooms work for and with: one of each, for all clients. */
#ifndef PRSERVD_SERVICE_H
#define PRSERVD_SERVICE_H

#include "base/budget.h"
#include "base/buffer.h"
#include "base/log.h"
#include "exec/executor.h"
#include "server/turns.h"
#include "server/upstream.h"
#include "wire/request.h"

#include <stdbool.h>
#include <stdint.h>

/* Of each kind of request: how many came, and how many were answered with an error. */
struct request_counts {
    uint64_t count[REQUEST_KINDS];
    uint64_t errors[REQUEST_KINDS];
};

/* What a service works with; all of it is borrowed. */
struct service {
    struct executor *executor;
    struct upstream *upstream; /* NULL: there is none */
    struct log *log;
    bool read_only; /* the database is */
    struct request_counts *counts;
    struct budget *budget; /* what requests and answers hold is taken from it */
    struct turns *exports; /* each has a connection to the database of its own */
    /* Appends the answer to get-stats; rows: in the database. */
    void (*write_stats)(void *context, uint64_t rows, struct buffer *out);
    void *stats_context;
};

#endif

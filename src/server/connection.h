/* One client's connection: bytes in, bytes out. On the loop's thread. */
#ifndef PRSERVD_CONNECTION_H
#define PRSERVD_CONNECTION_H

#include "base/budget.h"
#include "base/log.h"
#include "server/holders.h"
#include "server/session.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct connection;

TAILQ_HEAD(connection_list, connection);

/* All connections of a server, and what they share. */
struct connections {
    uv_loop_t *loop;
    struct service service;
    struct log *log;
    size_t max_message_bytes;
    struct budget *budget;
    struct holders holders; /* connections by what they would give back if they were closed */
    struct connection_list all;
    struct connection_list touched; /* to be looked after at the end of this turn */
    struct connection_list waiting; /* for others' requests to be done: see budget_admits */
    size_t n_touched;
    size_t count;
    uint64_t accepted; /* since the start */
    uint64_t refused;  /* closed for lack of memory or the like */
    uint64_t overruns; /* closed because memory was used up */
    bool stopping;
    void (*closed)(void *context); /* a descriptor became free */
    void *context;
    char input[64 * 1024]; /* what was read just now */
};

/* The service's budget is the connections' as well. */
void connections_init(struct connections *connections, uv_loop_t *loop,
    const struct service *service, size_t max_message_bytes);

/* Takes over an accepted socket; read_only: through this one nothing is stored. */
void connections_add(struct connections *connections, int descriptor, bool read_only);

/* At the end of each turn of the loop: writes the answers that have come. Returns
 * true if there is more to do, for which the loop must not wait. */
ERROR_MUST_CHECK bool connections_turn(struct connections *connections);

/* Every second or so: ends connections whose time has run out. */
void connections_check_deadlines(struct connections *connections);

/* Reads what has come, and no more; answers that; closes. */
void connections_stop(struct connections *connections);

/* Closes all, answered or not. */
void connections_close(struct connections *connections);

#endif

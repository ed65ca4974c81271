/* All connections of a server: takes in new ones, and gives each its time in every turn of
 * the loop. On the loop's thread. */
#ifndef PRSERVD_CONNECTIONS_H
#define PRSERVD_CONNECTIONS_H

#include "base/error.h"
#include "server/connection.h"
#include "server/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct connections {
    struct connection_shared shared;
    uint64_t accepted; /* since the start */
    uint64_t refused;  /* closed for lack of memory or the like */
};

/* closed: a descriptor became free. */
void connections_init(struct connections *connections, uv_loop_t *loop,
    const struct service *service, size_t max_message_bytes, void (*closed)(void *context),
    void *context);

/* Takes over an accepted socket; read_only: through this one nothing is stored. */
void connections_add(struct connections *connections, int descriptor, bool read_only);

/* Those that are not closed yet. */
size_t connections_count(const struct connections *connections);

struct connections_stats {
    size_t open;
    uint64_t accepted;
    uint64_t refused;
    size_t used_bytes; /* of the budget */
    size_t limit_bytes;
    uint64_t overruns;
};

void connections_stats(const struct connections *connections, struct connections_stats *stats);

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

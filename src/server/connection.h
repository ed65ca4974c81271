/* One client's life, from its opening to its end: takes messages from the bytes that a
 * transport brings, and lets the transport write a session's answers.
 *
 * On the loop's thread. A connection frees itself when it has ended. */
#ifndef PRSERVD_CONNECTION_H
#define PRSERVD_CONNECTION_H

#include "base/error.h"
#include "server/relief.h"
#include "server/roster.h"
#include "server/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* What the connections of a server share. */
struct connection_shared {
    uv_loop_t *loop;
    struct service service; /* its budget is the connections' as well */
    size_t max_message_bytes;
    struct roster roster; /* of connections */
    struct relief relief;
    bool stopping;
    void (*closed)(void *context); /* a descriptor became free */
    void *context;
    char input[64 * 1024]; /* what was read just now */
};

struct connection;

/* Takes over an accepted socket; read_only: through this one nothing is stored. Puts the
 * connection on the roster, which is how it is found from then on. Fails with ERROR_MEMORY;
 * the socket is closed then. */
ERROR_MUST_CHECK int connection_open(
    struct connection_shared *shared, int descriptor, bool read_only, struct error *error);

/* It was touched: writes what there is and takes what was read, until there is nothing more
 * to do. */
void connection_look_after(struct connection *connection);

/* Is memory left for its next request, or must it wait? See budget_admits. */
bool connection_is_admitted(const struct connection *connection);

/* Every second or so: ends it if its time has run out. */
void connection_check_deadline(struct connection *connection, uint64_t now);

/* Reads what has come, and no more; answers that; ends. */
void connection_stop(struct connection *connection);

/* Ends now, answered or not. */
void connection_close(struct connection *connection, const char *reason);

#endif

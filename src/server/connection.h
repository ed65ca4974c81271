/* SPDX-License-Identifier: MIT */
/* A connection: one client, from accept to close. */
#ifndef PRSERVD_CONNECTION_H
#define PRSERVD_CONNECTION_H

#include "server/connections.h"
#include "server/listener_options.h"

#include <stdbool.h>

/* Takes over an accepted socket. options: those of its listener. The connection belongs to
 * connections, and frees itself when it has ended. If memory runs out, the socket is closed at
 * once, which is counted and logged. */
void connection_open(
    struct connections *connections, int descriptor, const struct listener_options *options);

/* Does what can be done now, at the end of a turn in which something happened. */
void connection_process(struct connection *connection);

/* Ends a connection whose deadline has passed. Call it every second or so. */
void connection_check_deadline(struct connection *connection);

/* Closes the connection if its client has asked for nothing, for some time: another client needs
 * the descriptor. Returns whether it did. */
bool connection_give_way(struct connection *connection);

/* Reads and answers what the client has sent until now, then closes the connection. */
void connection_stop(struct connection *connection);

/* Closes the connection at once, answered or not. */
void connection_abort(struct connection *connection);

#endif

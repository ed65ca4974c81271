/* SPDX-License-Identifier: MIT */
/* The state of a connection, shared by connection.c and connection_open.c. Only they include this.
 */
#ifndef PRSERVD_CONNECTION_STATE_H
#define PRSERVD_CONNECTION_STATE_H

#include "server/connection.h"
#include "server/session.h"
#include "server/transport.h"
#include "wire/framer.h"
#include "wire/handshake.h"

enum connection_state { NEGOTIATING, HANDSHAKING, OPEN, DRAINING, FINISHING, LINGERING, CLOSED };

struct connection {
    struct connections *connections;
    struct connection_entry entry;
    enum connection_state state;
    uint64_t deadline_ms; /* end of the state; UINT64_MAX: none */
    struct transport transport;
    struct handshake handshake;
    struct framer framer;
    struct session *session;
    struct memory_account memory; /* of the buffers; the session takes from the budget itself */
};

/* Changes the state, or begins it anew: with a new deadline. */
void connection_set_state(struct connection *connection, enum connection_state state);

/* Closes the connection now, even if requests have no answer yet. */
void connection_close(void *context, const char *reason);

/* Has the connection processed at the end of this turn. */
void connection_schedule(void *context);

/* Answers with an error, and ends when it is written: the rest of the input can't be read. */
void connection_refuse(struct connection *connection, const char *reason);

/* Shuts our side after the last answer, and lets the client read. */
void connection_linger(struct connection *connection);

void connection_update_reading(struct connection *connection);

/* Notes what the connection holds, at the moment when that changes. */
void connection_count_memory(void *context);

/* Events of the transport. */
void connection_on_input(void *context, const char *bytes, size_t length);
void connection_on_end_of_input(void *context);

/* For struct memory_account. */
bool connection_release_unused(void *context);
void connection_shut(void *context, const char *reason);

/* Goes on with the negotiation of TLS. */
void connection_negotiate(struct connection *connection);

#endif

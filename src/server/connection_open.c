/* SPDX-License-Identifier: MIT */
/* The start and the end of a connection, and the negotiation of TLS. */
#include "server/connection_state.h"

#include <stdlib.h>

#define SUBJECT_BYTES 1024 /* of a longer one, the beginning is kept */

/* ---- TLS ---- */

static void connection_on_negotiation(void *context)
{
    struct connection *connection = context;

    connections_note_activity(connection->connections, &connection->entry);
    connection_count_memory(connection);
    if (!connections_schedule_negotiation(connection->connections, &connection->entry))
        connection_close(connection, "no memory to negotiate TLS");
}

/* Has the connection processed, even if all that was read is overhead: it may have stopped reading
 * until then. */
static void connection_on_sealed(void *context, size_t length)
{
    struct connection *connection = context;

    if (connection->state != CLOSED)
        connections_schedule_input(connection->connections, &connection->entry, length);
}

/* Goes on as without TLS. */
static void connection_end_negotiation(struct connection *connection)
{
    char subject[SUBJECT_BYTES];

    connections_end_negotiation(connection->connections, &connection->entry);
    connection_set_state(connection, HANDSHAKING);
    connection->transport.tls->describe_peer(
        connection->transport.session, subject, sizeof subject);
    if (subject[0] != '\0')
        session_set_subject(connection->session, subject);
    transport_pass_on(&connection->transport);
}

void connection_negotiate(struct connection *connection)
{
    struct connections *connections = connection->connections;
    struct error error;

    switch (transport_negotiate(&connection->transport, &error)) {
    case TLS_OK:
        connection_end_negotiation(connection);
        break;
    case TLS_PLAIN:
        connections_end_negotiation(connections, &connection->entry);
        connections_log_tls_failure(connections, &connection->transport, "it does not speak TLS");
        connection_refuse(connection,
            "this port speaks TLS: use the address with tls://, or a port without ',tls'");
        break;
    case TLS_MORE:
        break;
    case TLS_ENDED:
        connection_close(connection, "the client closed it before TLS was negotiated");
        break;
    case TLS_FAILED:
        connections_end_negotiation(connections, &connection->entry);
        connections_log_tls_failure(connections, &connection->transport, error.text);
        connection_linger(connection); /* the client reads what TLS says */
        break;
    }
}

static void connection_abandon_negotiation(struct connection *connection)
{
    connection_close(connection, "too many clients negotiate TLS");
}

/* Has the client negotiate TLS. Fails with a code of libuv. */
static int connection_begin_tls(struct connection *connection)
{
    struct connections *connections = connection->connections;
    struct tls_session *session;
    struct error error;

    if (tls_endpoint_begin(connections->tls, NULL, &session, &error) != 0)
        return UV_ENOMEM;
    transport_begin_tls(&connection->transport, tls_endpoint_module(connections->tls), session);
    connection_set_state(connection, NEGOTIATING);
    connection_count_memory(connection);
    return connections_begin_negotiation(
               connections, &connection->entry, connection_abandon_negotiation)
               ? 0
               : UV_ENOMEM;
}

/* ---- start and end ---- */

static void connection_on_closed(void *context)
{
    struct connection *connection = context;
    struct connections *connections = connection->connections;

    connections_remove(connections, &connection->entry);
    framer_free(&connection->framer);
    handshake_release(&connection->handshake);
    free(connection);
    connections->closed(connections->context);
}

static const struct transport_events connection_events = {
    .received = connection_on_input,
    .read_sealed = connection_on_sealed,
    .negotiates = connection_on_negotiation,
    .input_ended = connection_on_end_of_input,
    .failed = connection_close,
    .written = connection_schedule,
    .closed = connection_on_closed,
};

/* Returns NULL if there is no memory. */
static struct connection *connection_create(
    struct connections *connections, const struct admission *admission)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (!connection)
        return NULL;
    connection->session =
        session_open(&connections->server, &admission->options, connection_schedule, connection);
    if (!connection->session) {
        free(connection);
        return NULL;
    }
    session_watch_memory(connection->session, connection_count_memory);
    session_set_peer(connection->session, &admission->peer);
    connection->entry.address = admission->address;
    connection->entry.peer = admission->peer.address;
    connection->connections = connections;
    connection->entry.connection = connection->memory.owner = connection;
    connection->memory.release_unused = connection_release_unused;
    connection->memory.shut = connection_shut;
    framer_init(&connection->framer, connections->max_message_bytes);
    connection_set_state(connection, HANDSHAKING);
    return connection;
}

void connection_open(
    struct connections *connections, int descriptor, const struct listener_options *options)
{
    const uv_buf_t input = uv_buf_init(connections->input, sizeof connections->input);
    struct admission admission;
    struct connection *connection;
    int result;

    if (!connections_admit(connections, descriptor, options, &admission))
        return;
    connection = connection_create(connections, &admission);
    if (!connection) {
        address_limits_leave(&connections->limits, admission.address);
        connections_refuse(connections, descriptor);
        return;
    }
    connections->n_accepted++;
    connections_add(connections, &connection->entry);
    result = transport_open(&connection->transport, connections->loop, descriptor, input,
        &connection_events, connection);
    if (result == 0 && options->tls)
        result = connection_begin_tls(connection);
    if (result != 0)
        connection_close(connection, uv_strerror(result));
    else
        connection_update_reading(connection);
}

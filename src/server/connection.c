/* SPDX-License-Identifier: MIT */
/* Takes messages from the bytes that a transport reads, gives them to a session, and lets the
 * transport write the session's answers.
 *
 *   NEGOTIATING     TLS, on a listener that has it
 *      │
 *      ↓     handshake complete      end of input, stop
 *   HANDSHAKING ─────────────→ OPEN ──────────────────────→ DRAINING
 *      │                    │                               │ all messages that
 *      │ invalid handshake  │ null, invalid message         │ were read are taken
 *      └────────────────────┴────────────→ FINISHING ←──────┘
 *                                              │ all answers are written
 *                                              ↓
 *                                          LINGERING   our side is shut; input is
 *                                              │       discarded, because closing now
 *                                              ↓       could destroy answers on their way
 *                                            CLOSED    from any state: connection_close
 *
 * The server does not read from a client while too much of it is under way or waits to be written.
 * If the client does not read its answers for STALL_MS, the server closes the connection.
 *
 * All memory is part of a budget that the connections share (memory_pressure.h). While requests
 * under way use much of it, the next request waits to be admitted. */
#include "server/connection_state.h"

#include "base/clock.h"

#define NEGOTIATION_MS 10000
#define HANDSHAKE_MS 30000
#define STALL_MS 60000
#define GIVE_WAY_MS 1000 /* for a new client to send its request */
#define LINGER_MS 5000
#define LINGER_STOPPING_MS 500
#define MAX_OUTPUT_BYTES ((size_t)256 * 1024) /* answers that wait to be written */
#define MAX_ROUNDS 8 /* reads or writes in one turn, before the next connection is processed */

static const char *const connection_state_names[] = {
    "negotiating TLS", "handshaking", "open", "draining", "finishing", "lingering", "closed"};

/* ---- the state ---- */

void connection_set_state(struct connection *connection, enum connection_state state)
{
    connection->state = state;
    connection->deadline_ms = UINT64_MAX;
    if (state == NEGOTIATING)
        connection->deadline_ms = clock_ms() + NEGOTIATION_MS;
    else if (state == HANDSHAKING)
        connection->deadline_ms = clock_ms() + HANDSHAKE_MS;
    else if (state == LINGERING)
        connection->deadline_ms =
            clock_ms() + (connection->connections->is_stopping ? LINGER_STOPPING_MS : LINGER_MS);
}

void connection_count_memory(void *context)
{
    struct connection *connection = context;
    struct memory_pressure *pressure = &connection->connections->pressure;
    size_t bytes = framer_bytes(&connection->framer) +
                   transport_held_bytes(&connection->transport) +
                   connection->handshake.annotation_bytes;

    if (connection->state == CLOSED) /* the buffers are freed within this turn */
        memory_pressure_update(pressure, &connection->memory, 0, 0);
    else
        memory_pressure_update(
            pressure, &connection->memory, bytes, bytes + session_held_bytes(connection->session));
}

void connection_close(void *context, const char *reason)
{
    struct connection *connection = context;

    if (connection->state == CLOSED)
        return;
    log_write(connection->connections->server.log, LOG_DEBUG, "Connection %p closed (%s): %s",
        (void *)connection, connection_state_names[connection->state], reason);
    connection_set_state(connection, CLOSED);
    connections_retire(connection->connections, &connection->entry);
    connection_count_memory(connection);
    session_close(connection->session);
    transport_close(&connection->transport);
}

void connection_schedule(void *context)
{
    struct connection *connection = context;

    if (connection->state != CLOSED)
        connections_schedule(connection->connections, &connection->entry);
}

/* ---- messages ---- */

/* Sends the server's headers to a client that waits for them: no header, only the empty line. */
static void connection_send_headers(struct connection *connection)
{
    if (connection->handshake.needs_headers)
        buffer_append_string(&connection->transport.out, "\n");
}

void connection_refuse(struct connection *connection, const char *reason)
{
    if (connection->state == HANDSHAKING)
        connection_send_headers(connection);
    session_refuse(connection->session, reason);
    connection_set_state(connection, FINISHING);
}

static void connection_refuse_loop(struct connection *connection)
{
    log_often(connection->connections->server.log, LOG_ERROR,
        "This relay is its own central server, directly or through others: correct --forward");
    session_refuse(connection->session,
        "the relay is its own central server, directly or through others (a loop); correct "
        "--forward");
    connection_set_state(connection, FINISHING);
}

static void connection_take_opening(struct connection *connection)
{
    struct error error;

    switch (handshake_read(&connection->handshake, &connection->framer, &error)) {
    case FRAMER_READY:
        connection_send_headers(connection);
        if (session_is_loop(connection->session, &connection->handshake)) {
            connection_refuse_loop(connection);
            break;
        }
        session_take_handshake(connection->session, &connection->handshake);
        connection_set_state(connection, OPEN);
        break;
    case FRAMER_LOST:
        if (connection->handshake.is_tls)
            connections_log_tls_failure(connection->connections, &connection->transport,
                "it speaks TLS on a port without it");
        if (!connection->handshake.is_xml_rpc) {
            connection_refuse(connection, error.text);
            break;
        }
        connections_refuse_xml_rpc(connection->connections, &connection->transport);
        connection_set_state(connection, FINISHING);
        break;
    case FRAMER_MORE:
        break;
    }
}

/* Returns whether the connection itself can take another message. */
static bool connection_has_room(const struct connection *connection)
{
    return (connection->state == OPEN || connection->state == DRAINING) &&
           !connection->entry.is_throttled && !session_is_full(connection->session) &&
           connection->transport.out.length < MAX_OUTPUT_BYTES;
}

/* Returns whether the budget, which all connections share, admits the next message. */
static bool connection_is_admitted(const struct connection *connection)
{
    return budget_admits(connection->connections->server.budget,
        session_is_done(connection->session), framer_pending(&connection->framer));
}

/* Gives a message to the session; a long one is moved. */
static void connection_take_message(struct connection *connection, struct text message)
{
    const bool is_long = message.length > MESSAGE_READER_LEAST_BYTES;
    struct session *session = connection->session;

    connections_count_work(&connection->entry, message.length);
    if ((is_long ? session_take_long(session, framer_take_message(&connection->framer))
                 : session_take(session, message)) == SESSION_ENDED)
        connection_set_state(connection, FINISHING);
}

/* Takes what the client has sent, as much as its share of this turn allows. */
static void connection_take_messages(struct connection *connection)
{
    struct text message;
    struct error error;

    if (connection->state == HANDSHAKING)
        connection_take_opening(connection);
    if (connection->state < FINISHING && session_has_ended(connection->session))
        connection_set_state(connection, FINISHING);
    while (connection_has_room(connection) && connection_is_admitted(connection)) {
        if (!connections_may_work(connection->connections, &connection->entry))
            return;
        if (framer_pending(&connection->framer) > 0 &&
            !connections_may_request(connection->connections, &connection->entry))
            return;
        switch (framer_next_message(&connection->framer, &message, &error)) {
        case FRAMER_READY:
            connection_take_message(connection, message);
            break;
        case FRAMER_LOST:
            connection_refuse(connection, error.text);
            break;
        case FRAMER_MORE:
            if (connection->state == DRAINING)
                connection_set_state(connection, FINISHING);
            return;
        }
    }
}

/* ---- memory ---- */

static bool connection_is_all_written(const struct connection *connection)
{
    return transport_is_written(&connection->transport) && session_is_done(connection->session);
}

bool connection_release_unused(void *context)
{
    struct connection *connection = context;
    const size_t held_bytes = connection->memory.held_bytes;

    if (!connection_is_all_written(connection) || framer_pending(&connection->framer) > 0)
        return false;
    framer_drop(&connection->framer);
    buffer_free(&connection->transport.out);
    connection_count_memory(connection);
    return connection->memory.held_bytes < held_bytes; /* a session of TLS stays */
}

/* Frees most of what the connection holds. If that is its input, the client gets an error that says
 * why; otherwise the connection is closed. */
void connection_shut(void *context, const char *reason)
{
    struct connection *connection = context;

    if (connection->state >= FINISHING || connection->state == NEGOTIATING ||
        framer_bytes(&connection->framer) < connection->memory.held_bytes / 2) {
        connection_close(connection, reason);
        return;
    }
    connection_refuse(connection, reason);
    framer_drop(&connection->framer);
    connection_count_memory(connection);
    connection_schedule(connection);
}

/* ---- input ---- */

void connection_update_reading(struct connection *connection)
{
    transport_set_reading(&connection->transport,
        connection->state <= HANDSHAKING || connection->state == LINGERING ||
            (connection->state == OPEN && connection_has_room(connection) &&
                connection_is_admitted(connection)));
}

void connection_on_input(void *context, const char *bytes, size_t length)
{
    struct connection *connection = context;
    struct error error;

    connections_note_activity(connection->connections, &connection->entry);
    if (connection->state == HANDSHAKING || connection->state == OPEN) {
        if (framer_feed(&connection->framer, bytes, length, &error) != 0) {
            log_often(connection->connections->server.log, LOG_ERROR, "Closing a connection: %s",
                error.text);
            connection_close(connection, error.text);
            return;
        }
        connection_count_memory(connection);
        memory_pressure_relieve(&connection->connections->pressure);
    }
    if (connection->state != CLOSED)
        connections_schedule_input(connection->connections, &connection->entry, length);
}

/* Returns whether the client has sent something for the negotiation that was not looked at yet. */
static bool connection_waits_for_step(const struct connection *connection)
{
    return negotiation_is_waiting(&connection->entry.negotiation);
}

void connection_on_end_of_input(void *context)
{
    struct connection *connection = context;

    if (connection_waits_for_step(connection))
        return; /* until connection_make_step */
    if (connection->state == HANDSHAKING)
        connection_take_messages(connection); /* with what came just before */
    if (connection->state == LINGERING)
        connection_close(connection, "the client closed it");
    else if (connection->state == NEGOTIATING)
        connection_close(connection, "the client closed it before TLS was negotiated");
    else if (connection->state == HANDSHAKING)
        connection_close(connection, "the client closed it before its handshake was complete");
    else if (connection->state == OPEN)
        connection_set_state(connection, DRAINING);
    if (connection->state != CLOSED)
        session_end_input(connection->session);
    connection_schedule(connection);
}

/* ---- output ---- */

void connection_linger(struct connection *connection)
{
    if (connection->transport.input_ended) {
        transport_shut_tls(&connection->transport);
        connection_close(connection, "done");
        return;
    }
    connection_set_state(connection, LINGERING);
    transport_shut(&connection->transport);
}

/* Writes answers and takes messages, as long as one makes room for the other. */
static void connection_serve(struct connection *connection)
{
    struct transport *transport = &connection->transport;
    size_t bytes = 0;

    for (int round = 0; connection->state < LINGERING && !transport->is_writing; round++) {
        int result;

        if (!session_write(connection->session, &transport->out, MAX_OUTPUT_BYTES)) {
            log_often(connection->connections->server.log, LOG_ERROR,
                "Closing a connection, because an answer could not be completed: an export broke "
                "off, or memory ran out");
            connection_close(connection, "an answer could not be completed");
            return;
        }
        connection_take_messages(connection);
        if (transport->out.length == 0)
            return;
        if (round == MAX_ROUNDS || bytes >= MAX_OUTPUT_BYTES) {
            connection_schedule(connection);
            return;
        }
        bytes += transport->out.length;
        result = transport_write(transport);
        connections_note_activity(connection->connections, &connection->entry);
        if (result != 0)
            connection_close(connection, uv_strerror(result));
    }
}

/* Goes on with the negotiation. The end of the client's input may have been waiting for that. */
static void connection_make_step(struct connection *connection)
{
    const bool has_ended = connection->transport.input_ended;

    connection_negotiate(connection);
    if (has_ended && connection->state != CLOSED)
        connection_on_end_of_input(connection);
}

void connection_process(struct connection *connection)
{
    transport_begin_turn(&connection->transport);
    if (connection->state == NEGOTIATING && !connection_waits_for_step(connection))
        connection_make_step(connection);
    if (connection->state == CLOSED)
        return;
    connection_take_messages(connection);
    connection_serve(connection);
    if (connection->state == FINISHING && connection_is_all_written(connection))
        connection_linger(connection);
    if (connection->state == CLOSED)
        return;
    connection_update_reading(connection);
    if (connection_has_room(connection) && !connection_is_admitted(connection))
        connections_wait(connection->connections, &connection->entry);
    connection_count_memory(connection);
}

/* ---- deadlines and stop ---- */

/* Notices that a client has ended its input or is gone while nothing is read from it, because too
 * much is under way. */
static void connection_check_input(struct connection *connection)
{
    if (!connection->transport.is_reading && !session_is_done(connection->session) &&
        transport_has_ended(&connection->transport))
        session_end_input(connection->session);
}

/* Returns whether the client waits for nothing, as far as is known now. A part of a request does
 * not count: it would keep the descriptor for any time. */
static bool connection_is_idle(const struct connection *connection)
{
    return connection->state != CLOSED && connection_is_all_written(connection) &&
           !connection->entry.is_scheduled && !connection->entry.is_waiting &&
           !connection->entry.is_throttled && !connection_waits_for_step(connection) &&
           !transport_has_unread(&connection->transport);
}

void connection_check_deadline(struct connection *connection)
{
    const uint64_t now_ms = clock_ms();
    uint64_t stalled_ms;

    if (connection->state == CLOSED)
        return;
    connection_check_input(connection);
    stalled_ms = transport_measure_stall(&connection->transport, now_ms);
    if (stalled_ms >= STALL_MS) {
        connection_close(connection, "the client did not read its answers");
    } else if (now_ms >= connection->deadline_ms && connection->state == NEGOTIATING) {
        connection_close(connection, "TLS was not negotiated in 10 seconds");
    } else if (now_ms >= connection->deadline_ms && connection->state == HANDSHAKING) {
        connection_refuse(
            connection, "the handshake of the connection was not complete in 30 seconds");
        connection_schedule(connection);
    } else if (now_ms >= connection->deadline_ms) {
        connection_close(connection, "the client did not close it");
    } else if (connections_are_overdue(connection->connections, &connection->entry, now_ms,
                   connection_is_all_written(connection)) &&
               connection->state == OPEN && connection_is_idle(connection)) {
        connection_close(connection, "no request for as long as --idle-timeout allows");
    }
}

bool connection_give_way(struct connection *connection)
{
    const uint64_t idle_ms = clock_ms() - connection->entry.active_ms;

    if (idle_ms < GIVE_WAY_MS || !connection_is_idle(connection))
        return false;
    connections_log_give_way(connection->connections, idle_ms);
    connection_close(connection, "another client needs the descriptor");
    return true;
}

void connection_stop(struct connection *connection)
{
    connections_end_throttle(connection->connections, &connection->entry);
    connection_update_reading(connection); /* it may have stopped until the end of the turn */
    if (connection->transport.is_reading)
        transport_read_received(&connection->transport, MAX_ROUNDS); /* this is answered */
    connection_take_messages(connection);
    if (connection->state == NEGOTIATING)
        connection_close(connection, "the server is stopping");
    else if (connection->state == HANDSHAKING)
        connection_set_state(connection, FINISHING);
    else if (connection->state == OPEN)
        connection_set_state(connection, DRAINING);
    else if (connection->state == LINGERING)
        connection_set_state(connection, LINGERING); /* with the shorter deadline */
    connection_take_messages(connection);
    connection_schedule(connection);
}

void connection_abort(struct connection *connection)
{
    connection_close(connection, "the server stops");
}

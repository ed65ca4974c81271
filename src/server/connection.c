/*            opening read            end of input, stop
 *   OPENING ─────────────→ OPEN ──────────────────────→ DRAINING
 *      │                    │                               │ messages that were
 *      │ not understood     │ null, not understood          │ read are all taken
 *      └────────────────────┴────────────→ FINISHING ←──────┘
 *                                              │ all answers are written
 *                                              ↓
 *                                          LINGERING   our side is shut; input is
 *                                              │       discarded, or closing would
 *                                              ↓       destroy answers on their way
 *                                            CLOSED
 *
 * set_state() changes the state; connection_close() is the one door out, from any state.
 *
 * A client that does not read its answers is not read from: input stops while too
 * much is under way or to be written, and after STALL_MS the connection is closed.
 *
 * What it holds is of a budget that all connections share (relief.h). While much is being
 * worked on, requests wait to be taken. */
#include "server/connection.h"

#include "base/clock.h"
#include "server/session.h"
#include "server/transport.h"
#include "wire/framer.h"
#include "wire/opening.h"

#include <stdlib.h>
#include <unistd.h>

#define OPENING_MS 30000
#define STALL_MS 60000
#define LINGER_MS 5000
#define LINGER_STOPPING_MS 500
#define WRITE_BYTES ((size_t)256 * 1024) /* answers made ahead of the client */
#define ROUNDS 8 /* reads or writes in one turn, before others have theirs */

enum state { OPENING, OPEN, DRAINING, FINISHING, LINGERING, CLOSED };

struct connection {
    struct connection_shared *shared;
    struct member member;
    enum state state;
    uint64_t deadline_ms; /* of the state; UINT64_MAX: none */
    struct transport transport;
    struct opening opening;
    struct framer framer;
    struct session *session;
    struct debtor debtor; /* the buffers take of the budget; the session does itself */
};

static const char *const state_names[] = {
    "opening", "open", "draining", "finishing", "lingering", "closed"};

/* ---- the state ---- */

static uint64_t deadline_of(const struct connection *connection, enum state state)
{
    switch (state) {
    case OPENING:
        return clock_ms() + OPENING_MS;
    case LINGERING:
        return clock_ms() + (connection->shared->stopping ? LINGER_STOPPING_MS : LINGER_MS);
    default:
        return UINT64_MAX;
    }
}

static void set_state(struct connection *connection, enum state state)
{
    connection->state = state;
    connection->deadline_ms = deadline_of(connection, state);
}

/* Counts what it holds. (What is closed is freed in this turn.) */
static void count(struct connection *connection)
{
    struct relief *relief = &connection->shared->relief;
    size_t bytes = framer_bytes(&connection->framer) + connection->transport.out.capacity;

    if (connection->state == CLOSED)
        relief_count(relief, &connection->debtor, 0, 0);
    else
        relief_count(
            relief, &connection->debtor, bytes, bytes + session_idle_bytes(connection->session));
}

void connection_close(struct connection *connection, const char *reason)
{
    if (connection->state == CLOSED)
        return;
    log_write(connection->shared->service.log, LOG_DEBUG, "Connection %p closed (%s): %s",
        (void *)connection, state_names[connection->state], reason);
    set_state(connection, CLOSED);
    roster_retire(&connection->shared->roster, &connection->member);
    count(connection);
    session_close(connection->session);
    transport_close(&connection->transport);
}

static void touch(void *context)
{
    struct connection *connection = context;

    if (connection->state != CLOSED)
        roster_touch(&connection->shared->roster, &connection->member);
}

/* ---- messages ---- */

/* The server's headers, for who waits for them: none, and the empty line. */
static void send_headers(struct connection *connection)
{
    if (connection->opening.needs_headers)
        buffer_append_string(&connection->transport.out, "\n");
}

/* The client can't be understood any more. */
static void finish_with(struct connection *connection, const char *reason)
{
    if (connection->state == OPENING)
        send_headers(connection);
    session_refuse(connection->session, reason);
    set_state(connection, FINISHING);
}

static void take_opening(struct connection *connection)
{
    struct error error;
    enum framer_result result = opening_read(&connection->opening, &connection->framer, &error);

    if (result == FRAMER_LOST)
        finish_with(connection, error.text);
    if (result != FRAMER_READY)
        return;
    send_headers(connection);
    set_state(connection, OPEN);
}

bool connection_is_admitted(const struct connection *connection)
{
    return budget_admits(connection->shared->service.budget, session_is_done(connection->session),
        framer_pending(&connection->framer));
}

static bool has_room(const struct connection *connection)
{
    return (connection->state == OPEN || connection->state == DRAINING) &&
           !session_is_full(connection->session) && connection->transport.out.length < WRITE_BYTES;
}

static bool may_take(const struct connection *connection)
{
    return has_room(connection) && connection_is_admitted(connection);
}

static void take_messages(struct connection *connection)
{
    while (may_take(connection)) {
        struct text message;
        struct error error;

        switch (framer_next_message(&connection->framer, &message, &error)) {
        case FRAMER_READY:
            if (session_take(connection->session, message) == SESSION_ENDED)
                set_state(connection, FINISHING);
            break;
        case FRAMER_LOST:
            finish_with(connection, error.text);
            break;
        case FRAMER_MORE:
            if (connection->state == DRAINING)
                set_state(connection, FINISHING);
            return;
        }
    }
}

/* ---- memory ---- */

static bool is_all_written(const struct connection *connection)
{
    return connection->transport.out.length == 0 && session_is_done(connection->session);
}

static bool drop_spare(void *context)
{
    struct connection *connection = context;

    if (!is_all_written(connection) || framer_pending(&connection->framer) > 0)
        return false;
    framer_drop(&connection->framer);
    buffer_free(&connection->transport.out);
    count(connection);
    return true;
}

/* The framing stays as it is, so nothing more can be read. */
static void give_up(void *context, const char *reason)
{
    struct connection *connection = context;
    size_t held = connection->debtor.holder.bytes;

    if (connection->state >= FINISHING || framer_bytes(&connection->framer) < held / 2) {
        connection_close(connection, reason);
        return;
    }
    finish_with(connection, reason);
    framer_drop(&connection->framer);
    count(connection);
    touch(connection);
}

/* ---- input ---- */

/* Reads on or stops reading, as the state wants it. */
static void steer_input(struct connection *connection)
{
    transport_steer(
        &connection->transport, connection->state == OPENING || connection->state == LINGERING ||
                                    (connection->state == OPEN && may_take(connection)));
}

static void came(void *context, const char *bytes, size_t length)
{
    struct connection *connection = context;
    struct error error;

    if (connection->state == OPENING || connection->state == OPEN) {
        if (framer_feed(&connection->framer, bytes, length, &error) != 0) {
            connection_close(connection, error.text);
            return;
        }
        if (connection->state == OPENING)
            take_opening(connection);
        take_messages(connection);
        if (connection->state == OPEN && !may_take(connection))
            steer_input(connection);
        count(connection);
        relief_run(&connection->shared->relief);
    }
    touch(connection);
}

static void ended(void *context)
{
    struct connection *connection = context;

    if (connection->state == LINGERING)
        connection_close(connection, "the client closed it");
    else if (connection->state == OPENING)
        connection_close(connection, "the client closed it before it had opened");
    else if (connection->state == OPEN)
        set_state(connection, DRAINING);
    touch(connection);
}

static void broke(void *context, const char *reason)
{
    connection_close(context, reason);
}

/* What the kernel holds already counts as read: who has sent a request is answered. */
static void read_what_came(struct connection *connection)
{
    if (!connection->transport.reading)
        return;
    for (int round = 0; round < ROUNDS; round++) {
        if (connection->state != OPENING && !has_room(connection))
            break;
        if (!transport_read_now(&connection->transport))
            break;
    }
}

/* ---- output ---- */

/* Everything was written: shut our side, and let the client read it in peace. */
static void shut(struct connection *connection)
{
    if (connection->transport.input_ended) {
        connection_close(connection, "done");
        return;
    }
    set_state(connection, LINGERING);
    transport_shut(&connection->transport);
}

/* Writes what there is, and takes what was read, as long as one makes room for the other. */
static void exchange(struct connection *connection)
{
    struct transport *transport = &connection->transport;

    for (int round = 0; connection->state < LINGERING && !transport->writing; round++) {
        int code;

        if (!session_write(connection->session, &transport->out, WRITE_BYTES)) {
            connection_close(connection, "its answers can't go on");
            return;
        }
        take_messages(connection);
        if (transport->out.length == 0)
            return;
        if (round == ROUNDS) {
            touch(connection);
            return;
        }
        code = transport_write(transport);
        if (code != 0)
            connection_close(connection, uv_strerror(code));
    }
}

void connection_look_after(struct connection *connection)
{
    exchange(connection);
    if (connection->state == FINISHING && is_all_written(connection))
        shut(connection);
    if (connection->state == CLOSED)
        return;
    steer_input(connection);
    if (has_room(connection) && !connection_is_admitted(connection))
        roster_wait(&connection->shared->roster, &connection->member);
    count(connection);
}

/* ---- start and end ---- */

static void closed(void *context)
{
    struct connection *connection = context;
    struct connection_shared *shared = connection->shared;

    roster_leave(&shared->roster, &connection->member);
    framer_free(&connection->framer);
    free(connection);
    shared->closed(shared->context);
}

static const struct transport_events events = {
    .came = came,
    .ended = ended,
    .broke = broke,
    .written = touch,
    .closed = closed,
};

int connection_open(
    struct connection_shared *shared, int descriptor, bool read_only, struct error *error)
{
    struct connection *connection = calloc(1, sizeof *connection);
    int code;

    if (connection)
        connection->session = session_open(&shared->service, read_only, touch, connection);
    if (!connection || !connection->session) {
        free(connection);
        (void)close(descriptor);
        return error_set_memory(error);
    }
    connection->shared = shared;
    connection->member.owner = connection->debtor.owner = connection;
    connection->debtor.drop_spare = drop_spare;
    connection->debtor.give_up = give_up;
    framer_init(&connection->framer, shared->max_message_bytes);
    set_state(connection, OPENING);
    roster_join(&shared->roster, &connection->member);
    code = transport_open(&connection->transport, shared->loop, descriptor,
        uv_buf_init(shared->input, sizeof shared->input), &events, connection);
    if (code != 0)
        connection_close(connection, uv_strerror(code));
    else
        steer_input(connection);
    return 0;
}

void connection_check_deadline(struct connection *connection, uint64_t now)
{
    bool stuck = transport_is_stuck(&connection->transport, now, STALL_MS);

    if (connection->state != CLOSED && session_holds_up(connection->session, STALL_MS)) {
        log_often(connection->shared->service.log, LOG_WARNING,
            "An export was broken off: its client took less than a piece in %d s, and others wait",
            STALL_MS / 1000);
        connection_close(connection, "others wait for their turn to export");
    } else if (stuck) {
        connection_close(connection, "the client did not read its answers");
    } else if (now >= connection->deadline_ms && connection->state == OPENING) {
        finish_with(connection, "the opening of the connection was not complete in 30 seconds");
        touch(connection);
    } else if (now >= connection->deadline_ms) {
        connection_close(connection, "the client did not close it");
    }
}

void connection_stop(struct connection *connection)
{
    read_what_came(connection);
    if (connection->state == OPENING)
        set_state(connection, FINISHING);
    else if (connection->state == OPEN)
        set_state(connection, DRAINING);
    else if (connection->state == LINGERING)
        set_state(connection, LINGERING);
    take_messages(connection);
    touch(connection);
}

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
 * set_state() changes the state; end_connection() is the one door out, from any state.
 *
 * A client that does not read its answers is not read from: input stops while too
 * much is under way or to be written, and after STALL_MS the connection is closed.
 *
 * All connections together have a budget of memory. When more is used, the one that holds
 * most of what closing it would give back is closed, and hears why if it reads; who holds
 * little is not touched. While much is being worked on, requests wait to be taken. */
#include "server/connection.h"

#include "base/clock.h"
#include "wire/framer.h"
#include "wire/opening.h"

#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define OPENING_MS 30000
#define STALL_MS 60000
#define LINGER_MS 5000
#define LINGER_STOPPING_MS 500
#define WRITE_BYTES ((size_t)256 * 1024) /* answers made ahead of the client */
#define KEEPALIVE_S 60                   /* machines that vanished are found out */
#define ADMIT_AT_ONCE 64                 /* of those that wait */
#define ROUNDS 8                         /* writes in one turn, before others have theirs */

enum state { OPENING, OPEN, DRAINING, FINISHING, LINGERING, CLOSED };

struct connection {
    TAILQ_ENTRY(connection) link;
    TAILQ_ENTRY(connection) touched_link;
    TAILQ_ENTRY(connection) waiting_link;
    struct connections *connections;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    enum state state;
    bool touched;
    bool waiting; /* to be admitted */
    bool reading;
    bool input_ended; /* the client has shut its side */
    struct opening opening;
    struct framer framer;
    struct session *session;
    struct buffer out; /* answers not written yet */
    uv_write_t write;
    bool writing; /* the first bytes of out are with libuv */
    size_t in_write;
    size_t left_to_write; /* of it, when deadlines were last checked */
    uint64_t deadline_ms; /* UINT64_MAX: none */
    struct holder holder;
    size_t counted; /* what the buffers take of the budget, when they were last counted */
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
        return clock_ms() + (connection->connections->stopping ? LINGER_STOPPING_MS : LINGER_MS);
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
    struct connections *connections = connection->connections;
    bool closed = connection->state == CLOSED;
    size_t bytes = closed ? 0 : framer_bytes(&connection->framer) + connection->out.capacity;

    budget_give(connections->budget, connection->counted);
    budget_take(connections->budget, bytes);
    connection->counted = bytes;
    holders_set(&connections->holders, &connection->holder,
        closed ? 0 : bytes + session_idle_bytes(connection->session));
}

static void freed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct connections *connections = connection->connections;

    TAILQ_REMOVE(&connections->all, connection, link);
    connections->count--;
    framer_free(&connection->framer);
    buffer_free(&connection->out);
    free(connection);
    connections->closed(connections->context);
}

static void untouch(struct connection *connection)
{
    if (!connection->touched)
        return;
    connection->touched = false;
    connection->connections->n_touched--;
    TAILQ_REMOVE(&connection->connections->touched, connection, touched_link);
}

static void wait_no_more(struct connection *connection)
{
    if (connection->waiting)
        TAILQ_REMOVE(&connection->connections->waiting, connection, waiting_link);
    connection->waiting = false;
}

static void end_connection(struct connection *connection, const char *reason)
{
    if (connection->state == CLOSED)
        return;
    log_write(connection->connections->log, LOG_DEBUG, "Connection %p closed (%s): %s",
        (void *)connection, state_names[connection->state], reason);
    set_state(connection, CLOSED);
    untouch(connection);
    wait_no_more(connection);
    count(connection);
    session_close(connection->session);
    uv_close(&connection->uv.handle, freed);
}

static void touch(void *context)
{
    struct connection *connection = context;

    if (connection->touched || connection->state == CLOSED)
        return;
    connection->touched = true;
    connection->connections->n_touched++;
    TAILQ_INSERT_TAIL(&connection->connections->touched, connection, touched_link);
}

/* ---- input ---- */

/* The server's headers, for who waits for them: none, and the empty line. */
static void send_headers(struct connection *connection)
{
    if (connection->opening.needs_headers)
        buffer_append_string(&connection->out, "\n");
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

    switch (opening_read(&connection->opening, &connection->framer, &error)) {
    case FRAMER_READY:
        send_headers(connection);
        set_state(connection, OPEN);
        break;
    case FRAMER_LOST:
        finish_with(connection, error.text);
        break;
    case FRAMER_MORE:
        break;
    }
}

static bool is_admitted(const struct connection *connection)
{
    return budget_admits(connection->connections->budget, session_is_done(connection->session),
        framer_pending(&connection->framer));
}

static bool has_room(const struct connection *connection)
{
    return (connection->state == OPEN || connection->state == DRAINING) &&
           !session_is_full(connection->session) && connection->out.length < WRITE_BYTES;
}

static bool may_take(const struct connection *connection)
{
    return has_room(connection) && is_admitted(connection);
}

static void steer_input(struct connection *connection);

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

static void end_input(struct connection *connection)
{
    connection->input_ended = true;
    if (connection->state == LINGERING)
        end_connection(connection, "the client closed it");
    else if (connection->state == OPENING)
        end_connection(connection, "the client closed it before it had opened");
    else if (connection->state == OPEN)
        set_state(connection, DRAINING);
}

/* The framing stays as it is, so nothing more can be read. */
static void overrun(struct connection *connection)
{
    struct connections *connections = connection->connections;
    size_t held = connection->holder.bytes;
    char reason[200];

    if (session_is_done(connection->session) && framer_pending(&connection->framer) == 0 &&
        connection->out.length == 0) { /* it keeps buffers for the next request */
        framer_drop(&connection->framer);
        buffer_free(&connection->out);
        count(connection);
        return;
    }
    connections->overruns++;
    log_often(connections->log, LOG_WARNING,
        "The memory for requests and answers (%zu bytes) is used up: closing the connection "
        "that holds most, %zu bytes",
        connections->budget->limit, held);
    (void)snprintf(reason, sizeof reason,
        "the memory for requests and answers (%zu bytes) is used up, and this connection holds "
        "most of it (%zu bytes)",
        connections->budget->limit, held);
    if (connection->state >= FINISHING || framer_bytes(&connection->framer) < held / 2) {
        end_connection(connection, reason);
        return;
    }
    finish_with(connection, reason);
    framer_drop(&connection->framer);
    count(connection);
    touch(connection);
}

/* Until no more is used than there should be, who holds most gives it back. */
static void relieve(struct connections *connections)
{
    struct holder *holder;

    while (budget_is_over(connections->budget) && (holder = holders_largest(&connections->holders)))
        overrun(holder->owner);
}

static void lend_input(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct connections *connections = ((struct connection *)handle->data)->connections;

    (void)suggested;
    *buffer = uv_buf_init(connections->input, sizeof connections->input);
}

static void input_came(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct connection *connection = stream->data;
    struct error error;

    if (length == 0)
        return;
    if (length == UV_EOF) {
        end_input(connection);
    } else if (length < 0) {
        end_connection(connection, uv_strerror((int)length));
    } else if (connection->state == OPENING || connection->state == OPEN) {
        if (framer_feed(&connection->framer, buffer->base, (size_t)length, &error) != 0) {
            end_connection(connection, error.text);
            return;
        }
        if (connection->state == OPENING)
            take_opening(connection);
        take_messages(connection);
        if (connection->state == OPEN && !may_take(connection))
            steer_input(connection);
        count(connection);
        relieve(connection->connections);
    }
    touch(connection);
}

/* What the kernel holds already counts as read: who has sent a request is answered. */
static void read_what_came(struct connection *connection)
{
    uv_os_fd_t descriptor;
    ssize_t length = 1;

    if (!connection->reading || uv_fileno(&connection->uv.handle, &descriptor) != 0)
        return;
    for (int round = 0; round < ROUNDS && length > 0 && !connection->input_ended &&
                        (connection->state == OPENING || has_room(connection));
         round++) {
        char *input = connection->connections->input;
        const uv_buf_t buffer = uv_buf_init(input, sizeof connection->connections->input);

        length = recv(descriptor, input, buffer.len, MSG_DONTWAIT);
        if (length >= 0)
            input_came(&connection->uv.stream, length > 0 ? length : UV_EOF, &buffer);
    }
}

/* Reads on or stops reading, as the state wants it. */
static void steer_input(struct connection *connection)
{
    bool wanted = !connection->input_ended &&
                  (connection->state == OPENING || connection->state == LINGERING ||
                      (connection->state == OPEN && may_take(connection)));

    if (wanted == connection->reading)
        return;
    connection->reading = wanted;
    if (wanted)
        (void)uv_read_start(&connection->uv.stream, lend_input, input_came);
    else
        (void)uv_read_stop(&connection->uv.stream);
}

/* ---- output ---- */

static void written(uv_write_t *write, int status)
{
    struct connection *connection = write->data;

    connection->writing = false;
    if (connection->state == CLOSED)
        return;
    connection->deadline_ms = deadline_of(connection, connection->state);
    if (status != 0) {
        end_connection(connection, uv_strerror(status));
        return;
    }
    buffer_drop_front(&connection->out, connection->in_write);
    touch(connection);
}

/* Hands everything to the kernel, as far as it takes it; the rest to libuv. */
static void write_out(struct connection *connection)
{
    uv_buf_t buffer = uv_buf_init(connection->out.bytes, (unsigned)connection->out.length);
    int taken = uv_try_write(&connection->uv.stream, &buffer, 1);
    int code;

    if (taken == UV_EAGAIN)
        taken = 0;
    if (taken < 0) {
        end_connection(connection, uv_strerror(taken));
        return;
    }
    buffer_drop_front(&connection->out, (size_t)taken);
    if (connection->out.length == 0) {
        buffer_reset(&connection->out, 4096);
        return;
    }
    buffer = uv_buf_init(connection->out.bytes, (unsigned)connection->out.length);
    connection->in_write = connection->out.length;
    connection->write.data = connection;
    code = uv_write(&connection->write, &connection->uv.stream, &buffer, 1, written);
    if (code != 0) {
        end_connection(connection, uv_strerror(code));
        return;
    }
    connection->writing = true;
    connection->deadline_ms = clock_ms() + STALL_MS;
}

/* Everything was written: shut our side, and let the client read it in peace. */
static void shut(struct connection *connection)
{
    uv_os_fd_t descriptor;

    if (connection->input_ended) {
        end_connection(connection, "done");
        return;
    }
    set_state(connection, LINGERING);
    if (uv_fileno(&connection->uv.handle, &descriptor) == 0)
        (void)shutdown(descriptor, SHUT_WR);
}

static void wait_to_be_admitted(struct connection *connection)
{
    if (connection->waiting)
        return;
    connection->waiting = true;
    TAILQ_INSERT_TAIL(&connection->connections->waiting, connection, waiting_link);
}

/* Writes what there is and takes what was read, until there is nothing more to do. */
static void look_after(struct connection *connection)
{
    for (int round = 0; connection->state < LINGERING && !connection->writing; round++) {
        if (!session_write(connection->session, &connection->out, WRITE_BYTES)) {
            end_connection(connection, "its answers can't go on");
            return;
        }
        take_messages(connection);
        if (connection->out.length == 0)
            break;
        if (round == ROUNDS) {
            touch(connection);
            break;
        }
        write_out(connection);
    }
    if (connection->state == FINISHING && !connection->writing && connection->out.length == 0 &&
        session_is_done(connection->session))
        shut(connection);
    if (connection->state == CLOSED)
        return;
    steer_input(connection);
    if (has_room(connection) && !is_admitted(connection))
        wait_to_be_admitted(connection);
    count(connection);
}

/* Those that have waited longest, as far as they are let in; the others later. */
static void admit_waiting(struct connections *connections)
{
    struct connection *connection;

    for (int left = ADMIT_AT_ONCE; left > 0 && (connection = TAILQ_FIRST(&connections->waiting));
         left--) {
        wait_no_more(connection);
        if (is_admitted(connection))
            touch(connection);
        else
            wait_to_be_admitted(connection);
    }
}

bool connections_turn(struct connections *connections)
{
    struct connection *connection;

    admit_waiting(connections);
    /* As many as there are now: those that touch themselves again come next time. */
    for (size_t left = connections->n_touched;
         left > 0 && (connection = TAILQ_FIRST(&connections->touched)); left--) {
        untouch(connection);
        look_after(connection);
    }
    relieve(connections);
    return connections->n_touched > 0;
}

/* ---- all of them ---- */

void connections_init(struct connections *connections, uv_loop_t *loop,
    const struct service *service, size_t max_message_bytes)
{
    connections->loop = loop;
    connections->service = *service;
    connections->log = service->log;
    connections->max_message_bytes = max_message_bytes;
    connections->budget = service->budget;
    holders_init(&connections->holders);
    TAILQ_INIT(&connections->all);
    TAILQ_INIT(&connections->waiting);
    TAILQ_INIT(&connections->touched);
}

/* Wraps the descriptor in the handle that its kind of socket needs. */
static int adopt(struct connection *connection, int descriptor)
{
    uv_loop_t *loop = connection->connections->loop;
    int code;

    if (uv_guess_handle(descriptor) == UV_NAMED_PIPE) {
        (void)uv_pipe_init(loop, &connection->uv.pipe, 0);
        code = uv_pipe_open(&connection->uv.pipe, descriptor);
    } else {
        (void)uv_tcp_init(loop, &connection->uv.tcp);
        code = uv_tcp_open(&connection->uv.tcp, descriptor);
        if (code == 0) {
            (void)uv_tcp_nodelay(&connection->uv.tcp, 1);
            (void)uv_tcp_keepalive(&connection->uv.tcp, 1, KEEPALIVE_S);
        }
    }
    connection->uv.handle.data = connection;
    return code;
}

void connections_add(struct connections *connections, int descriptor, bool read_only)
{
    struct connection *connection = calloc(1, sizeof *connection);
    int code;

    if (connection)
        connection->session = session_open(&connections->service, read_only, touch, connection);
    if (!connection || !connection->session) {
        log_often(connections->log, LOG_ERROR, "No memory for another connection");
        connections->refused++;
        free(connection);
        (void)close(descriptor);
        return;
    }
    connection->connections = connections;
    connection->holder.owner = connection;
    framer_init(&connection->framer, connections->max_message_bytes);
    set_state(connection, OPENING);
    TAILQ_INSERT_TAIL(&connections->all, connection, link);
    connections->count++;
    connections->accepted++;
    code = adopt(connection, descriptor);
    if (code != 0) {
        (void)close(descriptor);
        end_connection(connection, uv_strerror(code));
        return;
    }
    steer_input(connection);
}

/* What the kernel has of it counts as well: it may take no more until much of that was read. */
static size_t left_to_write(const struct connection *connection)
{
    size_t left = uv_stream_get_write_queue_size(&connection->uv.stream);
    uv_os_fd_t descriptor;
    int in_kernel = 0;

    if (uv_fileno(&connection->uv.handle, &descriptor) == 0 &&
        ioctl(descriptor, SIOCOUTQ, &in_kernel) == 0)
        left += (size_t)in_kernel;
    return left;
}

/* A client that takes a long answer slowly is not one that does not read. */
static void watch_progress(struct connection *connection, uint64_t now)
{
    size_t left = left_to_write(connection);

    if (left != connection->left_to_write)
        connection->deadline_ms = now + STALL_MS;
    connection->left_to_write = left;
}

static void check_deadline(struct connection *connection, uint64_t now)
{
    if (connection->writing)
        watch_progress(connection, now);
    if (connection->state != CLOSED && session_holds_up(connection->session, STALL_MS)) {
        log_often(connection->connections->log, LOG_WARNING,
            "An export was broken off: its client took less than a piece in %d s, and others wait",
            STALL_MS / 1000);
        end_connection(connection, "others wait for their turn to export");
    }
    if (connection->state == CLOSED || now < connection->deadline_ms)
        return;
    if (connection->state == OPENING) {
        finish_with(connection, "the opening of the connection was not complete in 30 seconds");
        touch(connection);
    } else {
        end_connection(connection, connection->state == LINGERING
                                       ? "the client did not close it"
                                       : "the client did not read its answers");
    }
}

void connections_check_deadlines(struct connections *connections)
{
    struct connection *connection, *next;
    uint64_t now = clock_ms();

    for (connection = TAILQ_FIRST(&connections->all); connection; connection = next) {
        next = TAILQ_NEXT(connection, link);
        check_deadline(connection, now);
    }
}

void connections_stop(struct connections *connections)
{
    struct connection *connection;

    connections->stopping = true;
    TAILQ_FOREACH (connection, &connections->all, link) {
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
}

void connections_close(struct connections *connections)
{
    struct connection *connection, *next;

    for (connection = TAILQ_FIRST(&connections->all); connection; connection = next) {
        next = TAILQ_NEXT(connection, link);
        end_connection(connection, "the server stops");
    }
}

/* SPDX-License-Identifier: MIT */
/* Resolves the name, then tries its addresses in turn, each with a share of the time that is
 * left; the first that connects is used. Any failure after that ends the connection, always
 * through upstream_conn_fail. It is freed when libuv has closed the last of its handles, so never
 * while one of its functions runs. */
#include "upstream/upstream_conn.h"

#include "base/clock.h"
#include "tls/tls.h"
#include "wire/framer.h"
#include "wire/handshake.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#define KEEPALIVE_S 30
#define PROBE_S 5               /* between two probes, when the first was not acknowledged */
#define UNACKNOWLEDGED_MS 10000 /* the network is broken if the upstream acknowledges nothing */
#define MOST_SKIPPED_BYTES ((size_t)64 * 1024 * 1024) /* of a message that is too long */
#define KEEP_BYTES 4096                               /* memory that an idle connection may keep */

struct upstream_conn {
    struct upstream_conn_events events;
    struct error reason; /* failure of the last address that was tried */
    uv_loop_t *loop;
    uv_getaddrinfo_t resolving;
    struct addrinfo *addresses;
    struct addrinfo *address; /* the one that is being tried */
    uint64_t deadline_ms;     /* end of the time to connect */
    size_t skipped_bytes;     /* of the current message, if it is too long */
    uv_timer_t timer;
    uv_tcp_t tcp; /* the socket */
    uv_connect_t connecting;
    const struct upstream_target *target;
    const struct tls_module *tls; /* NULL: without TLS */
    struct tls_session *session;
    struct framer framer;
    struct buffer message; /* the pieces of the current message, if it has several */
    unsigned n_references; /* handles and requests of libuv that still point here */
    bool is_closed;        /* whether it was closed or failed: no more events */
    bool has_socket;
    bool is_negotiated; /* TLS */
    bool is_too_long;   /* the rest of the current message is skipped */
    char input[16 * 1024];
};

/* Lines on their way. */
struct upstream_sending {
    uv_write_t write;
    struct buffer lines;
};

static void upstream_conn_release(struct upstream_conn *conn)
{
    if (--conn->n_references > 0)
        return;
    if (conn->session)
        conn->tls->close(conn->session);
    uv_freeaddrinfo(conn->addresses);
    framer_free(&conn->framer);
    buffer_free(&conn->message);
    free(conn);
}

static void upstream_conn_on_timer_closed(uv_handle_t *handle)
{
    upstream_conn_release(handle->data);
}

static void upstream_conn_try_address(struct upstream_conn *conn);

static void upstream_conn_on_socket_closed(uv_handle_t *handle)
{
    struct upstream_conn *conn = handle->data;

    if (!conn->is_closed)
        upstream_conn_try_address(conn);
    upstream_conn_release(conn);
}

static void upstream_conn_drop_socket(struct upstream_conn *conn)
{
    if (conn->has_socket)
        uv_close((uv_handle_t *)&conn->tcp, upstream_conn_on_socket_closed);
    conn->has_socket = false;
}

static int upstream_conn_flush_tls(struct upstream_conn *conn);

void upstream_conn_close(struct upstream_conn *conn)
{
    if (!conn || conn->is_closed)
        return;
    conn->is_closed = true;
    if (conn->session && conn->has_socket) {
        conn->tls->shut(conn->session);
        (void)upstream_conn_flush_tls(conn); /* a failed negotiation has something to say, too */
    }
    (void)uv_cancel((uv_req_t *)&conn->resolving);
    upstream_conn_drop_socket(conn);
    uv_close((uv_handle_t *)&conn->timer, upstream_conn_on_timer_closed);
}

static void upstream_conn_fail(
    struct upstream_conn *conn, enum upstream_failure failure, const char *reason)
{
    upstream_conn_close(conn);
    conn->events.failed(conn->events.context, failure, reason);
}

/* ---- reading and writing ---- */

static void upstream_conn_provide_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct upstream_conn *conn = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(conn->input, sizeof conn->input);
}

/* Hands out the message that ends with this piece. */
static void upstream_conn_end_message(struct upstream_conn *conn, struct text piece)
{
    const bool is_too_long = conn->is_too_long;

    conn->is_too_long = false;
    if (conn->message.length > 0)
        piece = buffer_text(&conn->message);
    conn->events.message(conn->events.context, is_too_long ? NULL : &piece);
    buffer_reset(&conn->message, KEEP_BYTES);
}

/* Takes a piece of a message. The pieces of one that is too long are dropped as they come. */
static void upstream_conn_take_piece(struct upstream_conn *conn, struct text piece, bool is_last)
{
    if (conn->events.piece) {
        conn->events.piece(conn->events.context, piece, is_last);
        return;
    }
    if (piece.length > UPSTREAM_CONN_ANSWER_BYTES - conn->message.length)
        conn->is_too_long = true;
    conn->skipped_bytes = conn->is_too_long ? conn->skipped_bytes + piece.length : 0;
    if (conn->skipped_bytes > MOST_SKIPPED_BYTES) {
        upstream_conn_fail(conn, UPSTREAM_INVALID, "its answer has no end");
        return;
    }
    if (conn->is_too_long)
        buffer_reset(&conn->message, KEEP_BYTES);
    else if (!is_last || conn->message.length > 0)
        buffer_append_text(&conn->message, piece);
    if (buffer_failed(&conn->message)) {
        upstream_conn_fail(conn, UPSTREAM_BROKEN, "out of memory");
    } else if (is_last) {
        upstream_conn_end_message(conn, piece);
    }
}

static void upstream_conn_read_messages(struct upstream_conn *conn)
{
    struct error error;
    struct text piece;
    enum framer_result result = FRAMER_READY;
    bool is_last = false;

    while (!conn->is_closed && result == FRAMER_READY) {
        result = framer_next_piece(&conn->framer, &piece, &is_last, &error);
        if (result == FRAMER_READY)
            upstream_conn_take_piece(conn, piece, is_last);
        else if (result == FRAMER_LOST)
            upstream_conn_fail(conn, UPSTREAM_INVALID, error.text);
    }
}

static void upstream_conn_take_bytes(struct upstream_conn *conn, const char *bytes, size_t length)
{
    struct error error;

    if (framer_feed(&conn->framer, bytes, length, &error) != 0)
        upstream_conn_fail(conn, UPSTREAM_BROKEN, error.text);
    else
        upstream_conn_read_messages(conn);
}

static void upstream_conn_on_sent(uv_write_t *write, int status)
{
    struct upstream_sending *sending = write->data;

    (void)status; /* reading reports a broken connection too */
    buffer_free(&sending->lines);
    free(sending);
}

/* Sends bytes of the network. */
static int upstream_conn_send_bytes(struct upstream_conn *conn, struct buffer *lines)
{
    struct upstream_sending *sending = calloc(1, sizeof *sending);
    uv_buf_t buffer;

    if (!sending || buffer_failed(lines)) {
        free(sending);
        buffer_reset(lines, 0);
        return ERROR_MEMORY;
    }
    sending->lines = *lines;
    *lines = BUFFER_EMPTY;
    sending->write.data = sending;
    buffer = uv_buf_init(sending->lines.bytes, (unsigned)sending->lines.length);
    if (uv_write(&sending->write, (uv_stream_t *)&conn->tcp, &buffer, 1, upstream_conn_on_sent) ==
        0)
        return 0;
    upstream_conn_on_sent(&sending->write, 0);
    return ERROR_SYSTEM;
}

size_t upstream_conn_unsent_bytes(const struct upstream_conn *conn)
{
    return conn->has_socket ? uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp) : 0;
}

/* ---- TLS ---- */

/* Sends what TLS has for the network. */
static int upstream_conn_flush_tls(struct upstream_conn *conn)
{
    struct buffer sealed = BUFFER_EMPTY;

    conn->tls->take_output(conn->session, &sealed);
    if (sealed.length == 0 && !buffer_failed(&sealed))
        return 0;
    return upstream_conn_send_bytes(conn, &sealed);
}

int upstream_conn_send(struct upstream_conn *conn, struct buffer *lines)
{
    enum tls_result result;
    struct error ignored;

    if (!conn->session || buffer_failed(lines))
        return upstream_conn_send_bytes(conn, lines);
    result = conn->tls->write(conn->session, buffer_text(lines), &ignored);
    buffer_free(lines);
    return result == TLS_OK ? upstream_conn_flush_tls(conn) : ERROR_SYSTEM;
}

/* Sends the handshake. */
static void upstream_conn_greet(struct upstream_conn *conn)
{
    struct buffer handshake = BUFFER_EMPTY;

    (void)uv_timer_stop(&conn->timer);
    buffer_append_string(
        &handshake, conn->target->opening ? conn->target->opening : HANDSHAKE_SERVER);
    if (upstream_conn_send(conn, &handshake) != 0) {
        /* The next lines would be taken for the handshake. */
        upstream_conn_fail(conn, UPSTREAM_BROKEN, UPSTREAM_CONN_CANT_SEND);
        return;
    }
    conn->events.opened(conn->events.context);
}

static void upstream_conn_fail_tls(
    struct upstream_conn *conn, enum tls_result result, const char *reason)
{
    struct error error;

    if (result == TLS_PLAIN)
        reason = "it does not speak TLS on this port";
    else if (result == TLS_ENDED)
        reason = "it closed the connection";
    (void)error_set(&error, ERROR_SYSTEM, "TLS: %s", reason);
    upstream_conn_fail(conn, UPSTREAM_BROKEN, error.text);
}

/* Goes on with the negotiation. Returns whether it is complete. */
static bool upstream_conn_negotiate(struct upstream_conn *conn)
{
    enum tls_result result;
    struct error error;

    if (conn->is_negotiated)
        return true;
    result = conn->tls->negotiate(conn->session, &error);
    if (result != TLS_OK && result != TLS_MORE) {
        upstream_conn_fail_tls(conn, result, error.text);
        return false;
    }
    if (upstream_conn_flush_tls(conn) != 0) {
        upstream_conn_fail(conn, UPSTREAM_BROKEN, UPSTREAM_CONN_CANT_SEND);
        return false;
    }
    conn->is_negotiated = result == TLS_OK;
    if (conn->is_negotiated)
        upstream_conn_greet(conn);
    return conn->is_negotiated;
}

static void upstream_conn_take_sealed(struct upstream_conn *conn, const char *bytes, size_t length)
{
    enum tls_result result = TLS_OK;
    struct error error;

    if (conn->tls->receive(conn->session, bytes, length) != 0) {
        upstream_conn_fail(conn, UPSTREAM_BROKEN, "out of memory");
        return;
    }
    if (!upstream_conn_negotiate(conn))
        return;
    while (result == TLS_OK && !conn->is_closed) {
        size_t got;

        result = conn->tls->read(conn->session, conn->input, sizeof conn->input, &got, &error);
        if (result == TLS_OK)
            upstream_conn_take_bytes(conn, conn->input, got);
    }
    if (!conn->is_closed && result != TLS_MORE)
        upstream_conn_fail_tls(conn, result, error.text);
    else if (!conn->is_closed)
        (void)upstream_conn_flush_tls(conn);
}

static void upstream_conn_on_input(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct upstream_conn *conn = stream->data;

    if (length == UV_EOF)
        upstream_conn_fail(conn, UPSTREAM_BROKEN, "it closed the connection");
    else if (length < 0)
        upstream_conn_fail(conn, UPSTREAM_BROKEN, uv_strerror((int)length));
    else if (conn->session)
        upstream_conn_take_sealed(conn, buffer->base, (size_t)length);
    else
        upstream_conn_take_bytes(conn, buffer->base, (size_t)length);
}

void upstream_conn_set_reading(struct upstream_conn *conn, bool is_reading)
{
    uv_stream_t *stream = (uv_stream_t *)&conn->tcp;

    if (conn->is_closed || !conn->has_socket)
        return;
    if (is_reading)
        (void)uv_read_start(stream, upstream_conn_provide_buffer, upstream_conn_on_input);
    else
        (void)uv_read_stop(stream);
}

/* ---- connecting ---- */

/* Breaks the connection when the network does: data that nobody acknowledges would wait for a
 * quarter of an hour. */
static void upstream_conn_limit_silence(struct upstream_conn *conn)
{
    const int unacknowledged_ms = UNACKNOWLEDGED_MS;
    const int probe_s = PROBE_S;
    uv_os_fd_t descriptor;

    if (uv_fileno((uv_handle_t *)&conn->tcp, &descriptor) != 0)
        return;
    (void)setsockopt(
        descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &probe_s, sizeof probe_s);
}

/* Begins to negotiate, in what is left of the time to connect. */
static void upstream_conn_begin_tls(struct upstream_conn *conn)
{
    struct error error;

    conn->tls = tls_endpoint_module(conn->target->tls);
    if (tls_endpoint_begin(conn->target->tls, conn->target->address.host, &conn->session, &error) !=
        0)
        upstream_conn_fail(conn, UPSTREAM_BROKEN, error.text);
    else
        (void)upstream_conn_negotiate(conn);
}

static void upstream_conn_start(struct upstream_conn *conn)
{
    (void)uv_tcp_nodelay(&conn->tcp, 1);
    (void)uv_tcp_keepalive(&conn->tcp, 1, KEEPALIVE_S);
    upstream_conn_limit_silence(conn);
    (void)uv_read_start(
        (uv_stream_t *)&conn->tcp, upstream_conn_provide_buffer, upstream_conn_on_input);
    if (conn->target->address.is_tls)
        upstream_conn_begin_tls(conn);
    else
        upstream_conn_greet(conn);
}

/* Closes the socket, and then tries the next address. */
static void upstream_conn_try_next_address(struct upstream_conn *conn, const char *reason)
{
    (void)uv_timer_stop(&conn->timer);
    conn->address = conn->address->ai_next;
    (void)error_set(&conn->reason, ERROR_SYSTEM, "%s", reason);
    upstream_conn_drop_socket(conn);
}

static void upstream_conn_on_connected(uv_connect_t *connecting, int status)
{
    struct upstream_conn *conn = connecting->data;

    if (status == 0)
        upstream_conn_start(conn);
    else if (status != UV_ECANCELED) /* the socket is not being closed */
        upstream_conn_try_next_address(conn, uv_strerror(status));
}

static void upstream_conn_on_timeout(uv_timer_t *timer)
{
    struct upstream_conn *conn = timer->data;

    if (!conn->address)
        upstream_conn_fail(conn, UPSTREAM_BROKEN, "its name could not be resolved in time");
    else if (conn->session)
        upstream_conn_fail(conn, UPSTREAM_BROKEN, "TLS was not negotiated in time");
    else
        upstream_conn_try_next_address(conn, "connection timed out");
}

/* Returns the share of this address: the remaining time divided by the remaining addresses. */
static uint64_t upstream_conn_share_ms(const struct upstream_conn *conn)
{
    uint64_t now_ms = clock_ms();
    unsigned count = 1;

    for (const struct addrinfo *each = conn->address->ai_next; each; each = each->ai_next)
        count++;
    return now_ms < conn->deadline_ms ? (conn->deadline_ms - now_ms) / count : 0;
}

static void upstream_conn_try_address(struct upstream_conn *conn)
{
    int result;

    if (!conn->address) {
        upstream_conn_fail(conn, UPSTREAM_BROKEN, conn->reason.text);
        return;
    }
    (void)uv_tcp_init(conn->loop, &conn->tcp);
    conn->tcp.data = conn->connecting.data = conn;
    conn->has_socket = true;
    conn->n_references++;
    (void)uv_timer_start(&conn->timer, upstream_conn_on_timeout, upstream_conn_share_ms(conn), 0);
    result = uv_tcp_connect(
        &conn->connecting, &conn->tcp, conn->address->ai_addr, upstream_conn_on_connected);
    if (result != 0)
        upstream_conn_try_next_address(conn, uv_strerror(result));
}

static void upstream_conn_on_resolved(
    uv_getaddrinfo_t *resolving, int status, struct addrinfo *addresses)
{
    struct upstream_conn *conn = resolving->data;

    conn->addresses = addresses;
    if (!conn->is_closed && status != 0) {
        upstream_conn_fail(conn, UPSTREAM_BROKEN, uv_strerror(status));
    } else if (!conn->is_closed) {
        conn->address = addresses;
        upstream_conn_try_address(conn);
    }
    upstream_conn_release(conn);
}

int upstream_conn_open(struct upstream_conn **conn_out, uv_loop_t *loop,
    const struct upstream_target *target, unsigned wait_ms,
    const struct upstream_conn_events *events, struct error *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct upstream_conn *conn = calloc(1, sizeof *conn);
    char port[8];
    int result;

    *conn_out = NULL;
    if (!conn)
        return error_set_memory(error);
    conn->events = *events;
    conn->loop = loop;
    conn->target = target;
    conn->deadline_ms = clock_ms() + wait_ms;
    framer_init(&conn->framer, FRAMER_LINE_BYTES);
    (void)snprintf(port, sizeof port, "%u", target->address.port);
    conn->resolving.data = conn;
    result = uv_getaddrinfo(
        loop, &conn->resolving, upstream_conn_on_resolved, target->address.host, port, &hints);
    if (result != 0) {
        free(conn);
        return error_set(error, ERROR_SYSTEM, "%s", uv_strerror(result));
    }
    (void)uv_timer_init(loop, &conn->timer);
    conn->timer.data = conn;
    conn->n_references = 2; /* resolving, timer */
    (void)uv_timer_start(&conn->timer, upstream_conn_on_timeout, wait_ms, 0);
    *conn_out = conn;
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Writes at once what the kernel takes, which usually is everything; libuv gets the rest, one
 * write at a time.
 *
 * With TLS, out is encrypted as a whole into sealed, which is written. What TLS itself wants to
 * say is added to the next write, or makes one of its own. */
#include "server/transport.h"

#include "base/clock.h"

#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_KEPT_BYTES ((size_t)4096) /* of out, when it is empty */

static bool transport_is_unix(int descriptor)
{
    int domain = AF_UNSPEC;
    socklen_t length = sizeof domain;

    return getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
           domain == AF_UNIX;
}

int transport_open(struct transport *transport, uv_loop_t *loop, int descriptor, uv_buf_t input,
    const struct transport_events *events, void *context)
{
    int result;

    transport->events = events;
    transport->context = context;
    transport->input = input;
    if (transport_is_unix(descriptor)) {
        (void)uv_pipe_init(loop, &transport->uv.pipe, 0);
        result = uv_pipe_open(&transport->uv.pipe, descriptor);
    } else {
        (void)uv_tcp_init(loop, &transport->uv.tcp);
        result = uv_tcp_open(&transport->uv.tcp, descriptor);
    }
    transport->uv.handle.data = transport;
    if (result != 0)
        (void)close(descriptor);
    return result;
}

/* ---- TLS ---- */

static int transport_write_bytes(struct transport *transport, struct buffer *bytes);

void transport_begin_tls(
    struct transport *transport, const struct tls_module *tls, struct tls_session *session)
{
    transport->tls = tls;
    transport->session = session;
    transport->is_negotiating = true;
}

static void transport_end_tls(struct transport *transport)
{
    if (transport->session)
        transport->tls->close(transport->session);
    transport->session = NULL;
    transport->tls = NULL;
    transport->is_negotiating = false;
}

/* Writes what TLS has to say, unless something is being written: it follows then. */
static int transport_flush_tls(struct transport *transport)
{
    if (transport->is_writing)
        return 0;
    transport->tls->take_output(transport->session, &transport->sealed);
    if (buffer_failed(&transport->sealed))
        return UV_ENOMEM;
    return transport->sealed.length > 0 ? transport_write_bytes(transport, &transport->sealed) : 0;
}

/* Encrypts out. */
static int transport_seal(struct transport *transport)
{
    struct error ignored;

    if (transport->out.length > 0 &&
        transport->tls->write(transport->session, buffer_text(&transport->out), &ignored) != TLS_OK)
        return UV_EPROTO;
    buffer_reset(&transport->out, MAX_KEPT_BYTES);
    transport->tls->take_output(transport->session, &transport->sealed);
    return buffer_failed(&transport->sealed) ? UV_ENOMEM : 0;
}

/* Passes on what can be decrypted. */
static void transport_decrypt(struct transport *transport)
{
    enum tls_result result = TLS_OK;
    struct error error;
    int written;

    while (result == TLS_OK && !transport->is_closing) {
        size_t length;

        result = transport->tls->read(
            transport->session, transport->input.base, transport->input.len, &length, &error);
        if (result == TLS_OK)
            transport->events->received(transport->context, transport->input.base, length);
    }
    if (transport->is_closing)
        return;
    written = transport_flush_tls(transport);
    if (result == TLS_ENDED && !transport->input_ended) {
        transport->input_ended = true;
        transport_set_reading(transport, false);
        transport->events->input_ended(transport->context);
    } else if (result == TLS_FAILED) {
        transport->events->failed(transport->context, error.text);
    } else if (written != 0) {
        transport->events->failed(transport->context, uv_strerror(written));
    }
}

enum tls_result transport_negotiate(struct transport *transport, struct error *error)
{
    const enum tls_result result = transport->tls->negotiate(transport->session, error);
    int written;

    if (result == TLS_PLAIN) {
        transport_end_tls(transport);
        return result;
    }
    written = transport_flush_tls(transport);
    if (result == TLS_FAILED) {
        transport_end_tls(transport);
        return result;
    }
    if (written != 0) {
        (void)error_set(error, ERROR_SYSTEM, "%s", uv_strerror(written));
        transport_end_tls(transport);
        return TLS_FAILED;
    }
    transport->is_negotiating = result != TLS_OK;
    return result;
}

void transport_pass_on(struct transport *transport)
{
    transport_decrypt(transport);
}

/* Takes bytes of the network. */
static void transport_take_sealed(struct transport *transport, const char *bytes, size_t length)
{
    if (transport->tls->receive(transport->session, bytes, length) != 0)
        transport->events->failed(transport->context, uv_strerror(UV_ENOMEM));
    else if (transport->is_negotiating)
        transport->events->negotiates(transport->context);
    else
        transport_decrypt(transport);
    if (!transport->is_closing && !transport->is_negotiating)
        transport->events->read_sealed(transport->context, length);
}

size_t transport_held_bytes(const struct transport *transport)
{
    size_t bytes = transport->out.capacity + transport->sealed.capacity;

    if (transport->session)
        bytes += TLS_SESSION_BYTES + transport->tls->held_bytes(transport->session);
    return bytes;
}

/* ---- input ---- */

static void transport_provide_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    const struct transport *transport = handle->data;

    (void)suggested;
    *buffer = transport->input;
}

static void transport_on_input(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer);

void transport_set_reading(struct transport *transport, bool is_reading)
{
    is_reading = is_reading && !transport->input_ended;
    if (is_reading == transport->is_reading)
        return;
    transport->is_reading = is_reading;
    if (is_reading)
        (void)uv_read_start(&transport->uv.stream, transport_provide_buffer, transport_on_input);
    else
        (void)uv_read_stop(&transport->uv.stream);
}

void transport_begin_turn(struct transport *transport)
{
    transport->turn_bytes = 0;
}

static void transport_on_input(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct transport *transport = stream->data;

    if (length > 0) {
        transport->turn_bytes += (size_t)length;
        if (transport->session)
            transport_take_sealed(transport, buffer->base, (size_t)length);
        else
            transport->events->received(transport->context, buffer->base, (size_t)length);
        if (transport->turn_bytes >= TRANSPORT_TURN_BYTES && !transport->is_closing)
            transport_set_reading(transport, false);
    } else if (length == UV_EOF) {
        transport->input_ended = true;
        transport->events->input_ended(transport->context);
    } else if (length < 0) {
        transport->events->failed(transport->context, uv_strerror((int)length));
    }
}

bool transport_read_now(struct transport *transport)
{
    uv_os_fd_t descriptor;
    ssize_t length;

    if (transport->input_ended || uv_fileno(&transport->uv.handle, &descriptor) != 0)
        return false;
    length = recv(descriptor, transport->input.base, transport->input.len, MSG_DONTWAIT);
    if (length >= 0)
        transport_on_input(&transport->uv.stream, length > 0 ? length : UV_EOF, &transport->input);
    return length > 0;
}

void transport_read_received(struct transport *transport, int most)
{
    while (most-- > 0 && transport_read_now(transport))
        continue;
}

bool transport_has_unread(const struct transport *transport)
{
    uv_os_fd_t descriptor;
    char byte;

    return uv_fileno(&transport->uv.handle, &descriptor) == 0 &&
           recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

bool transport_has_ended(const struct transport *transport)
{
    struct pollfd socket = {.fd = -1, .events = POLLRDHUP};

    return uv_fileno(&transport->uv.handle, &socket.fd) == 0 && poll(&socket, 1, 0) > 0 &&
           (socket.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void transport_write_peer(const struct transport *transport, char text[ADDRESS_TEXT_BYTES])
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    struct sockaddr *peer = (struct sockaddr *)&storage;
    socklen_t length = sizeof storage;
    int descriptor;

    if (uv_fileno(&transport->uv.handle, &descriptor) == 0 &&
        getpeername(descriptor, peer, &length) == 0 && peer->sa_family != AF_UNIX)
        address_format_socket(peer, text);
    else
        (void)snprintf(text, ADDRESS_TEXT_BYTES, "a unix socket");
}

/* ---- output ---- */

static void transport_on_written(uv_write_t *write, int status)
{
    struct transport *transport = write->data;

    transport->is_writing = false;
    if (transport->is_closing)
        return;
    if (status == 0 && transport->session) {
        buffer_reset(&transport->sealed, MAX_KEPT_BYTES);
        status = transport_flush_tls(transport);
    } else if (status == 0) {
        buffer_drop_front(&transport->out, transport->out.length);
    }
    if (status != 0)
        transport->events->failed(transport->context, uv_strerror(status));
    else
        transport->events->written(transport->context);
}

/* Writes the bytes of out or sealed. */
static int transport_write_bytes(struct transport *transport, struct buffer *out)
{
    uv_buf_t buffer = uv_buf_init(out->bytes, (unsigned)out->length);
    int taken = uv_try_write(&transport->uv.stream, &buffer, 1);
    int result;

    if (taken == UV_EAGAIN)
        taken = 0;
    if (taken < 0)
        return taken;
    buffer_drop_front(out, (size_t)taken);
    if (out->length == 0) {
        buffer_reset(out, MAX_KEPT_BYTES);
        return 0;
    }
    buffer = uv_buf_init(out->bytes, (unsigned)out->length);
    transport->write.data = transport;
    result = uv_write(&transport->write, &transport->uv.stream, &buffer, 1, transport_on_written);
    transport->is_writing = result == 0;
    transport->progress_ms = clock_ms();
    return result;
}

int transport_write(struct transport *transport)
{
    int result;

    if (!transport->session)
        return transport_write_bytes(transport, &transport->out);
    result = transport_seal(transport);
    return result == 0 ? transport_write_bytes(transport, &transport->sealed) : result;
}

bool transport_is_written(const struct transport *transport)
{
    return transport->out.length == 0 && !transport->is_writing;
}

/* Returns what the client has not read yet, the kernel's part included: a client that reads a
 * long answer slowly makes progress even while the kernel takes no more of it. */
static size_t transport_left_to_write(const struct transport *transport)
{
    size_t left = uv_stream_get_write_queue_size(&transport->uv.stream);
    uv_os_fd_t descriptor;
    int in_kernel = 0;

    if (uv_fileno(&transport->uv.handle, &descriptor) == 0 &&
        ioctl(descriptor, SIOCOUTQ, &in_kernel) == 0)
        left += (size_t)in_kernel;
    return left;
}

uint64_t transport_measure_stall(struct transport *transport, uint64_t now_ms)
{
    size_t left;

    if (!transport->is_writing)
        return 0;
    left = transport_left_to_write(transport);
    if (left != transport->left_to_write)
        transport->progress_ms = now_ms;
    transport->left_to_write = left;
    return now_ms > transport->progress_ms ? now_ms - transport->progress_ms : 0;
}

/* ---- the end ---- */

void transport_shut_tls(struct transport *transport)
{
    if (!transport->session)
        return;
    transport->tls->shut(transport->session);
    (void)!transport_flush_tls(transport); /* reading reports a broken connection too */
}

void transport_shut(struct transport *transport)
{
    uv_os_fd_t descriptor;

    transport_shut_tls(transport);
    if (uv_fileno(&transport->uv.handle, &descriptor) == 0)
        (void)shutdown(descriptor, SHUT_WR);
}

static void transport_on_closed(uv_handle_t *handle)
{
    struct transport *transport = handle->data;

    transport_end_tls(transport);
    buffer_free(&transport->out);
    buffer_free(&transport->sealed);
    transport->events->closed(transport->context);
}

void transport_close(struct transport *transport)
{
    transport->is_closing = true;
    uv_close(&transport->uv.handle, transport_on_closed);
}

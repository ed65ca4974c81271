/* A write is tried at once: mostly the kernel takes everything, and libuv's queue stays
 * empty. Only one write is with libuv at a time. */
#include "server/transport.h"

#include "base/clock.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEEPALIVE_S 60            /* machines that vanished are found out */
#define KEPT_BYTES ((size_t)4096) /* of out, when it is empty */

/* Wraps the descriptor in the handle that its kind of socket needs. */
static int adopt(struct transport *transport, uv_loop_t *loop, int descriptor)
{
    int code;

    if (uv_guess_handle(descriptor) == UV_NAMED_PIPE) {
        (void)uv_pipe_init(loop, &transport->uv.pipe, 0);
        code = uv_pipe_open(&transport->uv.pipe, descriptor);
    } else {
        (void)uv_tcp_init(loop, &transport->uv.tcp);
        code = uv_tcp_open(&transport->uv.tcp, descriptor);
        if (code == 0) {
            (void)uv_tcp_nodelay(&transport->uv.tcp, 1);
            (void)uv_tcp_keepalive(&transport->uv.tcp, 1, KEEPALIVE_S);
        }
    }
    transport->uv.handle.data = transport;
    return code;
}

int transport_open(struct transport *transport, uv_loop_t *loop, int descriptor, uv_buf_t input,
    const struct transport_events *events, void *context)
{
    int code;

    transport->events = events;
    transport->context = context;
    transport->input = input;
    code = adopt(transport, loop, descriptor);
    if (code != 0)
        (void)close(descriptor);
    return code;
}

/* ---- input ---- */

static void lend_input(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    const struct transport *transport = handle->data;

    (void)suggested;
    *buffer = transport->input;
}

static void input_came(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct transport *transport = stream->data;

    if (length > 0) {
        transport->events->came(transport->context, buffer->base, (size_t)length);
    } else if (length == UV_EOF) {
        transport->input_ended = true;
        transport->events->ended(transport->context);
    } else if (length < 0) {
        transport->events->broke(transport->context, uv_strerror((int)length));
    }
}

void transport_steer(struct transport *transport, bool reading)
{
    bool wanted = reading && !transport->input_ended;

    if (wanted == transport->reading)
        return;
    transport->reading = wanted;
    if (wanted)
        (void)uv_read_start(&transport->uv.stream, lend_input, input_came);
    else
        (void)uv_read_stop(&transport->uv.stream);
}

bool transport_read_now(struct transport *transport)
{
    uv_os_fd_t descriptor;
    ssize_t length;

    if (transport->input_ended || uv_fileno(&transport->uv.handle, &descriptor) != 0)
        return false;
    length = recv(descriptor, transport->input.base, transport->input.len, MSG_DONTWAIT);
    if (length >= 0)
        input_came(&transport->uv.stream, length > 0 ? length : UV_EOF, &transport->input);
    return length > 0;
}

/* ---- output ---- */

static void written(uv_write_t *write, int status)
{
    struct transport *transport = write->data;

    transport->writing = false;
    if (transport->closing)
        return;
    if (status != 0) {
        transport->events->broke(transport->context, uv_strerror(status));
        return;
    }
    buffer_drop_front(&transport->out, transport->out.length);
    transport->events->written(transport->context);
}

int transport_write(struct transport *transport)
{
    struct buffer *out = &transport->out;
    uv_buf_t buffer = uv_buf_init(out->bytes, (unsigned)out->length);
    int taken = uv_try_write(&transport->uv.stream, &buffer, 1);
    int code;

    if (taken == UV_EAGAIN)
        taken = 0;
    if (taken < 0)
        return taken;
    buffer_drop_front(out, (size_t)taken);
    if (out->length == 0) {
        buffer_reset(out, KEPT_BYTES);
        return 0;
    }
    buffer = uv_buf_init(out->bytes, (unsigned)out->length);
    transport->write.data = transport;
    code = uv_write(&transport->write, &transport->uv.stream, &buffer, 1, written);
    transport->writing = code == 0;
    transport->progress_ms = clock_ms();
    return code;
}

/* What the kernel has of it counts as well: it may take no more until much of that was read. */
static size_t left_to_write(const struct transport *transport)
{
    size_t left = uv_stream_get_write_queue_size(&transport->uv.stream);
    uv_os_fd_t descriptor;
    int in_kernel = 0;

    if (uv_fileno(&transport->uv.handle, &descriptor) == 0 &&
        ioctl(descriptor, SIOCOUTQ, &in_kernel) == 0)
        left += (size_t)in_kernel;
    return left;
}

/* A client that takes a long answer slowly is not one that does not read. */
bool transport_is_stuck(struct transport *transport, uint64_t now, uint64_t ms)
{
    size_t left = transport->writing ? left_to_write(transport) : 0;

    if (!transport->writing)
        return false;
    if (left != transport->left_to_write)
        transport->progress_ms = now;
    transport->left_to_write = left;
    return now >= transport->progress_ms + ms;
}

/* ---- the end ---- */

void transport_shut(const struct transport *transport)
{
    uv_os_fd_t descriptor;

    if (uv_fileno(&transport->uv.handle, &descriptor) == 0)
        (void)shutdown(descriptor, SHUT_WR);
}

static void closed(uv_handle_t *handle)
{
    struct transport *transport = handle->data;

    buffer_free(&transport->out);
    transport->events->closed(transport->context);
}

void transport_close(struct transport *transport)
{
    transport->closing = true;
    uv_close(&transport->uv.handle, closed);
}

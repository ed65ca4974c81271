/* resolve → connect to each address in turn → open. Each address gets its share of
 * the time. What goes wrong ends the link: fail() is the one door out. */
#include "server/link.h"

#include "base/clock.h"
#include "wire/framer.h"
#include "wire/opening.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_BYTES ((size_t)1024 * 1024) /* the longest answer that is taken */
#define KEEPALIVE_S 30

struct link {
    struct link_events events;
    bool over;           /* closed or failed: no more events */
    struct error reason; /* why the last address failed */
    uv_loop_t *loop;
    uv_getaddrinfo_t resolving;
    struct addrinfo *addresses;
    struct addrinfo *address; /* the one that is tried */
    uint64_t deadline_ms;     /* to be connected */
    uv_timer_t timer;
    struct socket *socket;
    struct framer framer;
    unsigned pending; /* handles and requests of libuv that still point here */
    char input[16 * 1024];
};

/* A socket outlives its link until libuv has closed it. */
struct socket {
    uv_tcp_t tcp;
    uv_connect_t connecting;
    struct link *link; /* NULL: nobody listens any more */
};

struct sending {
    uv_write_t write;
    struct buffer lines;
};

static void release(struct link *link)
{
    if (--link->pending > 0 || !link->over)
        return;
    uv_freeaddrinfo(link->addresses);
    framer_free(&link->framer);
    free(link);
}

static void timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void socket_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void drop_socket(struct link *link)
{
    if (!link->socket)
        return;
    link->socket->link = NULL;
    uv_close((uv_handle_t *)&link->socket->tcp, socket_closed);
    link->socket = NULL;
}

static void end(struct link *link)
{
    link->over = true;
    (void)uv_cancel((uv_req_t *)&link->resolving);
    drop_socket(link);
    uv_close((uv_handle_t *)&link->timer, timer_closed);
}

void link_close(struct link *link)
{
    if (link && !link->over)
        end(link);
}

static void fail(struct link *link, const char *reason)
{
    struct link_events events = link->events;
    struct error copy; /* reason may be the link's */

    (void)error_set(&copy, ERROR_SYSTEM, "%s", reason);
    end(link);
    events.failed(events.context, copy.text);
}

/* ---- reading and writing ---- */

static void lend_input(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct socket *socket = handle->data;

    (void)suggested;
    *buffer = socket->link ? uv_buf_init(socket->link->input, sizeof socket->link->input)
                           : uv_buf_init(NULL, 0);
}

static void read_messages(struct link *link)
{
    struct error error;
    struct text message;
    enum framer_result result = FRAMER_READY;

    link->pending++; /* an event may close the link */
    while (!link->over && result == FRAMER_READY) {
        result = framer_next_message(&link->framer, &message, &error);
        if (result == FRAMER_READY)
            link->events.message(link->events.context, message);
        else if (result == FRAMER_LOST)
            fail(link, error.text);
    }
    release(link);
}

static void input_came(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct link *link = ((struct socket *)stream->data)->link;
    struct error error;

    if (!link || length == 0)
        return;
    if (length == UV_EOF)
        fail(link, "it closed the connection");
    else if (length < 0)
        fail(link, uv_strerror((int)length));
    else if (framer_feed(&link->framer, buffer->base, (size_t)length, &error) != 0)
        fail(link, error.text);
    else
        read_messages(link);
}

static void sent(uv_write_t *write, int status)
{
    struct sending *sending = write->data;

    (void)status; /* the reading side hears of a broken connection too */
    buffer_free(&sending->lines);
    free(sending);
}

int link_send(struct link *link, struct buffer *lines)
{
    struct sending *sending = calloc(1, sizeof *sending);
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
    if (uv_write(&sending->write, (uv_stream_t *)&link->socket->tcp, &buffer, 1, sent) == 0)
        return 0;
    sent(&sending->write, 0);
    return ERROR_SYSTEM;
}

/* ---- connecting ---- */

static void open_link(struct link *link)
{
    struct buffer opening = BUFFER_EMPTY;

    (void)uv_timer_stop(&link->timer);
    (void)uv_tcp_nodelay(&link->socket->tcp, 1);
    (void)uv_tcp_keepalive(&link->socket->tcp, 1, KEEPALIVE_S);
    (void)uv_read_start((uv_stream_t *)&link->socket->tcp, lend_input, input_came);
    buffer_append_string(&opening, OPENING_CLIENT);
    if (link_send(link, &opening) != 0) {
        fail(link, LINK_CANT_SEND); /* what follows would be taken for the opening */
        return;
    }
    link->events.opened(link->events.context);
}

static void try_address(struct link *link);

static void try_next_address(struct link *link, const char *reason)
{
    drop_socket(link);
    link->address = link->address->ai_next;
    (void)error_set(&link->reason, ERROR_SYSTEM, "%s", reason);
    try_address(link);
}

static void connected(uv_connect_t *connecting, int status)
{
    struct link *link = ((struct socket *)connecting->data)->link;

    if (!link)
        return;
    if (status == 0)
        open_link(link);
    else
        try_next_address(link, uv_strerror(status));
}

static void took_too_long(uv_timer_t *timer)
{
    struct link *link = timer->data;

    if (!link->address)
        fail(link, "its name could not be resolved in time");
    else
        try_next_address(link, "connection timed out");
}

/* What is left of the time, shared out among the addresses that are left. */
static uint64_t share_ms(const struct link *link)
{
    uint64_t now_ms = clock_ms();
    unsigned count = 0;

    for (const struct addrinfo *each = link->address; each; each = each->ai_next)
        count++;
    return now_ms < link->deadline_ms ? (link->deadline_ms - now_ms) / count : 0;
}

static void try_address(struct link *link)
{
    struct socket *socket;
    int code;

    if (!link->address) {
        fail(link, link->reason.text);
        return;
    }
    socket = calloc(1, sizeof *socket);
    if (!socket) {
        fail(link, "out of memory");
        return;
    }
    (void)uv_tcp_init(link->loop, &socket->tcp);
    socket->tcp.data = socket;
    socket->connecting.data = socket;
    socket->link = link;
    link->socket = socket;
    (void)uv_timer_start(&link->timer, took_too_long, share_ms(link), 0);
    code = uv_tcp_connect(&socket->connecting, &socket->tcp, link->address->ai_addr, connected);
    if (code != 0)
        try_next_address(link, uv_strerror(code));
}

static void resolved(uv_getaddrinfo_t *resolving, int status, struct addrinfo *addresses)
{
    struct link *link = resolving->data;
    link->addresses = addresses;
    if (!link->over && status != 0) {
        fail(link, uv_strerror(status));
    } else if (!link->over) {
        link->address = addresses;
        try_address(link);
    }
    release(link);
}

int link_open(struct link **result, uv_loop_t *loop, const struct address *address,
    unsigned wait_ms, const struct link_events *events, struct error *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct link *link = calloc(1, sizeof *link);
    char port[8];
    int code;

    *result = NULL;
    if (!link)
        return error_set_memory(error);
    link->events = *events;
    link->loop = loop;
    link->deadline_ms = clock_ms() + wait_ms;
    framer_init(&link->framer, ANSWER_BYTES);
    (void)snprintf(port, sizeof port, "%u", address->port);
    link->resolving.data = link;
    code = uv_getaddrinfo(loop, &link->resolving, resolved, address->host, port, &hints);
    if (code != 0) {
        free(link);
        return error_set(error, ERROR_SYSTEM, "%s", uv_strerror(code));
    }
    (void)uv_timer_init(loop, &link->timer);
    link->timer.data = link;
    link->pending = 2; /* resolving and timer */
    (void)uv_timer_start(&link->timer, took_too_long, wait_ms, 0);
    *result = link;
    return 0;
}

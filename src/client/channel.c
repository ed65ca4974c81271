/* SPDX-License-Identifier: MIT */
/* The socket does not block, except while it connects. Otherwise time passes, and runs out, in
 * channel_wait_for. */
#include "client/channel.h"

#include "base/clock.h"
#include "client/client_error.h"
#include "wire/handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_BYTES ((size_t)256 * 1024 * 1024) /* the longest that is kept as a whole */
#define EARLY_BYTES ((size_t)32 * 1024 * 1024)   /* answers that arrive while requests are sent */

void channel_init(
    struct channel *channel, const struct tls_module *tls, struct tls_context *certificates)
{
    *channel = (struct channel){.descriptor = -1, .tls = tls, .certificates = certificates};
    framer_init(&channel->framer, ANSWER_BYTES);
}

void channel_hurry(struct channel *channel, unsigned timeout_ms)
{
    channel->deadline_ms = clock_ms() + timeout_ms;
    channel->has_received = false;
}

/* Ends TLS, and tells the server if the network takes it at once. */
static void channel_end_session(struct channel *channel)
{
    struct buffer sealed = BUFFER_EMPTY;

    channel->tls->shut(channel->session);
    channel->tls->take_output(channel->session, &sealed);
    if (sealed.length > 0)
        (void)!send(channel->descriptor, sealed.bytes, sealed.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    buffer_free(&sealed);
    channel->tls->close(channel->session);
    channel->session = NULL;
}

void channel_close(struct channel *channel)
{
    if (channel->session)
        channel_end_session(channel);
    if (channel->descriptor >= 0)
        (void)close(channel->descriptor);
    channel->descriptor = -1;
    framer_free(&channel->framer);
    framer_init(&channel->framer, ANSWER_BYTES);
}

static int channel_receive_bytes(struct channel *channel, bool *none, struct prserv_error *error);

/* Reads what TLS alone has to say, such as tickets. */
bool channel_is_quiet(struct channel *channel)
{
    struct prserv_error ignored;
    bool none = true;

    if (channel_receive_bytes(channel, &none, &ignored) != 0)
        return false;
    return channel->framer.start == channel->framer.input.length && (none || channel->session);
}

static int channel_broken(struct prserv_error *error, const char *what)
{
    return client_error_set(error, PRSERV_ERROR_CONNECTION, "%s", what);
}

static int channel_late(struct prserv_error *error)
{
    return client_error_set(error, PRSERV_ERROR_TIMEOUT, "no answer in time");
}

/* Returns the time until the deadline, as poll takes it. */
static int channel_left_ms(const struct channel *channel)
{
    uint64_t now_ms = clock_ms();

    if (now_ms >= channel->deadline_ms)
        return 0;
    return channel->deadline_ms - now_ms < INT_MAX ? (int)(channel->deadline_ms - now_ms) : INT_MAX;
}

/* Waits until the socket is ready for one of these events. */
static int channel_wait_for(const struct channel *channel, short events, struct prserv_error *error)
{
    struct pollfd ready = {.fd = channel->descriptor, .events = events};
    int wait_ms;
    int count;

    do {
        wait_ms = channel_left_ms(channel);
        count = poll(&ready, 1, wait_ms);
    } while ((count < 0 && errno == EINTR) || (count == 0 && wait_ms == INT_MAX));
    if (count == 0)
        return channel_late(error);
    return count < 0 ? channel_broken(error, strerror(errno)) : 0;
}

/* ---- sending and receiving ---- */

/* Decrypts what has arrived. */
static int channel_decrypt(
    struct channel *channel, const char *sealed, size_t length, struct prserv_error *error)
{
    const struct tls_module *tls = channel->tls;
    char bytes[16 * 1024];
    enum tls_result result = TLS_OK;
    struct error reason;

    if (tls->receive(channel->session, sealed, length) != 0)
        return client_error_set(error, PRSERV_ERROR_MEMORY, "out of memory");
    while (result == TLS_OK) {
        size_t got;

        result = tls->read(channel->session, bytes, sizeof bytes, &got, &reason);
        if (result != TLS_OK)
            break;
        channel->has_received = true;
        if (framer_feed(&channel->framer, bytes, got, &reason) != 0)
            return client_error_set(error, PRSERV_ERROR_MEMORY, "%s", reason.text);
    }
    if (result == TLS_ENDED)
        return channel_broken(error, "the server closed the connection");
    return result == TLS_MORE
               ? 0
               : client_error_set(error, PRSERV_ERROR_CONNECTION, "TLS: %s", reason.text);
}

/* Reads what has arrived. *none says that nothing had. */
static int channel_receive_bytes(struct channel *channel, bool *none, struct prserv_error *error)
{
    char bytes[64 * 1024];
    struct error reason;
    ssize_t got = recv(channel->descriptor, bytes, sizeof bytes, 0);

    *none = got < 0 && (errno == EAGAIN || errno == EINTR);
    if (*none)
        return 0;
    if (got == 0)
        return channel_broken(error, "the server closed the connection");
    if (got < 0)
        return channel_broken(error, strerror(errno));
    if (channel->session)
        return channel_decrypt(channel, bytes, (size_t)got, error);
    channel->has_received = true;
    if (framer_feed(&channel->framer, bytes, (size_t)got, &reason) != 0)
        return client_error_set(error, PRSERV_ERROR_MEMORY, "%s", reason.text);
    return 0;
}

/* A server that closes the connection may have sent the reason before. So a failure to send ends
 * the sending without an error; the next channel_receive returns that reason, or the failure. */
static int channel_send_bytes(struct channel *channel, struct text text, struct prserv_error *error)
{
    while (text.length > 0) {
        ssize_t sent = send(channel->descriptor, text.bytes, text.length, MSG_NOSIGNAL);
        bool none;
        int result = 0;

        if (sent > 0) {
            text = text_from(text, (size_t)sent);
        } else if (errno == EAGAIN) {
            result = channel_wait_for(channel, POLLOUT | POLLIN, error);
            if (result == 0)
                result = channel_receive_bytes(channel, &none, error);
            if (result == PRSERV_ERROR_CONNECTION)
                return 0;
            if (result == 0 && channel->framer.input.length > EARLY_BYTES)
                return client_error_set(
                    error, PRSERV_ERROR_PROTOCOL, "the server sends more than it was asked for");
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return 0;
        } else if (errno != EINTR) {
            result = channel_broken(error, strerror(errno));
        }
        if (result != 0)
            return result;
    }
    return 0;
}

/* Sends what TLS has for the network. */
static int channel_flush_tls(struct channel *channel, struct prserv_error *error)
{
    struct buffer sealed = BUFFER_EMPTY;
    int result;

    channel->tls->take_output(channel->session, &sealed);
    result = buffer_failed(&sealed) ? client_error_set(error, PRSERV_ERROR_MEMORY, "out of memory")
                                    : channel_send_bytes(channel, buffer_text(&sealed), error);
    buffer_free(&sealed);
    return result;
}

int channel_send(struct channel *channel, struct text text, struct prserv_error *error)
{
    struct error reason;

    if (!channel->session)
        return channel_send_bytes(channel, text, error);
    if (text.length > 0 && channel->tls->write(channel->session, text, &reason) != TLS_OK)
        return client_error_set(error, PRSERV_ERROR_CONNECTION, "TLS: %s", reason.text);
    return channel_flush_tls(channel, error);
}

static int channel_lost(
    const struct channel *channel, struct prserv_error *error, const struct error *reason)
{
    if (buffer_failed(&channel->framer.stream))
        return client_error_set(error, PRSERV_ERROR_MEMORY, "%s", reason->text);
    return client_error_set(
        error, PRSERV_ERROR_PROTOCOL, "the answer can't be read: %s", reason->text);
}

int channel_receive(
    struct channel *channel, struct text *received, bool *last, struct prserv_error *error)
{
    for (;;) {
        struct error reason;
        enum framer_result framed =
            last ? framer_next_piece(&channel->framer, received, last, &reason)
                 : framer_next_message(&channel->framer, received, &reason);
        bool none = false;
        int result;

        if (framed == FRAMER_READY)
            return 0;
        result = framed == FRAMER_LOST ? channel_lost(channel, error, &reason)
                                       : channel_receive_bytes(channel, &none, error);
        if (result == 0 && none)
            result = channel_wait_for(channel, POLLIN, error);
        if (result != 0)
            return result;
    }
}

/* ---- connecting ---- */

/* Returns whether connect has to be called again after this errno: it was interrupted, or its time
 * is over, which channel_left_ms decides. */
static bool channel_is_connecting(int reason)
{
    return reason == EINTR || reason == EAGAIN || reason == EINPROGRESS || reason == EALREADY;
}

/* Connects a socket, which blocks until then: when the backlog of a server is full, connecting a
 * non-blocking UNIX socket fails at once. */
static int channel_connect_socket(struct channel *channel, const struct sockaddr *address,
    socklen_t length, struct prserv_error *error)
{
    int result;

    if (channel->descriptor >= 0)
        (void)close(channel->descriptor);
    channel->descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (channel->descriptor < 0)
        return channel_broken(error, strerror(errno));
    do {
        int wait_ms = channel_left_ms(channel);
        struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000L};

        if (wait_ms == 0)
            return channel_late(error);
        (void)setsockopt(channel->descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        result = connect(channel->descriptor, address, length);
    } while (result != 0 && channel_is_connecting(errno));
    if (result != 0 || fcntl(channel->descriptor, F_SETFL, O_NONBLOCK) != 0)
        return channel_broken(error, strerror(errno));
    return 0;
}

static int channel_connect_unix(
    struct channel *channel, const struct address *server, struct prserv_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, server->path, sizeof address.sun_path);
    return channel_connect_socket(
        channel, (const struct sockaddr *)&address, sizeof address, error);
}

/* Each address of the name gets an equal share of the time that is left, so that a silent one
 * leaves time for the others. */
static int channel_connect_tcp(
    struct channel *channel, const struct address *server, struct prserv_error *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    const int at_once = 1;
    const uint64_t deadline_ms = channel->deadline_ms;
    unsigned n_left = 0;
    char port[8];
    int result;

    (void)snprintf(port, sizeof port, "%u", server->port);
    result = getaddrinfo(server->host, port, &hints, &addresses);
    if (result != 0)
        return channel_broken(error, gai_strerror(result));
    for (const struct addrinfo *each = addresses; each; each = each->ai_next)
        n_left++;
    result = PRSERV_ERROR_CONNECTION;
    for (const struct addrinfo *each = addresses; each && result != 0; each = each->ai_next) {
        uint64_t now_ms = clock_ms();

        channel->deadline_ms =
            now_ms < deadline_ms ? now_ms + (deadline_ms - now_ms) / n_left-- : deadline_ms;
        result = channel_connect_socket(channel, each->ai_addr, each->ai_addrlen, error);
    }
    channel->deadline_ms = deadline_ms;
    freeaddrinfo(addresses);
    if (result == 0)
        (void)setsockopt(channel->descriptor, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    return result;
}

/* Waits for bytes of the negotiation. */
static int channel_receive_sealed(struct channel *channel, struct prserv_error *error)
{
    char bytes[16 * 1024];
    ssize_t got;
    int result = channel_wait_for(channel, POLLIN, error);

    if (result != 0)
        return result;
    got = recv(channel->descriptor, bytes, sizeof bytes, 0);
    if (got == 0)
        return channel_broken(error, "the server closed the connection");
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : channel_broken(error, strerror(errno));
    if (channel->tls->receive(channel->session, bytes, (size_t)got) != 0)
        return client_error_set(error, PRSERV_ERROR_MEMORY, "out of memory");
    return 0;
}

static int channel_negotiate(
    struct channel *channel, const struct address *address, struct prserv_error *error)
{
    enum tls_result negotiated = TLS_MORE;
    struct error reason = {.text = "it closed the connection"};
    int result;

    if (channel->tls->open(&channel->session, channel->certificates, address->host, &reason) != 0)
        return client_error_set(error, PRSERV_ERROR_ARGUMENT, "TLS: %s", reason.text);
    for (;;) {
        negotiated = channel->tls->negotiate(channel->session, &reason);
        result = channel_flush_tls(channel, error);
        if (result != 0 || negotiated != TLS_MORE)
            break;
        result = channel_receive_sealed(channel, error);
        if (result != 0)
            return result;
    }
    if (result != 0 || negotiated == TLS_OK)
        return result;
    return client_error_set(error, PRSERV_ERROR_CONNECTION, "TLS: %s",
        negotiated == TLS_PLAIN ? "the server does not speak TLS on this port" : reason.text);
}

/* Sends the handshake, with more header lines before the empty line. */
static int channel_shake_hands(
    struct channel *channel, struct text headers, struct prserv_error *error)
{
    struct buffer lines = BUFFER_EMPTY;
    int result;

    buffer_append(&lines, HANDSHAKE_CLIENT, strlen(HANDSHAKE_CLIENT) - 1);
    buffer_append_text(&lines, headers);
    buffer_append_string(&lines, "\n");
    result = buffer_failed(&lines) ? client_error_set(error, PRSERV_ERROR_MEMORY, "out of memory")
                                   : channel_send(channel, buffer_text(&lines), error);
    buffer_free(&lines);
    return result;
}

int channel_open(struct channel *channel, const struct address *address, struct text headers,
    struct prserv_error *error)
{
    struct prserv_error reason;
    int result = address->is_unix ? channel_connect_unix(channel, address, &reason)
                                  : channel_connect_tcp(channel, address, &reason);

    if (result == 0 && address->is_tls)
        result = channel_negotiate(channel, address, &reason);
    if (result == 0)
        result = channel_shake_hands(channel, headers, &reason);
    return result == 0 ? 0 : client_error_set(error, result, "can't connect: %s", reason.text);
}

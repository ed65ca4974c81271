/* The socket never blocks; wait_for is where time passes, and where it runs out. */
#include "client/channel.h"

#include "base/clock.h"
#include "client/fail.h"
#include "wire/opening.h"

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

#define ANSWER_BYTES ((size_t)256 * 1024 * 1024) /* of one that is kept as a whole */
#define EARLY_BYTES ((size_t)32 * 1024 * 1024)   /* of answers that come while requests are sent */

void channel_init(struct channel *channel)
{
    *channel = (struct channel){.descriptor = -1};
    framer_init(&channel->framer, ANSWER_BYTES);
}

void channel_hurry(struct channel *channel, unsigned timeout_ms)
{
    channel->deadline_ms = clock_ms() + timeout_ms;
    channel->heard = false;
}

void channel_close(struct channel *channel)
{
    if (channel->descriptor >= 0)
        (void)close(channel->descriptor);
    channel->descriptor = -1;
    framer_free(&channel->framer);
    framer_init(&channel->framer, ANSWER_BYTES);
}

bool channel_is_quiet(const struct channel *channel)
{
    struct pollfd ready = {.fd = channel->descriptor, .events = POLLIN};

    return channel->framer.start == channel->framer.input.length && poll(&ready, 1, 0) == 0;
}

static int broken(struct prserv_error *error, const char *what)
{
    return fail(error, PRSERV_ERROR_CONNECTION, "%s", what);
}

static int late(struct prserv_error *error)
{
    return fail(error, PRSERV_ERROR_TIMEOUT, "no answer in time");
}

/* At most what poll takes. */
static int left_ms(const struct channel *channel)
{
    uint64_t now_ms = clock_ms();

    if (now_ms >= channel->deadline_ms)
        return 0;
    return channel->deadline_ms - now_ms < INT_MAX ? (int)(channel->deadline_ms - now_ms) : INT_MAX;
}

/* Waits until the socket is ready for one of these. */
static int wait_for(const struct channel *channel, short events, struct prserv_error *error)
{
    struct pollfd ready = {.fd = channel->descriptor, .events = events};
    int wait_ms;
    int count;

    do {
        wait_ms = left_ms(channel);
        count = poll(&ready, 1, wait_ms);
    } while ((count < 0 && errno == EINTR) || (count == 0 && wait_ms == INT_MAX));
    if (count == 0)
        return late(error);
    return count < 0 ? broken(error, strerror(errno)) : 0;
}

/* ---- sending and receiving ---- */

/* Takes what has come; *none: nothing had. */
static int receive(struct channel *channel, bool *none, struct prserv_error *error)
{
    char bytes[64 * 1024];
    struct error reason;
    ssize_t got = recv(channel->descriptor, bytes, sizeof bytes, 0);

    *none = got < 0 && (errno == EAGAIN || errno == EINTR);
    if (*none)
        return 0;
    if (got == 0)
        return broken(error, "the server closed the connection");
    if (got < 0)
        return broken(error, strerror(errno));
    channel->heard = true;
    if (framer_feed(&channel->framer, bytes, (size_t)got, &reason) != 0)
        return fail(error, PRSERV_ERROR_MEMORY, "%s", reason.text);
    return 0;
}

static int receive_more(struct channel *channel, struct prserv_error *error)
{
    bool none;
    int result = receive(channel, &none, error);

    return result == 0 && none ? wait_for(channel, POLLIN, error) : result;
}

/* A server that closes may have said why: what can't be sent any more is forgotten then,
 * and who reads on gets its words, or the failure. */
int channel_send(struct channel *channel, struct text text, struct prserv_error *error)
{
    while (text.length > 0) {
        ssize_t sent = send(channel->descriptor, text.bytes, text.length, MSG_NOSIGNAL);
        bool none;
        int result = 0;

        if (sent > 0) {
            text.bytes += sent;
            text.length -= (size_t)sent;
        } else if (errno == EAGAIN) {
            result = wait_for(channel, POLLOUT | POLLIN, error);
            if (result == 0)
                result = receive(channel, &none, error);
            if (result == PRSERV_ERROR_CONNECTION)
                return 0;
            if (result == 0 && channel->framer.input.length > EARLY_BYTES)
                return fail(error, PRSERV_ERROR_PROTOCOL, "it sends more than it was asked for");
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return 0;
        } else if (errno != EINTR) {
            result = broken(error, strerror(errno));
        }
        if (result != 0)
            return result;
    }
    return 0;
}

static int lost(
    const struct channel *channel, struct prserv_error *error, const struct error *reason)
{
    if (buffer_failed(&channel->framer.stream))
        return fail(error, PRSERV_ERROR_MEMORY, "%s", reason->text);
    return fail(error, PRSERV_ERROR_PROTOCOL, "the answer can't be read: %s", reason->text);
}

int channel_receive(
    struct channel *channel, struct text *received, bool *last, struct prserv_error *error)
{
    for (;;) {
        struct error reason;
        enum framer_result framed =
            last ? framer_next_piece(&channel->framer, received, last, &reason)
                 : framer_next_message(&channel->framer, received, &reason);
        int result;

        if (framed == FRAMER_READY)
            return 0;
        result =
            framed == FRAMER_LOST ? lost(channel, error, &reason) : receive_more(channel, error);
        if (result != 0)
            return result;
    }
}

/* ---- connecting ---- */

static int connect_socket(struct channel *channel, const struct sockaddr *address, socklen_t length,
    struct prserv_error *error)
{
    int reason = 0;
    socklen_t reason_length = sizeof reason;

    if (channel->descriptor >= 0)
        (void)close(channel->descriptor);
    channel->descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (channel->descriptor < 0)
        return broken(error, strerror(errno));
    if (connect(channel->descriptor, address, length) != 0) {
        if (errno != EINPROGRESS)
            return broken(error, strerror(errno));
        if (wait_for(channel, POLLOUT, error) != 0)
            return error->code;
        (void)getsockopt(channel->descriptor, SOL_SOCKET, SO_ERROR, &reason, &reason_length);
    }
    return reason == 0 ? 0 : broken(error, strerror(reason));
}

/* Where the queue of a busy server is full, a unix socket that does not block is turned
 * away at once; so this one blocks until it is connected. */
static int connect_unix(
    struct channel *channel, const struct address *server, struct prserv_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int result;

    memcpy(address.sun_path, server->path, sizeof address.sun_path);
    channel->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (channel->descriptor < 0)
        return broken(error, strerror(errno));
    do {
        int wait_ms = left_ms(channel);
        struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000L};

        if (wait_ms == 0)
            return late(error);
        (void)setsockopt(channel->descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        result = connect(channel->descriptor, (struct sockaddr *)&address, sizeof address);
    } while (result != 0 && (errno == EINTR || errno == EAGAIN));
    if (result != 0 || fcntl(channel->descriptor, F_SETFL, O_NONBLOCK) != 0)
        return broken(error, strerror(errno));
    return 0;
}

/* Each address of a name has its share of the time that is left: one that is silent leaves
 * the next ones theirs. */
static int connect_tcp(
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
        return broken(error, gai_strerror(result));
    for (const struct addrinfo *each = addresses; each; each = each->ai_next)
        n_left++;
    result = PRSERV_ERROR_CONNECTION;
    for (const struct addrinfo *each = addresses; each && result != 0; each = each->ai_next) {
        uint64_t now_ms = clock_ms();

        channel->deadline_ms =
            now_ms < deadline_ms ? now_ms + (deadline_ms - now_ms) / n_left-- : deadline_ms;
        result = connect_socket(channel, each->ai_addr, each->ai_addrlen, error);
    }
    channel->deadline_ms = deadline_ms;
    freeaddrinfo(addresses);
    if (result == 0)
        (void)setsockopt(channel->descriptor, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    return result;
}

int channel_open(struct channel *channel, const struct address *address, struct prserv_error *error)
{
    int result = address->is_unix ? connect_unix(channel, address, error)
                                  : connect_tcp(channel, address, error);

    return result == 0 ? channel_send(channel, text_of(OPENING_CLIENT), error) : result;
}

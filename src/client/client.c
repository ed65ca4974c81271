#include "client/client.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "wire/codec.h"
#include "wire/framer.h"
#include "wire/opening.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_BYTES ((size_t)64 * 1024 * 1024)

struct client {
    int descriptor; /* non-blocking; every wait goes through wait_for() */
    unsigned timeout_ms;
    uint64_t deadline_ms; /* of what is under way */
    char name[ADDRESS_TEXT_BYTES];
    struct framer framer;
};

static int fail(const struct client *client, struct error *error, const char *what)
{
    return error_set(error, ERROR_SYSTEM, "%s: %s", client->name, what);
}

/* Waits until the socket is ready for this. */
static int wait_for(const struct client *client, short events, struct error *error)
{
    struct pollfd ready = {.fd = client->descriptor, .events = events};
    uint64_t now;
    int count;

    do {
        now = clock_ms();
        count = now < client->deadline_ms ? poll(&ready, 1, (int)(client->deadline_ms - now)) : 0;
    } while (count < 0 && errno == EINTR);
    if (count == 0)
        return fail(client, error, "no answer in time");
    return count < 0 ? fail(client, error, strerror(errno)) : 0;
}

static int send_all(const struct client *client, struct text text, struct error *error)
{
    while (text.length > 0) {
        ssize_t sent = send(client->descriptor, text.bytes, text.length, MSG_NOSIGNAL);

        if (sent > 0) {
            text.bytes += sent;
            text.length -= (size_t)sent;
        } else if (errno == EAGAIN) {
            if (wait_for(client, POLLOUT, error) != 0)
                return ERROR_SYSTEM;
        } else if (errno != EINTR) {
            return fail(client, error, strerror(errno));
        }
    }
    return 0;
}

static int receive_some(struct client *client, struct error *error)
{
    char bytes[16 * 1024];
    ssize_t got = recv(client->descriptor, bytes, sizeof bytes, 0);

    if (got > 0)
        return framer_feed(&client->framer, bytes, (size_t)got, error);
    if (got == 0)
        return fail(client, error, "the server closed the connection");
    if (errno == EAGAIN)
        return wait_for(client, POLLIN, error);
    return errno == EINTR ? 0 : fail(client, error, strerror(errno));
}

static int receive_message(struct client *client, struct text *message, struct error *error)
{
    for (;;) {
        struct error reason;
        int result;

        switch (framer_next_message(&client->framer, message, &reason)) {
        case FRAMER_READY:
            return 0;
        case FRAMER_LOST:
            return fail(client, error, reason.text);
        case FRAMER_MORE:
            break;
        }
        result = receive_some(client, error);
        if (result != 0)
            return result;
    }
}

/* ---- asking ---- */

static int ask(
    struct client *client, const struct request *request, struct text *answer, struct error *error)
{
    struct buffer text = BUFFER_EMPTY;
    struct buffer line = BUFFER_EMPTY;
    int result;

    client->deadline_ms = clock_ms() + client->timeout_ms;
    codec_write_request(&text, request);
    framer_write(&line, buffer_text(&text));
    if (buffer_failed(&text) || buffer_failed(&line))
        result = error_set_memory(error);
    else
        result = send_all(client, buffer_text(&line), error);
    buffer_free(&text);
    buffer_free(&line);
    return result == 0 ? receive_message(client, answer, error) : result;
}

/* Puts the server's name before what is wrong with its answer. */
static int blame(
    const struct client *client, int result, const struct error *reason, struct error *error)
{
    if (result != 0)
        (void)error_set(error, result, "%s: %.200s", client->name, reason->text);
    return result;
}

int client_ask_revision(
    struct client *client, const struct request *request, char **revision, struct error *error)
{
    struct text answer;
    struct error reason;
    int result = ask(client, request, &answer, error);

    *revision = NULL;
    if (result != 0)
        return result;
    result = codec_read_value(answer, revision, &reason);
    return blame(client, result, &reason, error);
}

int client_ask_flag(
    struct client *client, const struct request *request, bool *flag, struct error *error)
{
    const char *member = request->kind == REQUEST_PING          ? "alive"
                         : request->kind == REQUEST_IS_READONLY ? "readonly"
                                                                : "value";
    struct text answer;
    struct error reason;
    int result = ask(client, request, &answer, error);

    if (result != 0)
        return result;
    result = codec_read_flag(answer, member, flag, &reason);
    return blame(client, result, &reason, error);
}

/* ---- connecting ---- */

static int connect_socket(
    struct client *client, const struct sockaddr *address, socklen_t length, struct error *error)
{
    int reason = 0;
    socklen_t reason_length = sizeof reason;

    client->descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client->descriptor < 0)
        return fail(client, error, strerror(errno));
    if (connect(client->descriptor, address, length) != 0) {
        reason = errno;
        if (reason == EINPROGRESS) {
            if (wait_for(client, POLLOUT, error) != 0)
                return ERROR_SYSTEM;
            (void)getsockopt(client->descriptor, SOL_SOCKET, SO_ERROR, &reason, &reason_length);
        }
    }
    return reason == 0 ? 0 : fail(client, error, strerror(reason));
}

static int connect_unix(struct client *client, const struct address *server, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, server->path, sizeof address.sun_path);
    return connect_socket(client, (struct sockaddr *)&address, sizeof address, error);
}

static int connect_tcp(struct client *client, const struct address *server, struct error *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    char port[8];
    int result;

    (void)snprintf(port, sizeof port, "%u", server->port);
    result = getaddrinfo(server->host, port, &hints, &addresses);
    if (result != 0)
        return fail(client, error, gai_strerror(result));
    result = ERROR_SYSTEM;
    for (const struct addrinfo *each = addresses; each && result != 0; each = each->ai_next) {
        if (client->descriptor >= 0)
            (void)close(client->descriptor);
        result = connect_socket(client, each->ai_addr, each->ai_addrlen, error);
    }
    freeaddrinfo(addresses);
    return result;
}

int client_open(
    struct client **result, const struct address *server, unsigned timeout_ms, struct error *error)
{
    struct client *client = calloc(1, sizeof *client);
    int code;

    *result = NULL;
    if (!client)
        return error_set_memory(error);
    client->descriptor = -1;
    client->timeout_ms = timeout_ms;
    client->deadline_ms = clock_ms() + timeout_ms;
    address_format(server, client->name);
    framer_init(&client->framer, ANSWER_BYTES);
    code =
        server->is_unix ? connect_unix(client, server, error) : connect_tcp(client, server, error);
    if (code == 0)
        code = send_all(client, text_of(OPENING_CLIENT), error);
    if (code != 0) {
        client_close(client);
        return code;
    }
    *result = client;
    return 0;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    if (client->descriptor >= 0)
        (void)close(client->descriptor);
    framer_free(&client->framer);
    free(client);
}

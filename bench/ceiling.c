/* SPDX-License-Identifier: MIT */
/* ceiling: a server that shows the highest possible throughput on this machine.
 *
 * It reads the same lines as prservd and answers each with the same constant line. It has no JSON,
 * no database, no limits and one thread. Each wake-up makes one recv and one send, for all lines
 * that arrived together. It prints "Listening on 127.0.0.1:PORT" and runs until it is killed.
 *
 *     accepted → handshake --empty line→ open: an answer for each line → closed by the client
 *
 * Sockets block. Only a send to a client that does not read could wait, and prserv bench reads. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER "{\"value\":\"0\"}\n"
#define ANSWER_BYTES (sizeof ANSWER - 1)
#define INPUT_BYTES 65536 /* each byte may end a line */
#define EVENTS 256
#define MOST_DESCRIPTORS 65536

enum state {
    HANDSHAKE_LINE_START, /* an empty line would end the handshake */
    HANDSHAKE_IN_LINE,
    OPEN,
};

struct ceiling {
    int epoll;
    int listener;
    enum state states[MOST_DESCRIPTORS]; /* one for each connection, indexed by descriptor */
    char input[INPUT_BYTES];
    char answers[INPUT_BYTES * ANSWER_BYTES]; /* answers for a full input buffer */
};

static int fail(const char *what)
{
    (void)fprintf(stderr, "ceiling: %s: %s\n", what, strerror(errno));
    return -1;
}

/* ---- a connection ---- */

/* Returns the first byte after the handshake, or NULL if the handshake continues after end. */
static const char *skip_handshake(enum state *state, const char *at, const char *end)
{
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        bool empty = *state == HANDSHAKE_LINE_START && line_end == at;

        *state = line_end ? HANDSHAKE_LINE_START : HANDSHAKE_IN_LINE;
        if (!line_end)
            return NULL;
        at = line_end + 1;
        if (empty) {
            *state = OPEN;
            return at;
        }
    }
    return NULL;
}

static size_t count_lines(const char *at, const char *end)
{
    size_t lines = 0;

    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        lines++;
        at++;
    }
    return lines;
}

/* Answers all lines that have arrived. Returns false if the connection has ended. */
static bool serve(struct ceiling *ceiling, int client)
{
    ssize_t got = recv(client, ceiling->input, INPUT_BYTES, MSG_DONTWAIT);
    const char *at = ceiling->input;
    enum state *state = &ceiling->states[client];
    size_t lines;

    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    if (*state != OPEN)
        at = skip_handshake(state, at, ceiling->input + got);
    lines = at ? count_lines(at, ceiling->input + got) : 0;
    return lines == 0 || send(client, ceiling->answers, lines * ANSWER_BYTES, MSG_NOSIGNAL) >= 0;
}

static void add_client(struct ceiling *ceiling)
{
    int client = accept4(ceiling->listener, NULL, NULL, SOCK_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = client};

    if (client < 0)
        return;
    if (client >= MOST_DESCRIPTORS) {
        (void)close(client);
        return;
    }
    ceiling->states[client] = HANDSHAKE_LINE_START;
    /* A client that connects for one request has usually sent it already. */
    if (!serve(ceiling, client) || epoll_ctl(ceiling->epoll, EPOLL_CTL_ADD, client, &event) != 0)
        (void)close(client);
}

static int run(struct ceiling *ceiling)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int count = epoll_wait(ceiling->epoll, events, EVENTS, -1);

        if (count < 0 && errno != EINTR)
            return fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == ceiling->listener)
                add_client(ceiling);
            else if (!serve(ceiling, events[i].data.fd))
                (void)close(events[i].data.fd);
        }
    }
}

/* ---- start ---- */

static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Opens the listener; connections inherit TCP_NODELAY from it. */
static int open_listener(struct ceiling *ceiling)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct epoll_event event = {.events = EPOLLIN};
    const int on = 1;

    ceiling->epoll = epoll_create1(EPOLL_CLOEXEC);
    ceiling->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    event.data.fd = ceiling->listener;
    if (ceiling->epoll < 0 || ceiling->listener < 0 ||
        setsockopt(ceiling->listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        bind(ceiling->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(ceiling->listener, SOMAXCONN) != 0 ||
        getsockname(ceiling->listener, (struct sockaddr *)&address, &length) != 0 ||
        epoll_ctl(ceiling->epoll, EPOLL_CTL_ADD, ceiling->listener, &event) != 0)
        return fail("can't listen");
    (void)printf("Listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return 0;
}

int main(void)
{
    struct ceiling *ceiling = calloc(1, sizeof *ceiling);

    if (!ceiling) {
        (void)fprintf(stderr, "ceiling: out of memory\n");
        return 1;
    }
    for (size_t at = 0; at < sizeof ceiling->answers; at += ANSWER_BYTES)
        memcpy(ceiling->answers + at, ANSWER, ANSWER_BYTES);
    raise_file_limit();
    if (open_listener(ceiling) == 0)
        (void)run(ceiling);
    free(ceiling);
    return 1;
}

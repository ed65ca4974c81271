/* SPDX-License-Identifier: MIT */
/* delay TARGET_PORT MICROSECONDS: a proxy that simulates a slow network on one machine.
 *
 * It forwards data in both directions, each piece MICROSECONDS after it arrived. So a round trip
 * takes twice that time. It prints "Listening on 127.0.0.1:PORT" and runs until it is killed. All
 * pieces wait equally long, so one queue holds them in the order in which they are due. Connecting
 * is not delayed.
 *
 * The end of a stream is a piece without bytes. A pair of connections is closed when both ends were
 * forwarded. Sockets block, so a program that does not read would stop all others. Servers and
 * their clients read. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define INPUT_BYTES 65536
#define EVENTS 64
#define NS_IN_S 1000000000ull

struct pair;

/* One of the two connections of a pair. */
struct side {
    struct pair *pair;
    struct side *other;
    int descriptor;
};

struct pair {
    struct side sides[2];
    int ends; /* stream ends forwarded so far */
};

struct piece {
    STAILQ_ENTRY(piece) next;
    uint64_t due_ns;
    struct side *to;
    size_t length; /* 0 for the end of the stream */
    char bytes[];
};

struct delay {
    int epoll;
    int listener;
    struct sockaddr_in target;
    uint64_t delay_ns;
    STAILQ_HEAD(, piece) queue;
    char input[INPUT_BYTES];
};

static uint64_t clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_IN_S + (uint64_t)now.tv_nsec;
}

static int fail(const char *what)
{
    (void)fprintf(stderr, "delay: %s: %s\n", what, strerror(errno));
    return -1;
}

/* ---- forwarding ---- */

static void close_pair(struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        if (pair->sides[i].descriptor >= 0)
            (void)close(pair->sides[i].descriptor);
    }
    free(pair);
}

static void deliver(struct piece *piece)
{
    struct side *to = piece->to;

    if (piece->length > 0) {
        (void)send(to->descriptor, piece->bytes, piece->length, MSG_NOSIGNAL);
    } else {
        (void)shutdown(to->descriptor, SHUT_WR);
        if (++to->pair->ends == 2)
            close_pair(to->pair);
    }
    free(piece);
}

static void deliver_due(struct delay *delay)
{
    uint64_t now_ns = clock_ns();
    struct piece *first;

    while ((first = STAILQ_FIRST(&delay->queue)) && first->due_ns <= now_ns) {
        STAILQ_REMOVE_HEAD(&delay->queue, next);
        deliver(first);
    }
}

static int take_in(struct delay *delay, struct side *from)
{
    ssize_t got = recv(from->descriptor, delay->input, INPUT_BYTES, MSG_DONTWAIT);
    struct piece *piece;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0) {
        got = 0;
        (void)epoll_ctl(delay->epoll, EPOLL_CTL_DEL, from->descriptor, NULL);
    }
    piece = malloc(sizeof *piece + (size_t)got);
    if (!piece)
        return fail("out of memory");
    piece->due_ns = clock_ns() + delay->delay_ns;
    piece->to = from->other;
    piece->length = (size_t)got;
    memcpy(piece->bytes, delay->input, (size_t)got);
    STAILQ_INSERT_TAIL(&delay->queue, piece, next);
    return 0;
}

/* ---- connections ---- */

static int watch(struct delay *delay, struct side *side)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = side};
    const int on = 1;

    (void)setsockopt(side->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return epoll_ctl(delay->epoll, EPOLL_CTL_ADD, side->descriptor, &event);
}

static int add_pair(struct delay *delay)
{
    struct pair *pair = calloc(1, sizeof *pair);

    if (!pair)
        return fail("out of memory");
    for (int i = 0; i < 2; i++)
        pair->sides[i] = (struct side){.pair = pair, .other = &pair->sides[!i], .descriptor = -1};
    pair->sides[0].descriptor = accept4(delay->listener, NULL, NULL, SOCK_CLOEXEC);
    pair->sides[1].descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (pair->sides[0].descriptor < 0 || pair->sides[1].descriptor < 0 ||
        connect(pair->sides[1].descriptor, (struct sockaddr *)&delay->target,
            sizeof delay->target) != 0 ||
        watch(delay, &pair->sides[0]) != 0 || watch(delay, &pair->sides[1]) != 0)
        close_pair(pair); /* the client sees its connection closed */
    return 0;
}

/* ---- the loop ---- */

static int wait_for_events(struct delay *delay, struct epoll_event *events)
{
    const struct piece *first = STAILQ_FIRST(&delay->queue);
    uint64_t now_ns = clock_ns();
    uint64_t left_ns = first && first->due_ns > now_ns ? first->due_ns - now_ns : 0;
    const struct timespec timeout = {
        .tv_sec = (time_t)(left_ns / NS_IN_S), .tv_nsec = (long)(left_ns % NS_IN_S)};

    return epoll_pwait2(delay->epoll, events, EVENTS, first ? &timeout : NULL, NULL);
}

static int run(struct delay *delay)
{
    struct epoll_event events[EVENTS];
    int result = 0;

    while (result == 0) {
        int count = wait_for_events(delay, events);

        if (count < 0 && errno != EINTR)
            return fail("epoll_pwait2");
        for (int i = 0; i < count && result == 0; i++)
            result = events[i].data.ptr ? take_in(delay, events[i].data.ptr) : add_pair(delay);
        deliver_due(delay);
    }
    return result;
}

static int open_listener(struct delay *delay)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    socklen_t length = sizeof address;

    delay->epoll = epoll_create1(EPOLL_CLOEXEC);
    delay->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (delay->epoll < 0 || delay->listener < 0 ||
        bind(delay->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(delay->listener, SOMAXCONN) != 0 ||
        getsockname(delay->listener, (struct sockaddr *)&address, &length) != 0 ||
        epoll_ctl(delay->epoll, EPOLL_CTL_ADD, delay->listener, &event) != 0)
        return fail("can't listen");
    (void)printf("Listening on 127.0.0.1:%u\n", ntohs(address.sin_port));
    (void)fflush(stdout);
    return 0;
}

static bool read_number(const char *text, unsigned long most, unsigned long *number)
{
    char *end;

    errno = 0;
    *number = strtoul(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *number <= most;
}

int main(int argc, char **argv)
{
    static struct delay delay;
    unsigned long port;
    unsigned long delay_us;

    if (argc != 3 || !read_number(argv[1], 65535, &port) ||
        !read_number(argv[2], 10000000, &delay_us)) {
        (void)fprintf(stderr, "Usage: delay TARGET_PORT MICROSECONDS\n");
        return 2;
    }
    delay.target = (struct sockaddr_in){.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    delay.delay_ns = delay_us * 1000ull;
    STAILQ_INIT(&delay.queue);
    if (open_listener(&delay) == 0)
        (void)run(&delay);
    return 1;
}

/* A proxy on its own thread: for each database that sits on another one, a port that leads to
 * some server of that one. From time to time a link fails: it delays what it carries, breaks off
 * in the middle of it, resets, or swallows everything from then on (new connections too). */
#include "histories.h"

#include "base/clock.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_PIPES 128

enum mood { GOOD, DELAY, BREAK, RESET, SWALLOW };

struct link {
    int listener;
    unsigned database; /* that is asked */
    enum mood mood;
    uint64_t until_ms;
};

/* One connection: both its ends. */
struct pipe {
    int ends[2]; /* -1: there is none */
    struct link *link;
    bool swallows;
    uint64_t wait_until_ms;
};

struct links {
    const struct servers *servers;
    uint64_t dice;
    bool fail;
    atomic_bool stop;
    bool runs;
    pthread_t thread;
    unsigned n;
    struct link list[HISTORY_MOST_DATABASES];
    struct pipe pipes[MOST_PIPES];
};

struct links *links_create(const struct servers *servers, uint64_t seed, bool fail)
{
    struct links *links = calloc(1, sizeof *links);

    if (!links)
        abort();
    links->servers = servers;
    links->dice = seed;
    links->fail = fail;
    for (size_t i = 0; i < MOST_PIPES; i++)
        links->pipes[i].ends[0] = links->pipes[i].ends[1] = -1;
    return links;
}

unsigned links_add(struct links *links, unsigned database)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 64) != 0 || getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        abort();
    links->list[links->n++] = (struct link){.listener = fd, .database = database};
    return ntohs(address.sin_port);
}

static void close_pipe(struct pipe *pipe, bool reset)
{
    const struct linger hard = {.l_onoff = 1};

    for (int i = 0; i < 2; i++) {
        if (reset)
            (void)setsockopt(pipe->ends[i], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        (void)close(pipe->ends[i]);
        pipe->ends[i] = -1;
    }
}

static void change_mood(struct links *links, struct link *link, uint64_t now_ms)
{
    uint64_t chance = dice(&links->dice, 100);

    if (!links->fail || now_ms < link->until_ms)
        return;
    link->mood = chance < 60   ? GOOD
                 : chance < 75 ? DELAY
                 : chance < 85 ? BREAK
                 : chance < 95 ? RESET
                               : SWALLOW;
    link->until_ms = now_ms + 20 + dice(&links->dice, 300);
}

static int reach(struct links *links, unsigned database)
{
    unsigned first = (unsigned)dice(&links->dice, links->servers->n);

    for (unsigned i = 0; i < links->servers->n; i++) {
        const struct server *server = &links->servers->list[(first + i) % links->servers->n];
        int fd = server->database == database ? servers_connect(server, 0) : -1;

        if (fd >= 0)
            return fd;
    }
    return -1;
}

static void take_in(struct links *links, struct link *link)
{
    const struct timeval patience = {.tv_sec = 5};
    int fd = accept4(link->listener, NULL, NULL, SOCK_CLOEXEC);
    int other = fd >= 0 ? reach(links, link->database) : -1;

    for (size_t i = 0; other >= 0 && i < MOST_PIPES; i++) {
        struct pipe *pipe = &links->pipes[i];

        if (pipe->ends[0] >= 0)
            continue;
        *pipe = (struct pipe){.ends = {fd, other}, .link = link, .swallows = link->mood == SWALLOW};
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        (void)setsockopt(other, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        return;
    }
    if (fd >= 0)
        (void)close(fd);
    if (other >= 0)
        (void)close(other);
}

/* Returns false if the pipe has to end. */
static bool carry(struct links *links, struct pipe *pipe, int from, uint64_t now_ms)
{
    char bytes[16384];
    ssize_t n = recv(pipe->ends[from], bytes, sizeof bytes, MSG_DONTWAIT);
    enum mood mood = pipe->link->mood;

    if (n <= 0)
        return false;
    if (mood == SWALLOW)
        pipe->swallows = true;
    if (pipe->swallows)
        return true;
    if (mood == BREAK && dice(&links->dice, 4) == 0) {
        (void)!send(pipe->ends[!from], bytes, (size_t)n / 2, MSG_NOSIGNAL);
        return false;
    }
    if (mood == DELAY)
        pipe->wait_until_ms = now_ms + dice(&links->dice, 40);
    return send(pipe->ends[!from], bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static void serve_pipe(struct links *links, struct pipe *pipe, const struct pollfd polls[2])
{
    uint64_t now_ms = clock_ms();

    for (int i = 0; i < 2; i++) {
        bool reset = pipe->link->mood == RESET && dice(&links->dice, 4) == 0;

        if (polls[i].fd < 0 || !polls[i].revents)
            continue;
        if (reset || !carry(links, pipe, i, now_ms)) {
            close_pipe(pipe, reset);
            return;
        }
    }
}

static void turn(struct links *links)
{
    struct pollfd polls[HISTORY_MOST_DATABASES + 2 * MOST_PIPES];
    struct pollfd *ends = polls + HISTORY_MOST_DATABASES;
    uint64_t now_ms = clock_ms();

    for (unsigned i = 0; i < HISTORY_MOST_DATABASES; i++) {
        polls[i] =
            (struct pollfd){.fd = i < links->n ? links->list[i].listener : -1, .events = POLLIN};
        if (i < links->n)
            change_mood(links, &links->list[i], now_ms);
    }
    for (size_t i = 0; i < 2 * MOST_PIPES; i++) {
        const struct pipe *pipe = &links->pipes[i / 2];

        ends[i] = (struct pollfd){
            .fd = now_ms >= pipe->wait_until_ms ? pipe->ends[i % 2] : -1, .events = POLLIN};
    }
    (void)poll(polls, HISTORY_MOST_DATABASES + 2 * MOST_PIPES, 5);
    for (size_t i = 0; i < MOST_PIPES; i++) {
        if (links->pipes[i].ends[0] >= 0)
            serve_pipe(links, &links->pipes[i], ends + 2 * i);
    }
    for (unsigned i = 0; i < links->n; i++) {
        if (polls[i].revents)
            take_in(links, &links->list[i]);
    }
}

static void *run(void *context)
{
    struct links *links = context;

    while (!atomic_load(&links->stop))
        turn(links);
    return NULL;
}

void links_start(struct links *links)
{
    if (links->n == 0)
        return;
    if (pthread_create(&links->thread, NULL, run, links) != 0)
        abort();
    links->runs = true;
}

void links_free(struct links *links)
{
    atomic_store(&links->stop, true);
    if (links->runs)
        (void)pthread_join(links->thread, NULL);
    for (size_t i = 0; i < MOST_PIPES; i++) {
        if (links->pipes[i].ends[0] >= 0)
            close_pipe(&links->pipes[i], false);
    }
    for (unsigned i = 0; i < links->n; i++)
        (void)close(links->list[i].listener);
    free(links);
}

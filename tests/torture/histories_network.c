/* SPDX-License-Identifier: MIT */
/* The network between the servers of a chain: a proxy with its own thread. For each database with
 * an upstream it has a port, a route, that leads to one of the upstream's servers. From time to
 * time a route has a fault: it delays data, breaks off in the middle of it, resets the connection,
 * or drops all data from then on, also on new connections. */
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

enum fault { NO_FAULT, DELAY, BREAK, RESET, DROP };

struct route {
    int listener;
    unsigned database; /* of the upstream */
    enum fault fault;
    uint64_t until_ms;
};

/* A proxied connection with both its ends. */
struct pipe {
    int ends[2]; /* -1: unused */
    struct route *route;
    bool drops;
    uint64_t wait_until_ms;
};

struct network {
    const struct servers *servers;
    uint64_t dice;
    bool fail;
    atomic_bool stop;
    bool runs;
    pthread_t thread;
    unsigned n;
    struct route list[HISTORY_MOST_DATABASES];
    struct pipe pipes[MOST_PIPES];
};

struct network *network_create(const struct servers *servers, uint64_t seed, bool fail)
{
    struct network *network = calloc(1, sizeof *network);

    if (!network)
        abort();
    network->servers = servers;
    network->dice = seed;
    network->fail = fail;
    for (size_t i = 0; i < MOST_PIPES; i++)
        network->pipes[i].ends[0] = network->pipes[i].ends[1] = -1;
    return network;
}

unsigned network_add(struct network *network, unsigned database)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, 64) != 0 || getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        abort();
    network->list[network->n++] = (struct route){.listener = fd, .database = database};
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

static void change_fault(struct network *network, struct route *route, uint64_t now_ms)
{
    uint64_t chance = dice(&network->dice, 100);

    if (!network->fail || now_ms < route->until_ms)
        return;
    route->fault = chance < 60   ? NO_FAULT
                   : chance < 75 ? DELAY
                   : chance < 85 ? BREAK
                   : chance < 95 ? RESET
                                 : DROP;
    route->until_ms = now_ms + 20 + dice(&network->dice, 300);
}

static int connect_to_server(struct network *network, unsigned database)
{
    unsigned first = (unsigned)dice(&network->dice, network->servers->n);

    for (unsigned i = 0; i < network->servers->n; i++) {
        const struct server *server = &network->servers->list[(first + i) % network->servers->n];
        int fd = server->database == database ? servers_connect(server, 0) : -1;

        if (fd >= 0)
            return fd;
    }
    return -1;
}

static void accept_connection(struct network *network, struct route *route)
{
    const struct timeval send_timeout = {.tv_sec = 5};
    int fd = accept4(route->listener, NULL, NULL, SOCK_CLOEXEC);
    int other = fd >= 0 ? connect_to_server(network, route->database) : -1;

    for (size_t i = 0; other >= 0 && i < MOST_PIPES; i++) {
        struct pipe *pipe = &network->pipes[i];

        if (pipe->ends[0] >= 0)
            continue;
        *pipe = (struct pipe){.ends = {fd, other}, .route = route, .drops = route->fault == DROP};
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send_timeout, sizeof send_timeout);
        (void)setsockopt(other, SOL_SOCKET, SO_SNDTIMEO, &send_timeout, sizeof send_timeout);
        return;
    }
    if (fd >= 0)
        (void)close(fd);
    if (other >= 0)
        (void)close(other);
}

/* Forwards data from one end; returns false if the pipe has to be closed. */
static bool forward(struct network *network, struct pipe *pipe, int from, uint64_t now_ms)
{
    char bytes[16384];
    ssize_t n = recv(pipe->ends[from], bytes, sizeof bytes, MSG_DONTWAIT);
    enum fault fault = pipe->route->fault;

    if (n <= 0)
        return false;
    if (fault == DROP)
        pipe->drops = true;
    if (pipe->drops)
        return true;
    if (fault == BREAK && dice(&network->dice, 4) == 0) {
        (void)!send(pipe->ends[!from], bytes, (size_t)n / 2, MSG_NOSIGNAL);
        return false;
    }
    if (fault == DELAY)
        pipe->wait_until_ms = now_ms + dice(&network->dice, 40);
    return send(pipe->ends[!from], bytes, (size_t)n, MSG_NOSIGNAL) == n;
}

static void serve_pipe(struct network *network, struct pipe *pipe, const struct pollfd polls[2])
{
    uint64_t now_ms = clock_ms();

    for (int i = 0; i < 2; i++) {
        bool reset = pipe->route->fault == RESET && dice(&network->dice, 4) == 0;

        if (polls[i].fd < 0 || !polls[i].revents)
            continue;
        if (reset || !forward(network, pipe, i, now_ms)) {
            close_pipe(pipe, reset);
            return;
        }
    }
}

static void turn(struct network *network)
{
    struct pollfd polls[HISTORY_MOST_DATABASES + 2 * MOST_PIPES];
    struct pollfd *ends = polls + HISTORY_MOST_DATABASES;
    uint64_t now_ms = clock_ms();

    for (unsigned i = 0; i < HISTORY_MOST_DATABASES; i++) {
        polls[i] = (struct pollfd){
            .fd = i < network->n ? network->list[i].listener : -1, .events = POLLIN};
        if (i < network->n)
            change_fault(network, &network->list[i], now_ms);
    }
    for (size_t i = 0; i < 2 * MOST_PIPES; i++) {
        const struct pipe *pipe = &network->pipes[i / 2];

        ends[i] = (struct pollfd){
            .fd = now_ms >= pipe->wait_until_ms ? pipe->ends[i % 2] : -1, .events = POLLIN};
    }
    (void)poll(polls, HISTORY_MOST_DATABASES + 2 * MOST_PIPES, 5);
    for (size_t i = 0; i < MOST_PIPES; i++) {
        if (network->pipes[i].ends[0] >= 0)
            serve_pipe(network, &network->pipes[i], ends + 2 * i);
    }
    for (unsigned i = 0; i < network->n; i++) {
        if (polls[i].revents)
            accept_connection(network, &network->list[i]);
    }
}

static void *run(void *context)
{
    struct network *network = context;

    while (!atomic_load(&network->stop))
        turn(network);
    return NULL;
}

void network_start(struct network *network)
{
    if (network->n == 0)
        return;
    if (pthread_create(&network->thread, NULL, run, network) != 0)
        abort();
    network->runs = true;
}

void network_free(struct network *network)
{
    atomic_store(&network->stop, true);
    if (network->runs)
        (void)pthread_join(network->thread, NULL);
    for (size_t i = 0; i < MOST_PIPES; i++) {
        if (network->pipes[i].ends[0] >= 0)
            close_pipe(&network->pipes[i], false);
    }
    for (unsigned i = 0; i < network->n; i++)
        (void)close(network->list[i].listener);
    free(network);
}

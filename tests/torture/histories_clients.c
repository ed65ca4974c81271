/* SPDX-License-Identifier: MIT */
/* Many connections with several requests under way on each. A request is recorded before it is
 * sent, and its answer after it was read, so that the history never claims an order that was not
 * observed. */
#include "histories.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "revision/revision.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_BYTES 65536

struct connection {
    int fd;
    unsigned server;
    uint32_t number;
    uint64_t try_at_ms;
    size_t under_way[MOST_DEPTH]; /* ring buffer of operations */
    unsigned first, n_under_way;
    struct buffer out;
    size_t n_in;
    char in[IN_BYTES];
};

struct clients {
    struct servers *servers;
    atomic_ullong *ticks;
    uint64_t dice;
    size_t n;
    struct connection *list;
    struct pollfd *polls;
    uint32_t n_numbers;
    uint64_t answers, errors, invalid;
};

struct clients *clients_create(
    struct servers *servers, unsigned per_server, atomic_ullong *ticks, uint64_t seed)
{
    struct clients *clients = calloc(1, sizeof *clients);

    if (!clients)
        abort();
    *clients = (struct clients){
        .servers = servers, .ticks = ticks, .dice = seed, .n = (size_t)per_server * servers->n};
    clients->list = calloc(clients->n, sizeof *clients->list);
    clients->polls = calloc(clients->n, sizeof *clients->polls);
    if (!clients->list || !clients->polls)
        abort();
    for (size_t i = 0; i < clients->n; i++) {
        clients->list[i].fd = -1;
        clients->list[i].server = (unsigned)(i % servers->n);
    }
    return clients;
}

static void lose(struct connection *connection)
{
    if (connection->fd >= 0)
        (void)close(connection->fd);
    connection->fd = -1;
    connection->n_under_way = 0;
    connection->n_in = 0;
    buffer_free(&connection->out);
    connection->try_at_ms = clock_ms() + 10;
}

void clients_free(struct clients *clients)
{
    for (size_t i = 0; i < clients->n; i++)
        lose(&clients->list[i]);
    free(clients->list);
    free(clients->polls);
    free(clients);
}

void clients_drop(struct clients *clients)
{
    for (size_t i = 0; i < clients->n; i++) {
        if (clients->list[i].n_under_way > 0)
            lose(&clients->list[i]);
    }
}

uint64_t clients_answers(const struct clients *clients)
{
    return clients->answers;
}

uint64_t clients_errors(const struct clients *clients)
{
    return clients->errors;
}

uint64_t clients_invalid(const struct clients *clients)
{
    return clients->invalid;
}

/* ---- questions ---- */

/* Chooses a floor near the greatest revision: the last one that was seen, or some more. */
static void choose_floor(
    struct clients *clients, struct round *round, struct history_operation *operation)
{
    uint32_t latest = round->latest[operation->package];
    uint64_t n_more = dice(&clients->dice, 4);
    char *floor = strdup(latest ? history_revision(round->history, latest) : "0");

    while (floor && n_more-- > 0) {
        char *greater = revision_increase(floor);

        free(floor);
        floor = greater;
    }
    if (!floor)
        abort();
    operation->kind = HISTORY_FLOOR;
    operation->history = false;
    operation->value = history_value(round->history, text_of(floor));
    free(floor);
}

static void choose(
    struct clients *clients, struct round *round, struct history_operation *operation)
{
    uint32_t package = (uint32_t)dice(&clients->dice, PACKAGES);
    uint32_t *n_checksums = &round->n_checksums[package];
    uint64_t kind = dice(&clients->dice, 100);

    operation->package = package;
    operation->history = dice(&clients->dice, 3) == 0;
    if (kind == 0 && !operation->read_only) {
        choose_floor(clients, round, operation);
    } else if (kind < 8) {
        operation->kind = HISTORY_TEST_PACKAGE;
    } else if (kind < 20) {
        operation->kind = HISTORY_MAX_PACKAGE_PR;
    } else {
        operation->kind = kind < 40 ? HISTORY_TEST_PR : HISTORY_GET_PR;
        if (*n_checksums == 0 || dice(&clients->dice, 5) == 0) {
            operation->checksum = (*n_checksums)++;
        } else { /* or, as likely, a recent one, whose answer may be missing */
            uint32_t recent = *n_checksums < 12 ? *n_checksums : 12;

            operation->checksum = dice(&clients->dice, 2)
                                      ? (uint32_t)dice(&clients->dice, *n_checksums)
                                      : *n_checksums - 1 - (uint32_t)dice(&clients->dice, recent);
        }
    }
}

static void write_floor(struct connection *connection, const struct round *round,
    const struct history_operation *operation)
{
    const char *value = history_revision(round->history, operation->value);
    char text[512];
    int length;

    length = snprintf(text, sizeof text,
        "{\"import-one\": {\"version\": \"%s-%u\", \"pkgarch\": \"all\", "
        "\"checksum\": \"floor:%s\", \"value\": \"%s\"}}\n",
        round->name, operation->package, value, value);
    if (length >= (int)sizeof text)
        abort();
    buffer_append(&connection->out, text, (size_t)length);
}

static void write_request(struct connection *connection, const struct round *round,
    const struct history_operation *operation)
{
    static const char *const names[] = {[HISTORY_GET_PR] = "get-pr",
        [HISTORY_TEST_PR] = "test-pr",
        [HISTORY_MAX_PACKAGE_PR] = "max-package-pr",
        [HISTORY_TEST_PACKAGE] = "test-package"};
    char text[256];
    int length;

    if (operation->kind == HISTORY_FLOOR) {
        write_floor(connection, round, operation);
        return;
    }
    length = snprintf(text, sizeof text,
        "{\"%s\": {\"version\": \"%s-%u\", \"pkgarch\": \"all\", \"checksum\": \"c%u\", "
        "\"history\": %s}}\n",
        names[operation->kind], round->name, operation->package, operation->checksum,
        operation->history ? "true" : "false");
    buffer_append(&connection->out, text, (size_t)length);
}

static void ask(struct clients *clients, struct connection *connection, struct round *round)
{
    const struct server *server = &clients->servers->list[connection->server];
    struct history_operation operation = {.answered = HISTORY_NEVER,
        .connection = connection->number,
        .database = (uint8_t)server->database,
        .server = (uint8_t)connection->server,
        .read_only = server->read_only};
    unsigned last = (connection->first + connection->n_under_way++) % MOST_DEPTH;

    choose(clients, round, &operation);
    operation.sent = atomic_fetch_add(clients->ticks, 1) + 1;
    connection->under_way[last] = history_add(round->history, &operation);
    write_request(connection, round, &operation);
    round->left--;
}

/* ---- answers ---- */

static bool read_value(
    const char *line, struct history *history, struct history_operation *operation)
{
    const char *value = line + strlen("{\"value\":");
    const char *end;
    uint32_t number;

    value += strspn(value, " ");
    if (strncmp(value, "null", 4) == 0)
        return true;
    if (*value == 't' || *value == 'f') {
        operation->found = *value == 't';
        return operation->kind == HISTORY_TEST_PACKAGE;
    }
    end = *value == '"' ? strchr(value + 1, '"') : NULL;
    if (!end)
        return false;
    number = history_value(
        history, (struct text){.bytes = value + 1, .length = (size_t)(end - value - 1)});
    if (operation->kind == HISTORY_FLOOR && number != operation->value)
        return false;
    operation->value = number;
    return true;
}

static void take_answer(
    struct clients *clients, struct connection *connection, struct round *round, const char *line)
{
    struct history_operation *operation;

    if (connection->n_under_way == 0) {
        clients->invalid++;
        return;
    }
    operation = history_at(round->history, connection->under_way[connection->first]);
    connection->first = (connection->first + 1) % MOST_DEPTH;
    connection->n_under_way--;
    if (strncmp(line, "{\"value\":", 9) == 0 && read_value(line, round->history, operation)) {
        operation->answered = atomic_fetch_add(clients->ticks, 1) + 1;
        clients->answers++;
        if (operation->value)
            round->latest[operation->package] = operation->value;
    } else if (strncmp(line, "{\"invoke-error\":", 16) == 0) {
        clients->errors++;
    } else {
        clients->invalid++;
        fprintf(stderr, "invalid answer: %.200s\n", line);
    }
}

static void take_lines(struct clients *clients, struct connection *connection, struct round *round)
{
    char *line = connection->in;
    char *limit = connection->in + connection->n_in;
    char *end;

    while ((end = memchr(line, '\n', (size_t)(limit - line)))) {
        *end = '\0';
        take_answer(clients, connection, round, line);
        line = end + 1;
    }
    connection->n_in = (size_t)(limit - line);
    memmove(connection->in, line, connection->n_in);
}

static void receive(struct clients *clients, struct connection *connection, struct round *round)
{
    ssize_t n = recv(connection->fd, connection->in + connection->n_in,
        sizeof connection->in - connection->n_in, MSG_DONTWAIT);

    if (n > 0) {
        connection->n_in += (size_t)n;
        take_lines(clients, connection, round);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        lose(connection);
    }
}

/* ---- the loop ---- */

static void open_connection(struct clients *clients, struct connection *connection)
{
    static const char handshake[] = "PRSERVICE 1.0\nneeds-headers: false\n\n";

    connection->try_at_ms = clock_ms() + 10;
    connection->fd = servers_connect(&clients->servers->list[connection->server], SOCK_NONBLOCK);
    if (connection->fd < 0)
        return;
    connection->number = ++clients->n_numbers;
    connection->first = 0;
    buffer_append(&connection->out, handshake, strlen(handshake));
}

static void send_more(struct connection *connection)
{
    ssize_t n;

    if (connection->out.length == 0)
        return;
    n = send(
        connection->fd, connection->out.bytes, connection->out.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        connection->out.length -= (size_t)n;
        memmove(connection->out.bytes, connection->out.bytes + n, connection->out.length);
    } else if (errno != EAGAIN && errno != EINTR) {
        lose(connection);
    }
}

static void prepare(struct clients *clients, struct connection *connection, struct round *round)
{
    unsigned wanted = 1 + (unsigned)dice(&clients->dice, round->depth);

    if (connection->fd < 0 && clock_ms() >= connection->try_at_ms)
        open_connection(clients, connection);
    if (connection->fd < 0)
        return;
    while (connection->n_under_way < wanted && round->left > 0)
        ask(clients, connection, round);
    send_more(connection);
}

bool clients_turn(struct clients *clients, struct round *round)
{
    bool busy = round->left > 0;

    for (size_t i = 0; i < clients->n; i++) {
        struct connection *connection = &clients->list[i];

        prepare(clients, connection, round);
        busy = busy || connection->n_under_way > 0;
        clients->polls[i] = (struct pollfd){.fd = connection->fd,
            .events = (short)(POLLIN | (connection->out.length > 0 ? POLLOUT : 0))};
    }
    if (!busy || poll(clients->polls, clients->n, 10) <= 0)
        return busy;
    for (size_t i = 0; i < clients->n; i++) {
        if (clients->list[i].fd >= 0 && clients->polls[i].revents & (POLLIN | POLLHUP | POLLERR))
            receive(clients, &clients->list[i], round);
    }
    return true;
}

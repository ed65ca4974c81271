/* SPDX-License-Identifier: MIT */
#include "relay/relay_pool.h"

#include "base/clock.h"
#include "relay/relay_channel.h"
#include "wire/handshake.h"

#include <stdlib.h>

#define IDLE_MS 30000 /* until a connection beside the first one is closed */
#define MOST_SOLITARY 4
#define MOST_UNSENT_BYTES                                                     \
    ((size_t)256 * 1024)   /* on a connection; more waits where it is counted \
                            */
#define CANCELLED_MS 30000 /* without any answer, until those that have no client are ended */

/* ---- sending ---- */

/* Returns the connection for new requests: the first that is not slow, or else the one with the
 * fewest requests; NULL: none is ready. */
static struct relay_channel *relay_pool_choose(const struct relay_pool *pool)
{
    struct relay_channel *channel;
    struct relay_channel *best = NULL;

    TAILQ_FOREACH (channel, &pool->channels, entry) {
        if (!channel->is_ready || channel->is_solitary ||
            upstream_conn_unsent_bytes(channel->conn) > MOST_UNSENT_BYTES)
            continue;
        if (!channel->is_slow)
            return channel;
        if (!best || channel->n_slots < best->n_slots)
            best = channel;
    }
    return best;
}

/* Returns a connection for a suspect: one that carries nothing; NULL: there is none now. */
static struct relay_channel *relay_pool_choose_idle(const struct relay_pool *pool)
{
    struct relay_channel *channel;
    struct relay_channel *idle = NULL;
    unsigned n_solitary = 0;

    TAILQ_FOREACH (channel, &pool->channels, entry) {
        n_solitary += channel->is_solitary;
        if (channel->is_ready && channel->n_slots == 0 && !channel->is_solitary)
            idle = channel;
    }
    return n_solitary < MOST_SOLITARY ? idle : NULL;
}

/* Sends all unsent requests but suspects. */
static void relay_pool_write(struct relay_pool *pool, struct relay_channel *channel)
{
    struct buffer lines = BUFFER_EMPTY;
    struct relay_request *request;
    struct relay_request *next;

    for (request = TAILQ_FIRST(&pool->unsent);
         request && !buffer_failed(&lines) && lines.length <= MOST_UNSENT_BYTES; request = next) {
        next = TAILQ_NEXT(request, entry);
        if (request->is_suspect)
            continue;
        if (!relay_channel_push(channel, request, &lines))
            break; /* the timer tries again */
        TAILQ_REMOVE(&pool->unsent, request, entry);
    }
    relay_channel_write(channel, &lines);
}

/* Sends the first unsent request, a suspect, alone. */
static void relay_pool_write_suspect(struct relay_pool *pool, struct relay_channel *channel)
{
    struct buffer lines = BUFFER_EMPTY;
    struct relay_request *request = TAILQ_FIRST(&pool->unsent);

    if (relay_channel_push(channel, request, &lines)) {
        TAILQ_REMOVE(&pool->unsent, request, entry);
        channel->is_solitary = true;
    }
    relay_channel_write(channel, &lines);
}

/* Opens another connection, unless there are enough, or the last failure was a moment ago. */
static void relay_pool_grow(struct relay_pool *pool)
{
    if (pool->n_connecting == 0 && pool->n_channels < RELAY_MOST_CONNECTIONS &&
        clock_ms() >= pool->relay->retry_ms)
        relay_channel_open(pool);
}

void relay_pool_send(struct relay_pool *pool)
{
    struct relay_channel *channel;

    if (TAILQ_EMPTY(&pool->unsent))
        return;
    relay_watch(pool->relay);
    channel = relay_pool_choose(pool);
    if (channel && channel->is_slow)
        relay_pool_grow(pool);
    if (channel && (!channel->is_slow || pool->n_connecting == 0))
        relay_pool_write(pool, channel);
    channel = TAILQ_EMPTY(&pool->unsent) ? NULL : relay_pool_choose_idle(pool);
    if (channel && TAILQ_FIRST(&pool->unsent)->is_suspect)
        relay_pool_write_suspect(pool, channel);
    if (!TAILQ_EMPTY(&pool->unsent))
        relay_pool_grow(pool);
}

/* ---- time ---- */

/* Ends the requests whose clients have ended their input: they would keep their descriptors for as
 * long as the server is silent. */
static void relay_pool_end_cancelled(struct relay_channel *channel)
{
    struct relay_request_list ended = TAILQ_HEAD_INITIALIZER(ended);
    struct relay_request *request;
    struct relay_slot *slot;
    struct error error;

    STAILQ_FOREACH (slot, &channel->slots, entry) {
        request = slot->request;
        if (!request || !request->is_cancelled)
            continue;
        request->slot = NULL;
        slot->request = NULL;
        TAILQ_INSERT_TAIL(&ended, request, entry);
    }
    (void)error_set(&error, ERROR_UPSTREAM, "the server %s has been silent for %d s",
        channel->pool->relay->name, CANCELLED_MS / 1000);
    while ((request = TAILQ_FIRST(&ended))) {
        TAILQ_REMOVE(&ended, request, entry);
        relay_fail(request, &error);
    }
}

/* Finds out whether the answers of a connection are late. */
static void relay_pool_check_answers(struct relay_channel *channel, uint64_t silent_ms)
{
    if (silent_ms >= CANCELLED_MS) {
        relay_pool_end_cancelled(channel);
    } else if (silent_ms >= RELAY_VERY_SLOW_MS && !channel->has_moved_all) {
        channel->is_slow = channel->has_moved_all = true;
        relay_channel_move(channel, true);
    } else if (silent_ms >= RELAY_SLOW_MS && !channel->is_slow) {
        channel->is_slow = true;
        relay_channel_move(channel, false);
    }
}

/* Looks after a connection, which may be closed by that. */
static void relay_pool_check_channel(struct relay_channel *channel, uint64_t now_ms)
{
    const struct relay_channel *first = TAILQ_FIRST(&channel->pool->channels);
    const uint64_t silent_ms = now_ms > channel->heard_ms ? now_ms - channel->heard_ms : 0;

    if (!channel->is_ready)
        return;
    if (channel->n_slots > 0) {
        relay_pool_check_answers(channel, silent_ms);
    } else if (channel != first && silent_ms >= IDLE_MS) {
        upstream_conn_close(channel->conn);
        relay_channel_free(channel);
    }
}

/* Returns whether a request that has no connection gives up now. */
static bool relay_is_over(struct relay_request *request, uint64_t now_ms)
{
    struct relay *relay = request->pool->relay;

    if (!outage_is_on(&relay->outage) || request->is_probe)
        return false;
    if (!request->has_waited) {
        request->has_waited = true;
        outage_add_waiting(&relay->outage, 1);
    }
    return request->is_cancelled || relay->is_stopping ||
           now_ms >= relay_deadline_ms(relay, request->arrived_ms);
}

static void relay_pool_end_late(struct relay_pool *pool, uint64_t now_ms)
{
    struct relay_request_list late = TAILQ_HEAD_INITIALIZER(late);
    struct relay_request *request;
    struct relay_request *next;
    struct error error;

    for (request = TAILQ_FIRST(&pool->unsent); request; request = next) {
        next = TAILQ_NEXT(request, entry);
        if (!relay_is_over(request, now_ms))
            continue;
        TAILQ_REMOVE(&pool->unsent, request, entry);
        TAILQ_INSERT_TAIL(&late, request, entry);
    }
    while ((request = TAILQ_FIRST(&late))) {
        TAILQ_REMOVE(&late, request, entry);
        relay_describe_failure(pool->relay, &error);
        relay_fail(request, &error);
    }
}

void relay_pool_check(struct relay_pool *pool, uint64_t now_ms)
{
    struct relay_channel *channel;
    struct relay_channel *next;

    for (channel = TAILQ_FIRST(&pool->channels); channel; channel = next) {
        next = TAILQ_NEXT(channel, entry);
        relay_pool_check_channel(channel, now_ms);
    }
    relay_pool_end_late(pool, now_ms);
    relay_pool_send(pool);
}

bool relay_pool_is_busy(const struct relay_pool *pool)
{
    const struct relay_channel *channel;
    bool is_busy = !TAILQ_EMPTY(&pool->unsent) || pool->n_channels > 1;

    TAILQ_FOREACH (channel, &pool->channels, entry)
        is_busy = is_busy || channel->n_slots > 0;
    return is_busy;
}

/* ---- requests ---- */

void relay_ask(struct relay_pool *pool, struct relay_request *request)
{
    request->pool = pool;
    request->slot = NULL;
    request->was_moved = request->has_waited = request->is_repeated = false;
    request->is_suspect = false;
    request->n_breaks = 0;
    request->n_answered = pool->relay->n_answers;
    TAILQ_INSERT_TAIL(&pool->unsent, request, entry);
    if (!request->is_probe)
        metric_count(&pool->relay->metrics.n_waiting, 1);
    relay_hurry(pool->relay);
    relay_watch(pool->relay);
}

void relay_cancel(struct relay_request *request)
{
    if (request->slot)
        request->slot->request = NULL;
    else
        TAILQ_REMOVE(&request->pool->unsent, request, entry);
    if (!request->is_probe)
        metric_count(&request->pool->relay->metrics.n_waiting, -1);
}

/* ---- start and end ---- */

struct relay_pool *relay_pool_create(
    struct relay *relay, const char *headers, const char *more_headers)
{
    struct relay_pool *pool = calloc(1, sizeof *pool);

    if (!pool)
        return NULL;
    pool->relay = relay;
    TAILQ_INIT(&pool->unsent);
    TAILQ_INIT(&pool->channels);
    buffer_append(&pool->opening, HANDSHAKE_CLIENT, strlen(HANDSHAKE_CLIENT) - 1);
    buffer_append_string(&pool->opening, headers);
    buffer_append_string(&pool->opening, more_headers);
    buffer_append(&pool->opening, "\n", 2);
    if (buffer_failed(&pool->opening)) {
        buffer_free(&pool->opening);
        free(pool);
        return NULL;
    }
    pool->target = relay->target;
    pool->target.opening = pool->opening.bytes;
    TAILQ_INSERT_TAIL(&relay->pools, pool, entry);
    return pool;
}

void relay_pool_end(struct relay_pool *pool, const struct error *error)
{
    struct relay_channel *channel;
    struct relay_request *request;

    while ((channel = TAILQ_FIRST(&pool->channels))) {
        struct relay_request_list ended = TAILQ_HEAD_INITIALIZER(ended);

        upstream_conn_close(channel->conn);
        relay_channel_return(channel, &ended);
        TAILQ_CONCAT(&pool->unsent, &ended, entry);
        relay_channel_free(channel);
    }
    while ((request = TAILQ_FIRST(&pool->unsent))) {
        TAILQ_REMOVE(&pool->unsent, request, entry);
        relay_fail(request, error);
    }
}

void relay_pool_close(struct relay_pool *pool)
{
    pool->is_closed = true;
}

void relay_pool_free(struct relay_pool *pool)
{
    struct error none;

    (void)error_set(&none, ERROR_UPSTREAM, "the client is gone");
    relay_pool_end(pool, &none);
    TAILQ_REMOVE(&pool->relay->pools, pool, entry);
    buffer_free(&pool->opening);
    free(pool);
}

struct relay *relay_of(const struct relay_pool *pool)
{
    return pool->relay;
}

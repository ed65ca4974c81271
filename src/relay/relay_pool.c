/* SPDX-License-Identifier: MIT */
#include "relay/relay_pool.h"

#include "base/clock.h"
#include "wire/codec.h"
#include "wire/handshake.h"

#include <stdlib.h>

#define IDLE_MS 30000 /* until a connection beside the first one is closed */
#define MOST_SOLITARY 4
#define MOST_BREAKS 5 /* of connections, by one request */

/* A place in the order of answers. */
struct relay_slot {
    STAILQ_ENTRY(relay_slot) entry;
    struct relay_request *request; /* NULL: nobody waits for the answer any more */
    uint64_t sent_us;
};

STAILQ_HEAD(relay_slot_list, relay_slot);

struct relay_channel {
    TAILQ_ENTRY(relay_channel) entry;
    struct relay_pool *pool;
    struct upstream_conn *conn;
    bool is_ready;
    bool is_slow;
    bool is_solitary; /* it carries a suspect alone */
    bool has_answered;
    struct relay_slot_list slots; /* in the order of sending */
    unsigned n_slots;
    uint64_t heard_ms; /* the last answer, or the first request after an idle time */
};

/* ---- slots ---- */

static struct relay_slot *relay_channel_pop(struct relay_channel *channel)
{
    struct relay_slot *slot = STAILQ_FIRST(&channel->slots);

    if (!slot)
        return NULL;
    STAILQ_REMOVE_HEAD(&channel->slots, entry);
    channel->n_slots--;
    if (slot->request)
        slot->request->slot = NULL;
    return slot;
}

/* Puts a request on the channel, and its message into lines. Returns false without memory. */
static bool relay_channel_push(
    struct relay_channel *channel, struct relay_request *request, struct buffer *lines)
{
    struct relay_slot *slot = calloc(1, sizeof *slot);

    if (!slot)
        return false;
    if (channel->n_slots == 0)
        channel->heard_ms = clock_ms();
    slot->request = request;
    slot->sent_us = clock_us();
    STAILQ_INSERT_TAIL(&channel->slots, slot, entry);
    channel->n_slots++;
    request->slot = slot;
    codec_write_message(lines, request->request);
    return true;
}

static void relay_end(
    struct relay_request *request, int result, struct text answer, const struct error *error)
{
    struct relay_metrics *metrics = &request->pool->relay->metrics;

    metric_count(&metrics->n_waiting, -1);
    metric_add(result == 0 ? &metrics->n_answered : &metrics->n_failed, 1);
    request->done(request, result, answer, error);
}

static void relay_fail(struct relay_request *request, const struct error *error)
{
    relay_end(request, ERROR_UPSTREAM, text_of(""), error);
}

/* ---- the end of a channel ---- */

static void relay_channel_free(struct relay_channel *channel)
{
    struct relay_pool *pool = channel->pool;

    TAILQ_REMOVE(&pool->channels, channel, entry);
    pool->n_channels--;
    pool->n_connecting -= !channel->is_ready;
    metric_count(&pool->relay->metrics.n_connections, -1);
    free(channel);
}

/* Suspects the first request of a channel that broke. Returns whether it has done that too often.
 */
static bool relay_suspect(struct relay_request *request)
{
    const uint64_t n_answered = metric_get(&request->pool->relay->metrics.n_answered);

    request->is_suspect = true;
    request->n_breaks += n_answered > request->n_answered;
    request->n_answered = n_answered;
    return request->n_breaks >= MOST_BREAKS;
}

/* Makes the requests of a channel unsent again, in their order and before the others. One that has
 * broken too many connections is moved to ended. */
static void relay_channel_return(struct relay_channel *channel, struct relay_request_list *ended)
{
    struct relay_pool *pool = channel->pool;
    struct relay_request_list returned = TAILQ_HEAD_INITIALIZER(returned);
    struct relay_slot *slot;
    bool is_first = true;

    while ((slot = relay_channel_pop(channel))) {
        struct relay_request *request = slot->request;

        free(slot);
        if (!request)
            continue;
        metric_add(&pool->relay->metrics.n_repeated, 1);
        request->was_moved = false;
        if (is_first && relay_suspect(request))
            TAILQ_INSERT_TAIL(ended, request, entry);
        else
            TAILQ_INSERT_TAIL(&returned, request, entry);
        is_first = false;
    }
    TAILQ_CONCAT(&returned, &pool->unsent, entry);
    TAILQ_CONCAT(&pool->unsent, &returned, entry);
}

/* Returns whether another connection brings answers. */
static bool relay_pool_works(const struct relay_pool *pool)
{
    const struct relay_channel *channel;
    bool works = false;

    TAILQ_FOREACH (channel, &pool->channels, entry)
        works = works || channel->has_answered;
    return works;
}

static void relay_channel_on_failed(
    void *context, enum upstream_failure failure, const char *reason)
{
    struct relay_channel *channel = context;
    struct relay_pool *pool = channel->pool;
    struct relay *relay = pool->relay;
    struct relay_request_list ended = TAILQ_HEAD_INITIALIZER(ended);
    const bool was_useful = channel->has_answered;
    const bool was_needed = !channel->is_ready || channel->n_slots > 0;
    const bool was_ready = channel->is_ready;
    struct relay_request *request;
    struct error error;

    (void)failure;
    (void)error_set(&error, ERROR_UPSTREAM,
        "the server %s breaks the connection whenever it gets this request: %.200s", relay->name,
        reason);
    if (channel->is_ready && was_needed)
        log_often(
            relay->log, LOG_INFO, "The connection to the server %s ended: %s", relay->name, reason);
    relay_channel_return(channel, &ended);
    relay_channel_free(channel);
    relay->n_useless += was_ready && was_needed && !was_useful;
    if (!was_useful && was_needed && relay_pool_works(pool))
        relay_pause(relay);
    else if (!was_useful && was_needed)
        relay_be_away(relay, reason);
    while ((request = TAILQ_FIRST(&ended))) {
        TAILQ_REMOVE(&ended, request, entry);
        relay_fail(request, &error);
    }
    relay_watch(relay);
}

/* ---- answers ---- */

static void relay_channel_on_message(void *context, const struct text *message)
{
    struct relay_channel *channel = context;
    struct relay *relay = channel->pool->relay;
    struct relay_slot *slot = relay_channel_pop(channel);
    struct relay_request *request = slot ? slot->request : NULL;
    struct error error;

    channel->heard_ms = clock_ms();
    channel->is_slow = channel->is_solitary = false;
    channel->has_answered = true;
    relay_be_answered(relay);
    if (slot)
        metric_histogram_add(
            &relay->metrics.round_trip_us, METRIC_DURATION, clock_us() - slot->sent_us);
    free(slot);
    if (request && message) {
        relay_end(request, 0, *message, NULL);
    } else if (request) {
        (void)error_set(
            &error, ERROR_UPSTREAM, "the answer of the server %s is too long", relay->name);
        relay_fail(request, &error);
    }
}

/* ---- opening ---- */

static void relay_channel_on_opened(void *context)
{
    struct relay_channel *channel = context;
    struct relay_pool *pool = channel->pool;

    channel->is_ready = true;
    pool->n_connecting--;
    relay_be_connected(pool->relay);
    relay_pool_send(pool);
}

static void relay_pool_connect(struct relay_pool *pool)
{
    struct relay_channel *channel = calloc(1, sizeof *channel);
    const struct upstream_conn_events events = {
        .opened = relay_channel_on_opened,
        .message = relay_channel_on_message,
        .failed = relay_channel_on_failed,
        .context = channel,
    };
    struct error error;

    if (!channel) {
        relay_be_away(pool->relay, "out of memory");
        return;
    }
    channel->pool = pool;
    STAILQ_INIT(&channel->slots);
    TAILQ_INSERT_TAIL(&pool->channels, channel, entry);
    pool->n_channels++;
    pool->n_connecting++;
    metric_count(&pool->relay->metrics.n_connections, 1);
    pool->relay->attempted_ms = clock_ms();
    if (upstream_conn_open(&channel->conn, pool->relay->loop, &pool->target, RELAY_CONNECT_MS,
            &events, &error) != 0) {
        relay_channel_free(channel);
        relay_be_away(pool->relay, error.text);
    }
}

/* ---- sending ---- */

/* Returns the connection for new requests: the first that is not slow, or else the one with the
 * fewest requests; NULL: none is ready. */
static struct relay_channel *relay_pool_choose(const struct relay_pool *pool)
{
    struct relay_channel *channel;
    struct relay_channel *best = NULL;

    TAILQ_FOREACH (channel, &pool->channels, entry) {
        if (!channel->is_ready || channel->is_solitary)
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

static void relay_channel_write(struct relay_channel *channel, struct buffer *lines)
{
    struct error error;

    if (lines->length == 0 && !buffer_failed(lines))
        return;
    if (upstream_conn_send(channel->conn, lines) == 0)
        return;
    (void)error_set_memory(&error);
    upstream_conn_close(channel->conn);
    relay_channel_on_failed(channel, UPSTREAM_BROKEN, error.text);
}

/* Sends all unsent requests but suspects. */
static void relay_pool_write(struct relay_pool *pool, struct relay_channel *channel)
{
    struct buffer lines = BUFFER_EMPTY;
    struct relay_request *request;
    struct relay_request *next;

    for (request = TAILQ_FIRST(&pool->unsent); request && !buffer_failed(&lines); request = next) {
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
        relay_pool_connect(pool);
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

/* Sends the requests behind the first one over another connection, each of them once. */
static void relay_channel_move(struct relay_channel *channel)
{
    struct relay_pool *pool = channel->pool;
    struct relay_request_list moved = TAILQ_HEAD_INITIALIZER(moved);
    struct relay_slot *slot = STAILQ_FIRST(&channel->slots);

    while ((slot = STAILQ_NEXT(slot, entry))) {
        struct relay_request *request = slot->request;

        if (!request || request->was_moved)
            continue;
        request->was_moved = true;
        request->slot = NULL;
        slot->request = NULL;
        TAILQ_INSERT_TAIL(&moved, request, entry);
    }
    TAILQ_CONCAT(&moved, &pool->unsent, entry);
    TAILQ_CONCAT(&pool->unsent, &moved, entry);
}

static void relay_channel_check(struct relay_channel *channel, uint64_t now_ms)
{
    const struct relay_channel *first = TAILQ_FIRST(&channel->pool->channels);

    if (!channel->is_ready)
        return;
    if (channel->n_slots > 0 && !channel->is_slow && now_ms - channel->heard_ms >= RELAY_SLOW_MS) {
        channel->is_slow = true;
        relay_channel_move(channel);
    } else if (channel->n_slots == 0 && channel != first && now_ms - channel->heard_ms >= IDLE_MS) {
        upstream_conn_close(channel->conn);
        relay_channel_free(channel);
    }
}

/* Returns whether a request that has no connection gives up now. */
static bool relay_is_over(struct relay_request *request, uint64_t now_ms)
{
    struct relay *relay = request->pool->relay;

    if (!outage_is_on(&relay->outage))
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
        relay_channel_check(channel, now_ms);
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
    request->was_moved = request->has_waited = false;
    request->is_suspect = false;
    request->n_breaks = 0;
    request->n_answered = metric_get(&pool->relay->metrics.n_answered);
    TAILQ_INSERT_TAIL(&pool->unsent, request, entry);
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

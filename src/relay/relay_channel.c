/* SPDX-License-Identifier: MIT */
#include "relay/relay_channel.h"

#include "base/clock.h"
#include "wire/codec.h"

#include <stdlib.h>

#define MOST_BREAKS 5 /* of connections, by one request */

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

bool relay_channel_push(
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
    if (request->is_repeated)
        metric_add(&channel->pool->relay->metrics.n_repeated, 1);
    request->is_repeated = false;
    codec_write_message(lines, request->request);
    return true;
}

static void relay_end(
    struct relay_request *request, int result, struct text answer, const struct error *error)
{
    struct relay_metrics *metrics = &request->pool->relay->metrics;

    if (!request->is_probe) {
        metric_count(&metrics->n_waiting, -1);
        metric_add(result == 0 ? &metrics->n_answered : &metrics->n_failed, 1);
    }
    request->done(request, result, answer, error);
}

void relay_fail(struct relay_request *request, const struct error *error)
{
    relay_end(request, ERROR_UPSTREAM, text_of(""), error);
}

/* ---- the end of a channel ---- */

void relay_channel_free(struct relay_channel *channel)
{
    struct relay_pool *pool = channel->pool;

    TAILQ_REMOVE(&pool->channels, channel, entry);
    pool->n_channels--;
    if (channel->is_ready)
        metric_count(&pool->relay->metrics.n_connections, -1);
    else
        pool->n_connecting--;
    free(channel);
}

/* Suspects the first request of a channel that broke. Returns whether it has done that too often.
 */
static bool relay_suspect(struct relay_request *request)
{
    const uint64_t n_answered = request->pool->relay->n_answers;

    request->is_suspect = true;
    request->n_breaks += n_answered > request->n_answered;
    request->n_answered = n_answered;
    return request->n_breaks >= MOST_BREAKS;
}

void relay_channel_return(struct relay_channel *channel, struct relay_request_list *ended)
{
    struct relay_pool *pool = channel->pool;
    struct relay_request_list returned = TAILQ_HEAD_INITIALIZER(returned);
    struct relay_slot *slot;
    bool is_first = true; /* also if nobody waits for it any more */

    while ((slot = relay_channel_pop(channel))) {
        struct relay_request *request = slot->request;

        free(slot);
        if (request) {
            request->was_moved = false;
            request->is_repeated = true;
            if (is_first && relay_suspect(request))
                TAILQ_INSERT_TAIL(ended, request, entry);
            else
                TAILQ_INSERT_TAIL(&returned, request, entry);
        }
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

static bool relay_pool_has_suspect(const struct relay_pool *pool)
{
    const struct relay_request *first = TAILQ_FIRST(&pool->unsent);

    return first && first->is_suspect;
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
    /* The answer to a probe also tells a request that breaks connections from a server that does.
     */
    if ((pool->n_channels == 0 && pool == relay->shared) || relay_pool_has_suspect(pool))
        relay_probe(relay);
    relay_watch(relay);
}

/* Ends a connection that sends what nobody has asked for. */
static void relay_channel_distrust(struct relay_channel *channel)
{
    upstream_conn_close(channel->conn);
    relay_channel_on_failed(channel, UPSTREAM_INVALID, "it answered without a request");
}

/* ---- answers ---- */

static void relay_channel_on_message(void *context, const struct text *message)
{
    struct relay_channel *channel = context;
    struct relay *relay = channel->pool->relay;
    struct relay_slot *slot = relay_channel_pop(channel);
    struct relay_request *request = slot ? slot->request : NULL;
    struct error error;

    if (!slot) {
        relay_channel_distrust(channel);
        return;
    }
    channel->heard_ms = clock_ms();
    channel->is_slow = channel->has_moved_all = channel->is_solitary = false;
    channel->has_answered = true;
    relay_be_answered(relay);
    relay->n_answers += message && !relay_is_refusal(*message);
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
    channel->heard_ms = clock_ms();
    pool->n_connecting--;
    metric_count(&pool->relay->metrics.n_connections, 1);
    relay_be_connected(pool->relay);
    relay_pool_send(pool);
}

void relay_channel_open(struct relay_pool *pool)
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
    pool->relay->attempted_ms = clock_ms();
    if (upstream_conn_open(&channel->conn, pool->relay->loop, &pool->target, RELAY_CONNECT_MS,
            &events, &error) != 0) {
        relay_channel_free(channel);
        relay_be_away(pool->relay, error.text);
    }
}

/* ---- sending ---- */

void relay_channel_write(struct relay_channel *channel, struct buffer *lines)
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

/* Returns whether a request stores something. Sent twice, a get-pr may get two revisions, which
 * looks like a content that came back. */
static bool relay_changes_something(const struct request *request)
{
    return request->kind == REQUEST_GET_PR || request->kind == REQUEST_IMPORT_ONE;
}

void relay_channel_move(struct relay_channel *channel, bool with_changes)
{
    struct relay_pool *pool = channel->pool;
    struct relay_request_list moved = TAILQ_HEAD_INITIALIZER(moved);
    struct relay_slot *slot = STAILQ_FIRST(&channel->slots);

    while ((slot = STAILQ_NEXT(slot, entry))) {
        struct relay_request *request = slot->request;

        if (!request || request->was_moved ||
            (!with_changes && relay_changes_something(request->request)))
            continue;
        request->was_moved = true;
        request->slot = NULL;
        slot->request = NULL;
        TAILQ_INSERT_TAIL(&moved, request, entry);
    }
    TAILQ_CONCAT(&moved, &pool->unsent, entry);
    TAILQ_CONCAT(&pool->unsent, &moved, entry);
}

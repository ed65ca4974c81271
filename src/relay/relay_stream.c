/* SPDX-License-Identifier: MIT */
#include "relay/relay_stream.h"

#include "base/clock.h"
#include "relay/relay_pool.h"
#include "wire/codec.h"

static void relay_stream_drop(struct relay_stream *stream)
{
    if (stream->is_connected)
        metric_count(&stream->pool->relay->metrics.n_connections, -1);
    stream->conn = NULL;
    stream->is_connected = false;
}

static void relay_stream_forget(struct relay_stream *stream)
{
    struct relay *relay = stream->pool->relay;

    relay_stream_drop(stream);
    TAILQ_REMOVE(&relay->streams, stream, entry);
    metric_count(&relay->metrics.n_waiting, -1);
    stream->pool = NULL;
}

static void relay_stream_fail(struct relay_stream *stream, const struct error *error)
{
    metric_add(&stream->pool->relay->metrics.n_failed, 1);
    relay_stream_forget(stream);
    stream->failed(stream, error);
}

/* ---- events of the connection ---- */

static void relay_stream_on_piece(void *context, struct text piece, bool is_last)
{
    struct relay_stream *stream = context;
    struct relay *relay = stream->pool->relay;

    relay_be_answered(relay);
    stream->has_begun = true;
    if (is_last) {
        upstream_conn_close(stream->conn);
        metric_add(&relay->metrics.n_answered, 1);
        relay_stream_forget(stream);
    }
    stream->piece(stream, piece, is_last);
}

static void relay_stream_on_failed(void *context, enum upstream_failure failure, const char *reason)
{
    struct relay_stream *stream = context;
    struct relay *relay = stream->pool->relay;
    struct error error;

    (void)failure;
    if (stream->is_connected && !stream->has_begun) {
        relay->n_useless++;
        metric_add(&relay->metrics.n_repeated, 1);
    }
    relay_stream_drop(stream);
    if (stream->has_begun) {
        (void)error_set(&error, ERROR_UPSTREAM, "the server %s broke off its answer: %.200s",
            relay->name, reason);
        relay_stream_fail(stream, &error);
        return;
    }
    relay_be_away(relay, reason); /* the timer tries again */
}

static void relay_stream_on_opened(void *context)
{
    struct relay_stream *stream = context;
    struct buffer lines = BUFFER_EMPTY;

    stream->is_connected = true;
    metric_count(&stream->pool->relay->metrics.n_connections, 1);
    relay_be_connected(stream->pool->relay);
    codec_write_message(&lines, stream->request);
    if (upstream_conn_send(stream->conn, &lines) == 0)
        return;
    upstream_conn_close(stream->conn);
    relay_stream_on_failed(stream, UPSTREAM_BROKEN, UPSTREAM_CONN_CANT_SEND);
}

static void relay_stream_connect(struct relay_stream *stream)
{
    struct relay *relay = stream->pool->relay;
    const struct upstream_conn_events events = {
        .opened = relay_stream_on_opened,
        .piece = relay_stream_on_piece,
        .failed = relay_stream_on_failed,
        .context = stream,
    };
    struct error error;

    relay->attempted_ms = clock_ms();
    if (upstream_conn_open(&stream->conn, relay->loop, &stream->pool->target, RELAY_CONNECT_MS,
            &events, &error) != 0)
        relay_be_away(relay, error.text);
}

/* ---- time ---- */

static bool relay_stream_is_over(struct relay_stream *stream, uint64_t now_ms)
{
    struct relay *relay = stream->pool->relay;

    if (stream->is_connected || !outage_is_on(&relay->outage))
        return false;
    if (!stream->has_waited) {
        stream->has_waited = true;
        outage_add_waiting(&relay->outage, 1);
    }
    return stream->is_cancelled || relay->is_stopping ||
           now_ms >= relay_deadline_ms(relay, stream->arrived_ms);
}

void relay_streams_check(struct relay *relay, uint64_t now_ms)
{
    struct relay_stream *stream;
    struct relay_stream *next;
    struct error error;

    for (stream = TAILQ_FIRST(&relay->streams); stream; stream = next) {
        next = TAILQ_NEXT(stream, entry);
        if (relay_stream_is_over(stream, now_ms)) {
            if (stream->conn)
                upstream_conn_close(stream->conn);
            relay_describe_failure(relay, &error);
            relay_stream_fail(stream, &error);
        } else if (!stream->conn && now_ms >= relay->retry_ms) {
            relay_stream_connect(stream);
        }
    }
}

/* ---- for the owner ---- */

void relay_stream_open(struct relay_pool *pool, struct relay_stream *stream)
{
    struct relay *relay = pool->relay;

    stream->pool = pool;
    stream->conn = NULL;
    stream->is_connected = stream->has_begun = stream->is_paused = stream->has_waited = false;
    TAILQ_INSERT_TAIL(&relay->streams, stream, entry);
    metric_count(&relay->metrics.n_waiting, 1);
    if (relay->is_refusing)
        return; /* relay_turn ends it */
    relay_hurry(relay);
    if (clock_ms() >= relay->retry_ms)
        relay_stream_connect(stream);
    relay_watch(relay);
}

void relay_stream_pause(struct relay_stream *stream)
{
    if (stream->pool && stream->conn && !stream->is_paused)
        upstream_conn_set_reading(stream->conn, false);
    stream->is_paused = true;
}

void relay_stream_resume(struct relay_stream *stream)
{
    if (stream->pool && stream->conn && stream->is_paused)
        upstream_conn_set_reading(stream->conn, true);
    stream->is_paused = false;
}

void relay_stream_close(struct relay_stream *stream)
{
    if (!stream->pool)
        return;
    upstream_conn_close(stream->conn);
    relay_stream_forget(stream);
}

void relay_streams_end(struct relay *relay, const struct error *error)
{
    struct relay_stream *stream;

    while ((stream = TAILQ_FIRST(&relay->streams))) {
        upstream_conn_close(stream->conn);
        relay_stream_fail(stream, error);
    }
}

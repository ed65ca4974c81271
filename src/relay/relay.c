/* SPDX-License-Identifier: MIT */
/* The central server as a whole: whether it is away, and until when requests wait for it. */
#include "relay/relay.h"

#include "base/clock.h"
#include "relay/relay_pool.h"
#include "relay/relay_stream.h"
#include "upstream/upstream_jitter.h"
#include "wire/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CHECK_MS 20
#define MIN_PAUSE_MS 50   /* from a failure to the next try, */
#define MAX_PAUSE_MS 1000 /* doubled up to this */

/* ---- away and back ---- */

void relay_hurry(struct relay *relay)
{
    if (relay->retry_ms > relay->attempted_ms + MIN_PAUSE_MS)
        relay->retry_ms = relay->attempted_ms + MIN_PAUSE_MS;
}

void relay_pause(struct relay *relay)
{
    relay->retry_ms = clock_ms() + upstream_jitter(relay->pause_ms);
    relay->pause_ms = relay->pause_ms < MAX_PAUSE_MS / 2 ? relay->pause_ms * 2 : MAX_PAUSE_MS;
}

void relay_be_away(struct relay *relay, const char *reason)
{
    char text[sizeof relay->outage.reason];

    (void)snprintf(text, sizeof text, "%s", reason);
    relay_pause(relay);
    if (!outage_is_on(&relay->outage))
        log_often(relay->log, LOG_WARNING, "The server %s is away: %s", relay->name, text);
    outage_continue(&relay->outage, clock_ms(), text);
    metric_set(&relay->metrics.is_up, 0);
    relay_watch(relay);
}

static void relay_be_back(struct relay *relay)
{
    log_often(relay->log, LOG_INFO, "Connected to the server %s again", relay->name);
    outage_end(&relay->outage, clock_ms());
    relay->pause_ms = MIN_PAUSE_MS;
    relay->retry_ms = 0;
    metric_set(&relay->metrics.is_up, 1);
}

/* Something that accepts connections and closes them, such as a proxy without a server, is not
 * back. */
void relay_be_connected(struct relay *relay)
{
    if (outage_is_on(&relay->outage) && relay->n_useless == 0)
        relay_be_back(relay);
}

void relay_be_answered(struct relay *relay)
{
    relay->pause_ms = MIN_PAUSE_MS;
    relay->n_useless = 0;
    if (outage_is_on(&relay->outage))
        relay_be_back(relay);
}

bool relay_is_refusal(struct text answer)
{
    return text_starts_with(answer, "{\"invoke-error\"");
}

static void relay_on_probed(
    struct relay_request *request, int result, struct text answer, const struct error *error)
{
    struct relay *relay = request->context;

    (void)error;
    relay->is_probing = false;
    if (result == 0 && relay_is_refusal(answer))
        log_often(relay->log, LOG_ERROR, "The server %s answers with an error: %.*s", relay->name,
            (int)(answer.length < 300 ? answer.length : 300), answer.bytes);
}

void relay_probe(struct relay *relay)
{
    static const struct request ping = {.kind = REQUEST_PING};

    if (relay->is_probing || relay->is_refusing || relay->is_stopping)
        return;
    relay->is_probing = true;
    relay->probe = (struct relay_request){.request = &ping,
        .arrived_ms = clock_ms(),
        .done = relay_on_probed,
        .context = relay,
        .is_probe = true};
    relay_ask(relay->shared, &relay->probe);
}

/* Time with a connection does not count. */
uint64_t relay_deadline_ms(const struct relay *relay, uint64_t arrived_ms)
{
    const uint64_t began_ms = relay->outage.began_ms;

    return outage_deadline_ms(&relay->outage, arrived_ms > began_ms ? arrived_ms : began_ms);
}

void relay_describe_failure(struct relay *relay, struct error *error)
{
    const bool is_counted = relay->outage.is_reported;

    (void)error_set(error, ERROR_UPSTREAM, "the server %s can't be reached: %.200s", relay->name,
        relay->outage.reason);
    (void)outage_fail(&relay->outage, clock_ms(), ERROR_UPSTREAM, error);
    if (!is_counted)
        log_often(relay->log, LOG_ERROR, "Refused a request: %s", error->text);
}

/* ---- time ---- */

static bool relay_is_busy(const struct relay *relay)
{
    const struct relay_pool *pool;
    bool is_busy = !TAILQ_EMPTY(&relay->streams);

    TAILQ_FOREACH (pool, &relay->pools, entry)
        is_busy = is_busy || relay_pool_is_busy(pool);
    return is_busy;
}

static void relay_on_timer(uv_timer_t *timer)
{
    struct relay *relay = timer->data;
    const uint64_t now_ms = clock_ms();
    struct relay_pool *pool;
    struct relay_pool *next;

    for (pool = TAILQ_FIRST(&relay->pools); pool; pool = next) {
        next = TAILQ_NEXT(pool, entry);
        relay_pool_check(pool, now_ms);
    }
    relay_streams_check(relay, now_ms);
    if (!relay_is_busy(relay))
        (void)uv_timer_stop(timer);
}

void relay_watch(struct relay *relay)
{
    if (!relay->is_refusing && !uv_is_active((uv_handle_t *)&relay->timer))
        (void)uv_timer_start(&relay->timer, relay_on_timer, CHECK_MS, CHECK_MS);
}

void relay_turn(struct relay *relay)
{
    struct relay_pool *pool;
    struct relay_pool *next;

    if (relay->is_refusing)
        relay_streams_end(relay, &relay->refusal);
    for (pool = TAILQ_FIRST(&relay->pools); pool; pool = next) {
        next = TAILQ_NEXT(pool, entry);
        if (pool->is_closed)
            relay_pool_free(pool);
        else if (relay->is_refusing)
            relay_pool_end(pool, &relay->refusal);
        else
            relay_pool_send(pool);
    }
}

void relay_refuse_waiting(struct relay *relay)
{
    relay->is_stopping = true;
    if (relay->is_probing)
        relay_cancel(&relay->probe);
    relay->is_probing = false;
    relay_watch(relay);
}

void relay_refuse(struct relay *relay, const char *reason)
{
    relay->is_refusing = true;
    (void)error_set(&relay->refusal, ERROR_UPSTREAM, "%s", reason);
    (void)uv_timer_stop(&relay->timer);
    relay_turn(relay);
}

/* ---- pools ---- */

const char *relay_name(const struct relay *relay)
{
    return relay->own_name;
}

struct relay_pool *relay_shared_pool(struct relay *relay)
{
    return relay->shared;
}

struct relay_pool *relay_pool_open(struct relay *relay, const char *headers)
{
    return relay_pool_create(relay, headers, relay->annotations.bytes);
}

/* ---- what it is like ---- */

const struct relay_metrics *relay_metrics(const struct relay *relay)
{
    return &relay->metrics;
}

bool relay_is_up(const struct relay *relay, char *reason, size_t size)
{
    if (outage_is_on(&relay->outage))
        (void)snprintf(
            reason, size, "the server %s is away: %s", relay->name, relay->outage.reason);
    return !outage_is_on(&relay->outage);
}

void relay_write_stats(const struct relay *relay, struct buffer *out)
{
    const struct relay_metrics *metrics = &relay->metrics;

    buffer_append_string(out, "{\"address\":");
    codec_write_string(out, text_of(relay->name));
    buffer_append_format(out,
        ",\"state\":\"%s\",\"connections\":%" PRIu64 ",\"waiting\":%" PRIu64
        ",\"answered\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"reason\":",
        outage_is_on(&relay->outage) ? "away" : "ready", metric_get(&metrics->n_connections),
        metric_get(&metrics->n_waiting), metric_get(&metrics->n_answered),
        metric_get(&metrics->n_failed), metric_get(&metrics->n_repeated));
    if (outage_is_on(&relay->outage))
        codec_write_string(out, text_of(relay->outage.reason));
    else
        buffer_append_string(out, "null");
    buffer_append_string(out, "}");
}

/* ---- start and end ---- */

static void relay_free(struct relay *relay)
{
    buffer_free(&relay->annotations);
    free(relay);
}

/* Chooses a name that no other relay has. */
static void relay_choose_name(struct relay *relay)
{
    uint64_t number = 0;

    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
        number = clock_us() ^ (uint64_t)getpid() << 32;
    (void)snprintf(relay->own_name, sizeof relay->own_name, "%016" PRIx64, number);
}

int relay_create(struct relay **created, uv_loop_t *loop, const struct relay_options *options,
    struct error *error)
{
    struct relay *relay = calloc(1, sizeof *relay);

    *created = NULL;
    if (!relay)
        return error_set_memory(error);
    relay->loop = loop;
    relay->log = options->log;
    relay->target = (struct upstream_target){.address = *options->address, .tls = options->tls};
    address_format(options->address, relay->name);
    (void)snprintf(
        relay->waiting, sizeof relay->waiting, "Requests for the server %s", relay->name);
    outage_init(&relay->outage, relay->waiting, options->patience_ms, options->log);
    relay->pause_ms = MIN_PAUSE_MS;
    metric_set(&relay->metrics.is_up, 1);
    TAILQ_INIT(&relay->pools);
    TAILQ_INIT(&relay->streams);
    relay_choose_name(relay);
    buffer_append_format(&relay->annotations, "x-prserv-relay: %s\n", relay->own_name);
    buffer_append(&relay->annotations, options->annotations, strlen(options->annotations) + 1);
    if (!buffer_failed(&relay->annotations))
        relay->shared = relay_pool_create(relay, relay->annotations.bytes, "");
    if (!relay->shared) {
        relay_free(relay);
        return error_set_memory(error);
    }
    (void)uv_timer_init(loop, &relay->timer);
    relay->timer.data = relay;
    relay_probe(relay);
    *created = relay;
    return 0;
}

static void relay_on_timer_closed(uv_handle_t *handle)
{
    relay_free(handle->data);
}

void relay_close(struct relay *relay)
{
    if (!relay)
        return;
    relay_pool_close(relay->shared);
    relay_turn(relay);
    uv_close((uv_handle_t *)&relay->timer, relay_on_timer_closed);
}

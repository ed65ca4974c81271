/* SPDX-License-Identifier: MIT */
/* A channel is a connection with its role and the requests that are under way on it. A request that
 * breaks its connection MAX_BREAKS times, the last times alone on it, is refused. */
#include "upstream/upstream_pool.h"

#include "base/clock.h"

#include <stdlib.h>

#define CONNECT_MS 4000 /* to resolve the name and connect */
#define CHECK_MS 4000   /* to answer the check of a new connection */
#define SILENT_MS 1000  /* without an answer, a connection holds up no more requests */
#define PING_MS 2000    /* between two probes, while connections are silent */
#define ATTEMPT_MS 1000 /* after which another attempt may be quicker */
#define MAX_ATTEMPTS 10
#define MAX_SLOW 16
#define MAX_SOLITARY 8
#define MAX_BREAKS 5
#define BREAK_PAUSE_MS 100 /* after a suspect broke its connection */

/* Servers may connect to their upstreams later than we do. So the first requests on a connection
 * each come with a check, those on a young connection often, and later ones now and then. */
#define FIRST_CHECKS 20
#define YOUNG_MS 10000
#define CHECK_YOUNG_MS 100
#define CHECK_AGAIN_MS 5000

struct upstream_channel {
    TAILQ_ENTRY(upstream_channel) entry;
    struct upstream_pool *pool;
    struct upstream_conn *conn;
    enum upstream_role role;
    bool is_open;  /* CHECKING or READY */
    bool is_ready; /* READY */
    struct upstream_request_list sent;
    uint64_t began_ms;   /* when it was opened, and when it became READY */
    uint64_t checked_ms; /* when the last check was sent */
    unsigned n_checks;   /* sent on it */
    uint64_t heard_ms;   /* when the last message came, or when the oldest request was sent */
};

/* ---- channels ---- */

static void upstream_channel_set_role(struct upstream_channel *channel, enum upstream_role role)
{
    struct upstream_pool *pool = channel->pool;

    if (pool->shared == channel)
        pool->shared = NULL;
    if (role == UPSTREAM_SHARED)
        pool->shared = channel;
    pool->n_in_role[channel->role]--;
    pool->n_in_role[role]++;
    channel->role = role;
}

/* Frees a channel, whose connection is closed or failed and whose requests are elsewhere. */
static void upstream_channel_free(struct upstream_channel *channel)
{
    struct upstream_pool *pool = channel->pool;

    upstream_channel_set_role(channel, UPSTREAM_PROBE);
    pool->n_in_role[UPSTREAM_PROBE]--;
    TAILQ_REMOVE(&pool->channels, channel, entry);
    pool->n_channels--;
    if (!channel->is_ready)
        pool->n_attempts--;
    upstream_requests_clear(&channel->sent);
    free(channel);
}

static void upstream_channel_close(struct upstream_channel *channel)
{
    upstream_conn_close(channel->conn);
    upstream_requests_requeue(&channel->pool->requests, &channel->sent, false);
    upstream_channel_free(channel);
}

/* Ends a channel that did not become READY. */
static void upstream_channel_fail_attempt(
    struct upstream_channel *channel, enum upstream_failure failure, const char *reason)
{
    struct upstream_pool *pool = channel->pool;
    const uint64_t began_ms = channel->began_ms;

    upstream_channel_close(channel);
    pool->events.attempt_failed(pool->events.context, failure, reason, began_ms);
}

/* ---- sending ---- */

/* Sends lines for requests that are in channel->sent. */
static void upstream_channel_write(
    struct upstream_channel *channel, bool was_idle, struct buffer *lines)
{
    struct upstream_pool *pool = channel->pool;

    if (was_idle)
        channel->heard_ms = clock_ms();
    if (upstream_conn_send(channel->conn, lines) == 0)
        return;
    upstream_channel_close(channel);
    pool->events.attempt_failed(
        pool->events.context, UPSTREAM_BROKEN, UPSTREAM_CONN_CANT_SEND, clock_ms());
}

static void upstream_channel_send_check(struct upstream_channel *channel)
{
    struct buffer lines = BUFFER_EMPTY;

    channel->checked_ms = clock_ms();
    if (upstream_requests_write_check(&channel->sent, &lines) != 0)
        lines.failed = true;
    upstream_channel_write(channel, true, &lines);
}

static bool upstream_channel_wants_check(const struct upstream_channel *channel, uint64_t now_ms)
{
    const unsigned pause_ms =
        now_ms - channel->began_ms < YOUNG_MS ? CHECK_YOUNG_MS : CHECK_AGAIN_MS;

    return channel->n_checks < FIRST_CHECKS || now_ms - channel->checked_ms >= pause_ms;
}

static void upstream_channel_send_shared(struct upstream_channel *channel)
{
    struct upstream_requests *requests = &channel->pool->requests;
    const bool was_idle = TAILQ_EMPTY(&channel->sent);
    const uint64_t now_ms = clock_ms();
    struct buffer lines = BUFFER_EMPTY;

    if (upstream_channel_wants_check(channel, now_ms)) {
        channel->checked_ms = now_ms;
        channel->n_checks++;
        if (upstream_requests_write_check(&channel->sent, &lines) != 0)
            lines.failed = true;
    }
    upstream_requests_write(requests, &channel->sent, &lines);
    upstream_channel_write(channel, was_idle, &lines);
}

static void upstream_channel_send_suspect(struct upstream_channel *channel)
{
    struct buffer lines = BUFFER_EMPTY;

    upstream_requests_write_suspect(&channel->pool->requests, &channel->sent, &lines);
    upstream_channel_write(channel, true, &lines);
}

/* An attempt that was to become the shared connection, and takes longer, becomes a probe. */
static void upstream_channel_become_shared(struct upstream_channel *channel)
{
    if (channel->pool->shared)
        upstream_channel_set_role(channel->pool->shared, UPSTREAM_PROBE);
    upstream_channel_set_role(channel, UPSTREAM_SHARED);
}

/* Gives a channel without open requests its next task, or closes it. */
static void upstream_channel_continue(struct upstream_channel *channel)
{
    struct upstream_pool *pool = channel->pool;

    if (channel->role == UPSTREAM_SHARED)
        return;
    if (channel->role == UPSTREAM_SOLITARY && upstream_requests_have_suspects(&pool->requests) &&
        clock_ms() >= pool->suspects_from_ms)
        upstream_channel_send_suspect(channel);
    else if (channel->role != UPSTREAM_SLOW && !(pool->shared && pool->shared->is_ready))
        upstream_channel_become_shared(channel);
    else /* a slow one may have answers on their way that nobody waits for */
        upstream_channel_close(channel);
}

/* ---- events of a connection ---- */

static void upstream_channel_on_opened(void *context)
{
    struct upstream_channel *channel = context;

    channel->is_open = true;
    upstream_channel_send_check(channel);
}

static void upstream_channel_on_checked(
    struct upstream_channel *channel, const struct codec_peer *peer)
{
    struct upstream_pool *pool = channel->pool;
    const bool is_new = !channel->is_ready;

    if (is_new) {
        channel->is_ready = true;
        channel->began_ms = clock_ms();
        pool->n_attempts--;
    }
    if (!pool->events.checked(pool->events.context, peer, is_new))
        upstream_pool_close(pool);
    else if (TAILQ_EMPTY(&channel->sent))
        upstream_channel_continue(channel);
}

/* Ends a connection that sent something invalid: the oldest request is refused, the others are
 * suspects. */
static void upstream_channel_on_invalid(
    struct upstream_channel *channel, struct upstream_question_list *ended, const char *reason)
{
    struct upstream_pool *pool = channel->pool;

    upstream_requests_break(&pool->requests, &channel->sent, MAX_BREAKS, ended);
    upstream_channel_close(channel);
    pool->events.refused(pool->events.context, ended, reason);
}

static void upstream_channel_on_message(void *context, const struct text *message)
{
    struct upstream_channel *channel = context;
    struct upstream_pool *pool = channel->pool;
    struct upstream_answer answer;
    const enum upstream_request_result result =
        upstream_requests_take_answer(&pool->requests, &channel->sent, message, &answer);

    channel->heard_ms = pool->alive_ms = clock_ms();
    switch (result) {
    case UPSTREAM_REQUEST_MORE:
        return;
    case UPSTREAM_REQUEST_CHECKED:
        upstream_channel_on_checked(channel, &answer.peer);
        return;
    case UPSTREAM_REQUEST_LOST:
        if (!channel->is_ready) {
            upstream_channel_fail_attempt(channel, UPSTREAM_INVALID, answer.error.text);
            return;
        }
        log_often(pool->log, LOG_WARNING, "The upstream %s: %s", pool->name, answer.error.text);
        upstream_channel_on_invalid(channel, &answer.ended, answer.error.text);
        return;
    case UPSTREAM_REQUEST_DONE:
        if (TAILQ_EMPTY(&channel->sent) || channel->role == UPSTREAM_SLOW)
            upstream_channel_continue(channel);
        pool->events.answered(pool->events.context, &answer.ended);
        return;
    case UPSTREAM_REQUEST_REFUSED:
        if (TAILQ_EMPTY(&channel->sent) || channel->role == UPSTREAM_SLOW)
            upstream_channel_continue(channel);
        pool->events.refused(pool->events.context, &answer.ended, answer.error.text);
        return;
    }
}

/* Continues without a connection that was READY. */
static void upstream_channel_on_broken(
    struct upstream_channel *channel, enum upstream_failure failure, const char *reason)
{
    struct upstream_pool *pool = channel->pool;
    struct upstream_question_list ended = TAILQ_HEAD_INITIALIZER(ended);
    const struct error *refusal = upstream_requests_refusal(&channel->sent);
    struct error why;
    bool is_alone = channel->role == UPSTREAM_SOLITARY || channel->role == UPSTREAM_SLOW;

    log_often(
        pool->log, LOG_INFO, "The connection to the upstream %s ended: %s", pool->name, reason);
    if (is_alone)
        pool->suspects_from_ms = clock_ms() + BREAK_PAUSE_MS;
    (void)error_set(&why, 0, "%s", is_alone && refusal ? refusal->text : reason);
    if (failure == UPSTREAM_INVALID || (is_alone && refusal))
        upstream_requests_end_first(&channel->sent, &ended);
    upstream_requests_break(&pool->requests, &channel->sent, MAX_BREAKS, &ended);
    upstream_channel_close(channel);
    pool->events.refused(pool->events.context, &ended, why.text);
}

static void upstream_channel_on_failed(
    void *context, enum upstream_failure failure, const char *reason)
{
    struct upstream_channel *channel = context;

    channel->conn = NULL;
    if (channel->is_ready)
        upstream_channel_on_broken(channel, failure, reason);
    else
        upstream_channel_fail_attempt(channel, failure, reason);
}

/* ---- opening ---- */

static void upstream_pool_open(struct upstream_pool *pool, enum upstream_role role)
{
    struct upstream_channel *channel = calloc(1, sizeof *channel);
    struct upstream_conn_events events = {
        .opened = upstream_channel_on_opened,
        .message = upstream_channel_on_message,
        .failed = upstream_channel_on_failed,
        .context = channel,
    };
    struct error error;

    pool->attempted_ms = clock_ms();
    if (!channel) {
        (void)error_set_memory(&error);
        pool->events.attempt_failed(
            pool->events.context, UPSTREAM_BROKEN, error.text, pool->attempted_ms);
        return;
    }
    channel->pool = pool;
    channel->began_ms = pool->attempted_ms;
    TAILQ_INIT(&channel->sent);
    TAILQ_INSERT_TAIL(&pool->channels, channel, entry);
    pool->n_channels++;
    pool->n_attempts++;
    pool->n_in_role[channel->role]++;
    upstream_channel_set_role(channel, role);
    if (upstream_conn_open(&channel->conn, pool->loop, pool->target, CONNECT_MS, &events, &error) !=
        0)
        upstream_channel_fail_attempt(channel, UPSTREAM_BROKEN, error.text);
}

bool upstream_pool_may_try(const struct upstream_pool *pool)
{
    return pool->n_attempts == 0 ||
           (pool->n_attempts < MAX_ATTEMPTS && clock_ms() - pool->attempted_ms >= ATTEMPT_MS);
}

void upstream_pool_try(struct upstream_pool *pool)
{
    if (upstream_pool_may_try(pool))
        upstream_pool_open(pool, pool->shared ? UPSTREAM_PROBE : UPSTREAM_SHARED);
}

/* Opens connections for suspects: one for each, as long as there are not too many. */
static void upstream_pool_open_solitary(struct upstream_pool *pool)
{
    unsigned n_wanted = upstream_requests_count(&pool->requests.suspects, MAX_SOLITARY);

    /* Those that are not READY yet will each carry a suspect. */
    for (unsigned n_coming = pool->n_attempts;
         n_coming < n_wanted && pool->n_in_role[UPSTREAM_SOLITARY] < MAX_SOLITARY; n_coming++)
        upstream_pool_open(pool, UPSTREAM_SOLITARY);
}

void upstream_pool_send(struct upstream_pool *pool, bool may_open)
{
    const bool has_unsent = upstream_requests_have_unsent(&pool->requests);

    if (has_unsent && pool->shared && pool->shared->is_ready)
        upstream_channel_send_shared(pool->shared);
    else if (has_unsent && !pool->shared && may_open)
        upstream_pool_open(pool, UPSTREAM_SHARED);
    if (upstream_requests_have_suspects(&pool->requests) && may_open &&
        clock_ms() >= pool->suspects_from_ms)
        upstream_pool_open_solitary(pool);
}

/* ---- silence ---- */

static bool upstream_channel_is_silent(const struct upstream_channel *channel, uint64_t now_ms)
{
    return channel->is_ready && !TAILQ_EMPTY(&channel->sent) &&
           now_ms - channel->heard_ms >= SILENT_MS;
}

/* Sees to it that a silent channel holds up no other requests. */
static void upstream_channel_stand_aside(struct upstream_channel *channel)
{
    struct upstream_pool *pool = channel->pool;

    if (channel->role != UPSTREAM_SLOW && pool->n_in_role[UPSTREAM_SLOW] < MAX_SLOW) {
        upstream_requests_requeue(&pool->requests, &channel->sent, true);
        upstream_channel_set_role(channel, UPSTREAM_SLOW);
    }
    if (channel->role != UPSTREAM_SHARED && !upstream_requests_have_questions(&channel->sent))
        upstream_channel_close(channel);
}

void upstream_pool_check(struct upstream_pool *pool)
{
    const uint64_t now_ms = clock_ms();
    struct upstream_channel *channel, *next;
    bool is_silent = false;

    for (channel = TAILQ_FIRST(&pool->channels); channel; channel = next) {
        next = TAILQ_NEXT(channel, entry);
        if (channel->is_open && !channel->is_ready && now_ms - channel->heard_ms >= CHECK_MS) {
            upstream_channel_fail_attempt(
                channel, UPSTREAM_BROKEN, "it accepts connections and does not answer");
            return; /* the event may have closed others */
        }
        if (upstream_channel_is_silent(channel, now_ms)) {
            is_silent = true;
            upstream_channel_stand_aside(channel);
        }
    }
    if (is_silent && now_ms - pool->alive_ms >= SILENT_MS && now_ms - pool->attempted_ms >= PING_MS)
        upstream_pool_try(pool);
}

bool upstream_pool_is_busy(const struct upstream_pool *pool)
{
    const struct upstream_channel *channel;

    TAILQ_FOREACH (channel, &pool->channels, entry) {
        if (!channel->is_ready || !TAILQ_EMPTY(&channel->sent))
            return true;
    }
    return false;
}

bool upstream_pool_is_alive(const struct upstream_pool *pool)
{
    return pool->shared && pool->shared->is_ready &&
           !upstream_channel_is_silent(pool->shared, clock_ms());
}

/* ---- all of them ---- */

void upstream_pool_take_if(struct upstream_pool *pool,
    bool (*wants)(struct upstream_question *question, void *context), void *context,
    struct upstream_question_list *ended)
{
    struct upstream_requests *requests = &pool->requests;
    struct upstream_channel *channel;

    TAILQ_FOREACH (channel, &pool->channels, entry)
        upstream_requests_take_if(requests, &channel->sent, wants, context, ended);
    upstream_requests_take_if(requests, &requests->suspects, wants, context, ended);
    upstream_requests_take_if(requests, &requests->unsent, wants, context, ended);
}

void upstream_pool_close_slow(struct upstream_pool *pool)
{
    struct upstream_channel *channel, *next;

    for (channel = TAILQ_FIRST(&pool->channels); channel; channel = next) {
        next = TAILQ_NEXT(channel, entry);
        if (channel->role == UPSTREAM_SLOW)
            upstream_channel_close(channel);
    }
}

void upstream_pool_close(struct upstream_pool *pool)
{
    struct upstream_channel *channel;

    while ((channel = TAILQ_FIRST(&pool->channels)))
        upstream_channel_close(channel);
}

/* ---- start and end ---- */

void upstream_pool_init(struct upstream_pool *pool, uv_loop_t *loop,
    const struct upstream_target *target, const char *name, struct log *log,
    const struct upstream_pool_events *events)
{
    *pool = (struct upstream_pool){
        .loop = loop, .target = target, .name = name, .log = log, .events = *events};
    upstream_requests_init(&pool->requests);
    TAILQ_INIT(&pool->channels);
}

void upstream_pool_deinit(struct upstream_pool *pool)
{
    upstream_requests_deinit(&pool->requests);
}

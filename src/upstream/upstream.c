/* SPDX-License-Identifier: MIT */
/* Until when questions wait, and when the upstream is tried again. upstream_pool.c has the
 * connections.
 *
 *                     an attempt failed, and no connection works
 *        REACHABLE ────────────────────────────────────────────────→ AWAY: an outage
 *            ↑                 an attempt succeeded                     │
 *            └──────────────────────────────────────────────────────────┘
 *
 * While REACHABLE, connections are opened as they are needed. While AWAY, the upstream is tried by
 * one attempt at a time: after pauses, and when a question comes, at most every KICK_MS. A question
 * ends at its deadline; before, at UPSTREAM_LONG_MS of the outage, it ends once with may_wait.
 *
 * An attempt whose check is invalid, or shows that the upstream is this server itself (a loop), is
 * not an outage: waiting would not help. All questions are refused, and the next one tries again.
 *
 * Refusals are delivered at the end of the turn, so that done never runs in upstream_ask. */
#include "upstream/upstream.h"

#include "base/clock.h"
#include "base/outage.h"
#include "upstream/upstream_jitter.h"
#include "upstream/upstream_pool.h"
#include "wire/codec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KICK_MS 50       /* between two attempts that questions cause */
#define MIN_PAUSE_MS 100 /* between other attempts: doubled each time, with jitter */
#define MAX_PAUSE_MS 500
#define CHECK_MS 100 /* between two looks at deadlines */

struct upstream {
    struct upstream_target target;
    char name[ADDRESS_TEXT_BYTES];
    char waiting[ADDRESS_TEXT_BYTES + 40]; /* what waits, for the outage */
    struct upstream_options options;
    struct log *log;
    struct outage outage;
    struct upstream_pool pool;
    struct instances instances; /* of the upstream and those above it, as it said last */
    bool is_loop;               /* this server's database is among them */
    bool found_loop;            /* just now: the questions that wait are refused */
    bool is_stale;              /* the upstream has only a standby, and refuses to answer */
    struct upstream_question_list ended; /* questions whose done is to be called */
    bool is_refusing;                    /* whether upstream_refuse was called */
    char reason[256];                    /* its reason */
    uint64_t n_questions;
    struct upstream_metrics metrics;
    uint64_t n_waiting; /* questions that were asked and have not ended */
    unsigned pause_ms;  /* length of the next pause between two attempts */
    uint64_t retry_ms;  /* no attempt before, except for a question */
    uv_timer_t check;   /* every CHECK_MS, while questions wait or connections are busy */
    uv_timer_t retry;   /* for the next attempt in an outage */
};

/* ---- the end of questions ---- */

static void upstream_end_question(
    struct upstream *upstream, struct upstream_question *question, const char *reason)
{
    if (!question->may_wait)
        metric_add(&upstream->metrics.n_failed, 1);
    question->result = error_set(&question->error, ERROR_UPSTREAM,
        "the upstream %s can't be asked: %s", upstream->name, reason);
    TAILQ_INSERT_TAIL(&upstream->ended, question, entry);
}

/* Gives the questions of the list this error; they are delivered at the end of the turn. */
static void upstream_refuse_questions(
    struct upstream *upstream, struct upstream_question_list *questions, const char *reason)
{
    struct upstream_question *question;

    while ((question = TAILQ_FIRST(questions))) {
        TAILQ_REMOVE(questions, question, entry);
        question->may_wait = false;
        upstream_end_question(upstream, question, reason);
    }
}

/* Refuses all questions that are not sent. */
static void upstream_refuse_waiting(struct upstream *upstream, const char *reason)
{
    struct upstream_question_list questions = TAILQ_HEAD_INITIALIZER(questions);

    upstream_requests_end_all(&upstream->pool.requests, &questions);
    upstream_refuse_questions(upstream, &questions, reason);
}

/* Calls done of the questions that have ended by now. */
static bool upstream_deliver(struct upstream *upstream)
{
    struct upstream_question *last = TAILQ_LAST(&upstream->ended, upstream_question_list);
    struct upstream_question *question = NULL;

    while (last && question != last && (question = TAILQ_FIRST(&upstream->ended))) {
        TAILQ_REMOVE(&upstream->ended, question, entry);
        upstream->n_waiting--;
        if (question->result == 0)
            metric_add(&upstream->metrics.n_answered, 1);
        question->done(question, question->context);
    }
    return last != NULL;
}

/* ---- deadlines ---- */

static uint64_t upstream_deadline_ms(
    const struct upstream *upstream, const struct upstream_question *question)
{
    if (!outage_is_on(&upstream->outage) && upstream->options.patience_ms == 0)
        return question->arrived_ms + UPSTREAM_ANSWER_MS;
    return outage_deadline_ms(&upstream->outage, question->arrived_ms);
}

/* Returns whether a question ends now, with or without may_wait. Counts it in the outage. */
static bool upstream_is_over(struct upstream_question *question, void *context)
{
    struct upstream *upstream = context;
    const struct outage *outage = &upstream->outage;
    const uint64_t now_ms = clock_ms();
    bool is_late = now_ms >= upstream_deadline_ms(upstream, question);
    bool is_dropped = question->is_cancelled && outage->is_reported;

    if (outage_is_on(outage) && outage->patience_ms > 0 && !question->has_waited) {
        question->has_waited = true;
        outage_add_waiting(&upstream->outage, 1);
    }
    question->may_wait = !question->is_needed && !is_dropped;
    question->is_counted = outage->is_reported && (is_late || is_dropped);
    if (is_dropped || (is_late && question->is_needed && outage_is_on(outage)))
        outage_add_failed(&upstream->outage, 1);
    return is_late || is_dropped ||
           (!question->is_needed && outage_is_on(outage) &&
               now_ms - outage->began_ms >= UPSTREAM_LONG_MS);
}

static const char *upstream_waiting_reason(const struct upstream *upstream)
{
    return outage_is_on(&upstream->outage) ? upstream->outage.reason : "it did not answer in time";
}

/* Ends the questions that have waited long enough. */
static void upstream_end_late(struct upstream *upstream)
{
    struct upstream_question_list questions = TAILQ_HEAD_INITIALIZER(questions);
    struct upstream_question *question;

    upstream_pool_take_if(&upstream->pool, upstream_is_over, upstream, &questions);
    while ((question = TAILQ_FIRST(&questions))) {
        TAILQ_REMOVE(&questions, question, entry);
        upstream_end_question(upstream, question, upstream_waiting_reason(upstream));
    }
}

static void upstream_on_check(uv_timer_t *timer)
{
    struct upstream *upstream = timer->data;

    upstream_pool_check(&upstream->pool);
    if (outage_is_on(&upstream->outage) && upstream->pool.n_attempts > 0)
        upstream_pool_try(&upstream->pool);
    upstream_end_late(upstream);
    if (upstream->n_waiting == 0 && !upstream_pool_is_busy(&upstream->pool))
        (void)uv_timer_stop(timer);
}

static void upstream_watch_deadlines(struct upstream *upstream)
{
    if (!uv_is_active((uv_handle_t *)&upstream->check))
        (void)uv_timer_start(&upstream->check, upstream_on_check, CHECK_MS, CHECK_MS);
}

/* ---- attempts ---- */

static void upstream_on_retry(uv_timer_t *timer)
{
    struct upstream *upstream = timer->data;

    upstream_watch_deadlines(upstream);
    upstream_pool_try(&upstream->pool);
}

/* Starts the timer for the next attempt. */
static void upstream_plan_retry(struct upstream *upstream)
{
    const uint64_t now_ms = clock_ms();

    (void)uv_timer_start(&upstream->retry, upstream_on_retry,
        upstream->retry_ms > now_ms ? upstream->retry_ms - now_ms : 0, 0);
}

/* Tries the upstream because a question needs it. */
static void upstream_kick(struct upstream *upstream)
{
    const uint64_t due_ms = upstream->pool.attempted_ms + KICK_MS;

    if (!upstream_pool_may_try(&upstream->pool))
        return;
    if (due_ms < upstream->retry_ms)
        upstream->retry_ms = due_ms;
    if (outage_is_on(&upstream->outage))
        upstream_plan_retry(upstream);
}

/* Plans the next attempt after one that failed. */
static void upstream_pause(struct upstream *upstream)
{
    upstream->retry_ms = clock_ms() + upstream_jitter(upstream->pause_ms);
    if (upstream->pause_ms < MAX_PAUSE_MS)
        upstream->pause_ms *= 2;
}

/* Begins an outage, or continues it. */
static void upstream_be_away(struct upstream *upstream, const char *reason, uint64_t began_ms)
{
    char text[sizeof upstream->outage.reason];

    (void)snprintf(text, sizeof text, "%s", reason);
    if (!outage_is_on(&upstream->outage)) {
        log_often(
            upstream->log, LOG_WARNING, "The upstream %s is down: %s", upstream->name, reason);
        outage_continue(&upstream->outage, began_ms, text);
    }
    upstream_end_late(upstream); /* counts those that wait */
    outage_continue(&upstream->outage, clock_ms(), text);
    upstream_plan_retry(upstream);
}

static void upstream_be_reachable(struct upstream *upstream)
{
    if (outage_is_on(&upstream->outage)) {
        outage_end(&upstream->outage, clock_ms());
        upstream_pool_close_slow(&upstream->pool);
    }
    (void)uv_timer_stop(&upstream->retry);
    upstream->pause_ms = MIN_PAUSE_MS;
    upstream->retry_ms = 0;
}

static void upstream_on_attempt_failed(
    void *context, enum upstream_failure failure, const char *reason, uint64_t began_ms)
{
    struct upstream *upstream = context;

    if (upstream->is_refusing)
        return;
    if (failure == UPSTREAM_INVALID) {
        log_often(upstream->log, LOG_WARNING, "The upstream %s: %s", upstream->name, reason);
        upstream_be_reachable(upstream);
        upstream->retry_ms = upstream->pool.attempted_ms + KICK_MS;
        upstream_refuse_waiting(upstream, reason);
    } else if (upstream_pool_is_alive(&upstream->pool)) {
        log_often(upstream->log, LOG_INFO,
            "Could not open another connection to the upstream %s: %s", upstream->name, reason);
        upstream_be_reachable(upstream);
        upstream_pause(upstream);
    } else {
        upstream_pause(upstream);
        upstream_be_away(upstream, reason, began_ms);
    }
}

/* ---- what the upstream is ---- */

/* Reports a loop, and its end, once. */
static void upstream_set_loop(struct upstream *upstream, bool is_loop)
{
    if (is_loop && !upstream->is_loop)
        log_write(upstream->log, LOG_ERROR,
            "The upstream %s is this server, or a server below it: each new revision would be a "
            "level deeper, so none is given; correct --upstream here or there",
            upstream->name);
    else if (!is_loop && upstream->is_loop)
        log_write(
            upstream->log, LOG_INFO, "The upstream %s is not this server any more", upstream->name);
    upstream->is_loop = is_loop;
}

static void upstream_set_stale(struct upstream *upstream, bool is_stale)
{
    if (is_stale && !upstream->is_stale)
        log_write(upstream->log, LOG_WARNING,
            "The upstream %s reads from a standby, whose revisions may be old: it refuses to "
            "answer "
            "servers below it; name a server on the primary, or start it with --stale-ok",
            upstream->name);
    upstream->is_stale = is_stale;
}

static bool upstream_on_checked(void *context, const struct codec_peer *peer, bool is_new)
{
    struct upstream *upstream = context;
    const char *own = upstream->options.instance(upstream->options.context);

    if (is_new)
        log_often(upstream->log, LOG_INFO, "Connected to the upstream %s", upstream->name);
    upstream_be_reachable(upstream);
    upstream->instances = peer->instances;
    upstream_set_stale(upstream, peer->is_stale);
    upstream_set_loop(upstream, instances_contain(&peer->instances, text_of(own)));
    if (upstream->is_loop) {
        upstream->found_loop = true;
        upstream->retry_ms = upstream->pool.attempted_ms + KICK_MS;
    }
    return !upstream->is_loop;
}

void upstream_add_instances(const struct upstream *upstream, struct instances *instances)
{
    instances_add_all(instances, &upstream->instances);
}

/* ---- answers ---- */

static void upstream_on_answered(void *context, struct upstream_question_list *questions)
{
    struct upstream *upstream = context;

    TAILQ_CONCAT(&upstream->ended, questions, entry);
    (void)upstream_deliver(upstream);
}

static void upstream_on_refused(
    void *context, struct upstream_question_list *questions, const char *reason)
{
    upstream_refuse_questions(context, questions, reason);
}

/* ---- asking ---- */

/* Adds a question. Refuses it at once if it would not wait at all. */
static void upstream_add(struct upstream *upstream, struct upstream_question *question)
{
    question->umax = question->uval = NULL;
    question->values = NULL;
    question->request = NULL;
    question->may_wait = question->is_counted = false;
    upstream->n_waiting++;
    if (upstream->is_refusing) {
        upstream_end_question(upstream, question, upstream->reason);
        return;
    }
    upstream_kick(upstream);
    if ((outage_is_on(&upstream->outage) || question->is_needed) &&
        upstream_is_over(question, upstream)) {
        upstream_end_question(upstream, question, upstream_waiting_reason(upstream));
    } else if (upstream_requests_add(&upstream->pool.requests, question) != 0) {
        question->may_wait = false;
        upstream_end_question(upstream, question, "out of memory");
    }
    upstream_watch_deadlines(upstream);
}

void upstream_ask(struct upstream *upstream, struct upstream_question *question)
{
    upstream->n_questions++;
    question->is_needed = question->has_waited = false;
    upstream_add(upstream, question);
}

void upstream_ask_again(struct upstream *upstream, struct upstream_question *question)
{
    question->is_needed = true;
    upstream_add(upstream, question);
}

void upstream_cancel(struct upstream *upstream, struct upstream_question *question)
{
    upstream->n_waiting--;
    if (question->request)
        upstream_requests_remove(&upstream->pool.requests, question);
    else
        TAILQ_REMOVE(&upstream->ended, question, entry);
    upstream_question_release(question);
}

bool upstream_turn(struct upstream *upstream)
{
    const bool may_open = !outage_is_on(&upstream->outage) && clock_ms() >= upstream->retry_ms;

    if (upstream->found_loop)
        upstream_refuse_waiting(upstream,
            "it is this server itself, or a server below it (a loop); correct --upstream");
    upstream->found_loop = false;
    if (!upstream->is_refusing)
        upstream_pool_send(&upstream->pool, may_open);
    metric_set(
        &upstream->metrics.is_up, !outage_is_on(&upstream->outage) && !upstream->is_loop ? 1 : 0);
    return upstream_deliver(upstream);
}

void upstream_refuse(struct upstream *upstream, const char *reason)
{
    upstream->is_refusing = true;
    (void)snprintf(upstream->reason, sizeof upstream->reason, "%s", reason);
    (void)uv_timer_stop(&upstream->check);
    (void)uv_timer_stop(&upstream->retry);
    upstream_pool_close(&upstream->pool);
    upstream_refuse_waiting(upstream, reason);
}

/* ---- statistics ---- */

static const char *upstream_state(const struct upstream *upstream)
{
    if (upstream->is_loop)
        return "loop";
    if (outage_is_on(&upstream->outage))
        return "down";
    if (upstream->pool.shared && upstream_pool_is_alive(&upstream->pool))
        return "ready";
    return upstream->pool.n_attempts > 0 ? "connecting" : "idle";
}

void upstream_write_stats(const struct upstream *upstream, bool shows_address, struct buffer *out)
{
    const struct histogram *round_trip_us = &upstream->pool.requests.round_trip_us;
    const struct outage *outage = &upstream->outage;

    buffer_append_string(out, shows_address ? "{\"address\":" : "{\"address\":null");
    if (shows_address)
        codec_write_string(out, text_of(upstream->name));
    buffer_append_format(out,
        ",\"state\":\"%s\",\"questions\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"waiting\":%" PRIu64
        ",\"connections\":%u,\"away_s\":%" PRIu64 ",\"round_trip_us\":{\"p50\":%" PRIu64
        ",\"p99\":%" PRIu64 "}}",
        upstream_state(upstream), upstream->n_questions, metric_get(&upstream->metrics.n_failed),
        upstream->n_waiting, upstream->pool.n_channels,
        outage_is_on(outage) ? (clock_ms() - outage->began_ms) / 1000 : 0,
        histogram_percentile(round_trip_us, 0.5), histogram_percentile(round_trip_us, 0.99));
}

const struct upstream_metrics *upstream_metrics(const struct upstream *upstream)
{
    return &upstream->metrics;
}

/* ---- start and end ---- */

int upstream_create(struct upstream **created, uv_loop_t *loop,
    const struct upstream_options *options, struct error *error)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    const struct upstream_pool_events events = {
        .attempt_failed = upstream_on_attempt_failed,
        .checked = upstream_on_checked,
        .answered = upstream_on_answered,
        .refused = upstream_on_refused,
        .context = upstream,
    };

    *created = NULL;
    if (!upstream)
        return error_set_memory(error);
    upstream->target = (struct upstream_target){.address = *options->address, .tls = options->tls};
    address_format(options->address, upstream->name);
    upstream->options = *options;
    upstream->log = options->log;
    upstream->pause_ms = MIN_PAUSE_MS;
    metric_set(&upstream->metrics.is_up, 1);
    upstream->metrics.round_trip_us = &upstream->pool.requests.round_trips;
    (void)snprintf(upstream->waiting, sizeof upstream->waiting,
        "Requests that need the upstream %s", upstream->name);
    outage_init(&upstream->outage, upstream->waiting, options->patience_ms, options->log);
    upstream_pool_init(
        &upstream->pool, loop, &upstream->target, upstream->name, options->log, &events);
    TAILQ_INIT(&upstream->ended);
    (void)uv_timer_init(loop, &upstream->check);
    (void)uv_timer_init(loop, &upstream->retry);
    upstream->check.data = upstream->retry.data = upstream;
    *created = upstream;
    return 0;
}

static void upstream_on_retry_closed(uv_handle_t *handle)
{
    struct upstream *upstream = handle->data;

    upstream_pool_deinit(&upstream->pool);
    free(upstream);
}

static void upstream_on_check_closed(uv_handle_t *handle)
{
    struct upstream *upstream = handle->data;

    uv_close((uv_handle_t *)&upstream->retry, upstream_on_retry_closed);
}

void upstream_close(struct upstream *upstream)
{
    if (!upstream)
        return;
    upstream_pool_close(&upstream->pool);
    uv_close((uv_handle_t *)&upstream->check, upstream_on_check_closed);
}

/*            asked                 opened
 *   IDLE ───────────→ CONNECTING ─────────→ READY ──closed, nothing asked──→ IDLE
 *                      │      ↑               │ │
 *               failed │      └─closed, once──┘ │ silent
 *                      ↓                        │
 *                     DOWN ←────────────────────┘
 *                      │ ↑
 *        after a pause ↓ │ failed or silent
 *                    PROBING ──ping answered──→ READY
 *
 * What was asked in one turn of the loop is sent together. When the connection breaks,
 * what was not answered is asked once more on a new one. While DOWN or PROBING,
 * questions are refused at once, with the reason: a silent upstream costs one deadline,
 * not one for each. Refused questions are delivered at the end of the turn, so that done
 * never runs inside upstream_ask. */
#include "server/upstream.h"

#include "base/clock.h"
#include "server/exchange.h"
#include "server/link.h"
#include "wire/codec.h"
#include "wire/framer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define PROBE_MS 1200      /* to connect, and again to answer a ping */
#define PAUSE_LEAST_MS 100 /* between two probes: doubled each time, with jitter */
#define PAUSE_MOST_MS 500
#define TICK_MS 100
#define TRIES 2

enum state { IDLE, CONNECTING, READY, DOWN, PROBING };

struct upstream {
    uv_loop_t *loop;
    struct address address;
    char name[ADDRESS_TEXT_BYTES];
    struct log *log;
    enum state state;
    struct link *connection;
    struct exchanges exchanges;
    struct question_list refused; /* to be delivered at the end of the turn */
    char reason[256];             /* why it is down */
    bool closed_door;             /* upstream_refuse was called */
    uint64_t n_questions;
    uint64_t n_errors;
    unsigned pause_ms;
    uint64_t probe_until_ms;
    uv_timer_t tick;  /* deadlines */
    uv_timer_t pause; /* until the next probe */
    unsigned handles; /* that are not closed yet */
};

/* ---- refusing ---- */

static void refuse(struct upstream *upstream, struct question_list *questions, const char *reason)
{
    struct upstream_question *question;

    STAILQ_FOREACH (question, questions, link) {
        upstream->n_errors++;
        question->result = error_set(&question->error, ERROR_UPSTREAM,
            "the upstream %s can't be asked: %s", upstream->name, reason);
    }
    STAILQ_CONCAT(&upstream->refused, questions);
}

static void refuse_all(struct upstream *upstream, const char *reason)
{
    struct question_list questions = STAILQ_HEAD_INITIALIZER(questions);

    exchanges_give_up(&upstream->exchanges, &questions);
    refuse(upstream, &questions, reason);
}

/* ---- states ---- */

static void start_connection(struct upstream *upstream, enum state state, unsigned wait_ms);

static void probe(uv_timer_t *timer)
{
    start_connection(timer->data, PROBING, PROBE_MS);
}

/* Half of it to all of it, by chance: so that many servers don't come back at once. */
static unsigned jitter(unsigned pause_ms)
{
    unsigned chance = 0;

    if (getrandom(&chance, sizeof chance, GRND_NONBLOCK) != sizeof chance)
        chance = 0; /* too early after the machine's start: half of it */
    return pause_ms / 2 + chance % (pause_ms / 2 + 1);
}

/* Refuses everything, and tries again in a while. */
static void go_down(struct upstream *upstream, const char *reason)
{
    link_close(upstream->connection);
    upstream->connection = NULL;
    if (upstream->state != PROBING) {
        upstream->pause_ms = PAUSE_LEAST_MS;
        log_often(
            upstream->log, LOG_WARNING, "The upstream %s is down: %s", upstream->name, reason);
    }
    (void)snprintf(upstream->reason, sizeof upstream->reason, "%s", reason);
    upstream->state = DOWN;
    refuse_all(upstream, reason);
    (void)uv_timer_start(&upstream->pause, probe, jitter(upstream->pause_ms), 0);
    if (upstream->pause_ms < PAUSE_MOST_MS)
        upstream->pause_ms *= 2;
}

/* The connection broke, or is not to be trusted any more. */
static void lose_connection(struct upstream *upstream, const char *reason)
{
    struct question_list questions = STAILQ_HEAD_INITIALIZER(questions);

    upstream->connection = NULL;
    upstream->state = IDLE;
    exchanges_retry(&upstream->exchanges, TRIES, &questions);
    refuse(upstream, &questions, reason);
    if (exchanges_have_unsent(&upstream->exchanges))
        start_connection(upstream, CONNECTING, UPSTREAM_CONNECT_MS);
}

static void link_failed(void *context, const char *reason)
{
    struct upstream *upstream = context;

    upstream->connection = NULL;
    if (upstream->state != READY) {
        go_down(upstream, reason);
        return;
    }
    log_often(upstream->log, LOG_INFO, "The connection to the upstream %s ended: %s",
        upstream->name, reason);
    lose_connection(upstream, reason);
}

static void become_ready(struct upstream *upstream)
{
    log_often(upstream->log, LOG_INFO, "Connected to the upstream %s", upstream->name);
    upstream->state = READY;
}

static void send_ping(struct upstream *upstream)
{
    const struct request ping = {.kind = REQUEST_PING};
    struct buffer text = BUFFER_EMPTY;
    struct buffer line = BUFFER_EMPTY;

    codec_write_request(&text, &ping);
    framer_write(&line, buffer_text(&text));
    line.failed = line.failed || buffer_failed(&text);
    buffer_free(&text);
    if (link_send(upstream->connection, &line) != 0)
        go_down(upstream, LINK_CANT_SEND);
}

static void link_opened(void *context)
{
    struct upstream *upstream = context;

    if (upstream->state == CONNECTING) {
        become_ready(upstream);
        return;
    }
    upstream->probe_until_ms = clock_ms() + PROBE_MS;
    send_ping(upstream);
}

/* ---- answers ---- */

static void deliver(struct question_list *questions)
{
    struct upstream_question *question;

    while ((question = STAILQ_FIRST(questions))) {
        STAILQ_REMOVE_HEAD(questions, link);
        question->done(question, question->context);
    }
}

static void take_answer(struct upstream *upstream, struct text message)
{
    struct question_list questions = STAILQ_HEAD_INITIALIZER(questions);
    struct error error;

    switch (exchanges_answer(&upstream->exchanges, message, &questions, &error)) {
    case EXCHANGE_MORE:
        break;
    case EXCHANGE_DONE:
        deliver(&questions);
        break;
    case EXCHANGE_REFUSED:
        refuse(upstream, &questions, error.text);
        break;
    case EXCHANGE_LOST:
        log_often(upstream->log, LOG_WARNING, "The upstream %s: %s", upstream->name, error.text);
        refuse(upstream, &questions, error.text);
        link_close(upstream->connection);
        lose_connection(upstream, error.text);
        break;
    }
}

static void link_message(void *context, struct text message)
{
    struct upstream *upstream = context;
    struct error error;
    bool alive = false;

    if (upstream->state == READY)
        take_answer(upstream, message);
    else if (codec_read_flag(message, "alive", &alive, &error) == 0)
        become_ready(upstream);
    else
        go_down(upstream, error.text);
}

/* ---- deadlines ---- */

static void check_deadlines(uv_timer_t *timer)
{
    struct upstream *upstream = timer->data;
    uint64_t oldest_ms = exchanges_oldest_ms(&upstream->exchanges);
    uint64_t now_ms = clock_ms();

    if (upstream->state == PROBING && now_ms >= upstream->probe_until_ms)
        go_down(upstream, "it accepts connections and does not answer");
    else if (oldest_ms != 0 && now_ms - oldest_ms >= UPSTREAM_ANSWER_MS)
        go_down(upstream, "it did not answer in time");
    else if (oldest_ms == 0 && upstream->state != PROBING)
        (void)uv_timer_stop(timer);
}

static void watch_deadlines(struct upstream *upstream)
{
    if (!uv_is_active((uv_handle_t *)&upstream->tick))
        (void)uv_timer_start(&upstream->tick, check_deadlines, TICK_MS, TICK_MS);
}

static void start_connection(struct upstream *upstream, enum state state, unsigned wait_ms)
{
    const struct link_events events = {
        .opened = link_opened,
        .message = link_message,
        .failed = link_failed,
        .context = upstream,
    };
    struct error error;

    upstream->state = state;
    upstream->probe_until_ms = UINT64_MAX;
    watch_deadlines(upstream);
    if (link_open(&upstream->connection, upstream->loop, &upstream->address, wait_ms, &events,
            &error) != 0)
        go_down(upstream, error.text);
}

/* ---- asking ---- */

void upstream_ask(struct upstream *upstream, struct upstream_question *question)
{
    struct question_list refused = STAILQ_HEAD_INITIALIZER(refused);

    upstream->n_questions++;
    question->umax = question->uval = NULL;
    question->values = NULL;
    if (upstream->closed_door || upstream->state == DOWN || upstream->state == PROBING) {
        STAILQ_INSERT_TAIL(&refused, question, link);
        refuse(upstream, &refused, upstream->reason);
    } else if (exchanges_add(&upstream->exchanges, question) != 0) {
        STAILQ_INSERT_TAIL(&refused, question, link);
        refuse(upstream, &refused, "out of memory");
    } else {
        watch_deadlines(upstream);
    }
}

void upstream_release(struct upstream_question *question)
{
    struct upstream_values *values = question->values;

    question->values = NULL;
    question->umax = question->uval = NULL;
    if (!values || --values->holders > 0)
        return;
    free(values->umax);
    free(values->uval);
    free(values);
}

static void send_unsent(struct upstream *upstream)
{
    struct buffer lines = BUFFER_EMPTY;

    exchanges_write(&upstream->exchanges, &lines);
    if (link_send(upstream->connection, &lines) != 0)
        go_down(upstream, LINK_CANT_SEND);
}

bool upstream_turn(struct upstream *upstream)
{
    struct question_list refused = STAILQ_HEAD_INITIALIZER(refused);
    bool any;

    if (exchanges_have_unsent(&upstream->exchanges)) {
        if (upstream->state == IDLE)
            start_connection(upstream, CONNECTING, UPSTREAM_CONNECT_MS);
        else if (upstream->state == READY)
            send_unsent(upstream);
    }
    any = !STAILQ_EMPTY(&upstream->refused);
    STAILQ_CONCAT(&refused, &upstream->refused);
    deliver(&refused);
    return any;
}

void upstream_refuse(struct upstream *upstream, const char *reason)
{
    upstream->closed_door = true;
    (void)snprintf(upstream->reason, sizeof upstream->reason, "%s", reason);
    link_close(upstream->connection);
    upstream->connection = NULL;
    upstream->state = IDLE;
    (void)uv_timer_stop(&upstream->pause);
    refuse_all(upstream, reason);
}

void upstream_stats(const struct upstream *upstream, struct upstream_stats *stats)
{
    static const char *const names[] = {"idle", "connecting", "ready", "down", "probing"};

    *stats = (struct upstream_stats){
        .address = upstream->name,
        .state = names[upstream->state],
        .questions = upstream->n_questions,
        .errors = upstream->n_errors,
        .round_trip_us = &upstream->exchanges.round_trip_us,
    };
}

/* ---- start and end ---- */

int upstream_create(struct upstream **result, uv_loop_t *loop, const struct address *address,
    struct log *log, struct error *error)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);

    *result = NULL;
    if (!upstream)
        return error_set_memory(error);
    upstream->loop = loop;
    upstream->address = *address;
    upstream->log = log;
    address_format(address, upstream->name);
    exchanges_init(&upstream->exchanges);
    STAILQ_INIT(&upstream->refused);
    (void)uv_timer_init(loop, &upstream->tick);
    (void)uv_timer_init(loop, &upstream->pause);
    upstream->tick.data = upstream->pause.data = upstream;
    upstream->handles = 2;
    *result = upstream;
    return 0;
}

static void timer_closed(uv_handle_t *handle)
{
    struct upstream *upstream = handle->data;

    if (--upstream->handles > 0)
        return;
    exchanges_free(&upstream->exchanges);
    free(upstream);
}

void upstream_close(struct upstream *upstream)
{
    if (!upstream)
        return;
    link_close(upstream->connection);
    uv_close((uv_handle_t *)&upstream->tick, timer_closed);
    uv_close((uv_handle_t *)&upstream->pause, timer_closed);
}

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
 * An exchange is what is sent: max-package-pr and test-pr, together. Questions that
 * are the same share one, as long as it has not been sent; that happens once a turn
 * of the loop, for all of them. When the connection breaks, what was not answered is
 * asked once more on a new one. While DOWN or PROBING, questions are refused at once,
 * with the reason: a silent upstream costs one deadline, not one for each. */
#include "server/upstream.h"

#include "base/clock.h"
#include "server/link.h"
#include "wire/codec.h"
#include "wire/framer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define PROBE_MS 1200      /* to connect, and again to answer a ping */
#define PAUSE_LEAST_MS 100 /* between two probes: doubled each time, with jitter */
#define PAUSE_MOST_MS 500
#define TICK_MS 100
#define TRIES 2

enum state { IDLE, CONNECTING, READY, DOWN, PROBING };

STAILQ_HEAD(question_list, upstream_question);

struct exchange {
    UT_hash_handle hh; /* while it has not been sent */
    TAILQ_ENTRY(exchange) link;
    struct question_list questions;
    uint64_t asked_ms;
    unsigned tries;
    bool has_umax; /* the first answer came */
    char *umax;
    int result; /* of the answers so far: 0, or error says what is wrong with them */
    struct error error;
    size_t key_length;
    char key[];
};

TAILQ_HEAD(exchange_list, exchange);

struct upstream {
    uv_loop_t *loop;
    struct address address;
    char name[ADDRESS_TEXT_BYTES];
    struct log *log;
    enum state state;
    struct link *connection;
    struct exchange_list unsent;
    struct exchange *unsent_keys;
    struct exchange_list sent; /* in the order of the answers to come */
    struct question_list refused;
    struct buffer key;
    char reason[256]; /* why it is down */
    bool closed_door; /* upstream_refuse was called */
    unsigned pause_ms;
    uint64_t probe_until_ms;
    uv_timer_t tick;  /* deadlines */
    uv_timer_t pause; /* until the next probe */
    unsigned handles; /* that are not closed yet */
};

/* ---- questions and exchanges ---- */

static void refuse(
    struct upstream *upstream, struct upstream_question *question, const char *reason)
{
    question->result = error_set(&question->error, ERROR_UPSTREAM,
        "the upstream %s can't be asked: %s", upstream->name, reason);
    STAILQ_INSERT_TAIL(&upstream->refused, question, link);
}

static void free_exchange(struct exchange *exchange)
{
    free(exchange->umax);
    free(exchange);
}

/* Refuses an exchange that is on no list any more. */
static void refuse_exchange(
    struct upstream *upstream, struct exchange *exchange, const char *reason)
{
    struct upstream_question *question;

    while ((question = STAILQ_FIRST(&exchange->questions))) {
        STAILQ_REMOVE_HEAD(&exchange->questions, link);
        refuse(upstream, question, reason);
    }
    free_exchange(exchange);
}

static struct exchange *take_unsent(struct upstream *upstream)
{
    struct exchange *exchange = TAILQ_FIRST(&upstream->unsent);

    if (exchange) {
        TAILQ_REMOVE(&upstream->unsent, exchange, link);
        HASH_DEL(upstream->unsent_keys, exchange);
    }
    return exchange;
}

static struct exchange *take_sent(struct upstream *upstream)
{
    struct exchange *exchange = TAILQ_FIRST(&upstream->sent);

    if (exchange)
        TAILQ_REMOVE(&upstream->sent, exchange, link);
    return exchange;
}

static void refuse_all(struct upstream *upstream, const char *reason)
{
    struct exchange *exchange;

    while ((exchange = take_sent(upstream)))
        refuse_exchange(upstream, exchange, reason);
    while ((exchange = take_unsent(upstream)))
        refuse_exchange(upstream, exchange, reason);
}

/* ---- states ---- */

static void start_connection(struct upstream *upstream, enum state state, unsigned wait_ms);
static void watch_deadlines(struct upstream *upstream);

static void probe(uv_timer_t *timer)
{
    struct upstream *upstream = timer->data;

    start_connection(upstream, PROBING, PROBE_MS);
}

/* Half of it to all of it, by chance: so that many servers don't come back at once. */
static unsigned jitter(unsigned pause_ms)
{
    unsigned chance = 0;

    (void)getrandom(&chance, sizeof chance, GRND_NONBLOCK);
    return pause_ms / 2 + chance % (pause_ms / 2 + 1);
}

/* Refuses everything, and tries again in a while. */
static void go_down(struct upstream *upstream, const char *reason)
{
    link_close(upstream->connection);
    upstream->connection = NULL;
    if (upstream->state != PROBING) {
        upstream->pause_ms = PAUSE_LEAST_MS;
        log_write(
            upstream->log, LOG_WARNING, "The upstream %s is down: %s", upstream->name, reason);
    }
    (void)snprintf(upstream->reason, sizeof upstream->reason, "%s", reason);
    upstream->state = DOWN;
    refuse_all(upstream, reason);
    if (upstream->closed_door)
        return;
    (void)uv_timer_start(&upstream->pause, probe, jitter(upstream->pause_ms), 0);
    upstream->pause_ms =
        upstream->pause_ms * 2 < PAUSE_MOST_MS ? upstream->pause_ms * 2 : PAUSE_MOST_MS;
}

/* What was sent and not answered goes back to be sent again, in its order. */
static void send_again(struct upstream *upstream, const char *reason)
{
    struct exchange *exchange;

    while ((exchange = TAILQ_LAST(&upstream->sent, exchange_list))) {
        TAILQ_REMOVE(&upstream->sent, exchange, link);
        if (exchange->tries >= TRIES) {
            refuse_exchange(upstream, exchange, reason);
            continue;
        }
        free(exchange->umax);
        exchange->umax = NULL;
        exchange->has_umax = false;
        exchange->result = 0;
        TAILQ_INSERT_HEAD(&upstream->unsent, exchange, link);
        HASH_ADD_KEYPTR(hh, upstream->unsent_keys, exchange->key, exchange->key_length, exchange);
    }
}

static void link_failed(void *context, const char *reason)
{
    struct upstream *upstream = context;
    bool was_ready = upstream->state == READY;

    upstream->connection = NULL;
    if (!was_ready) {
        go_down(upstream, reason);
        return;
    }
    log_write(upstream->log, LOG_INFO, "The connection to the upstream %s ended: %s",
        upstream->name, reason);
    upstream->state = IDLE;
    send_again(upstream, reason);
    if (!TAILQ_EMPTY(&upstream->unsent))
        start_connection(upstream, CONNECTING, UPSTREAM_CONNECT_MS);
}

static void become_ready(struct upstream *upstream)
{
    log_write(upstream->log, LOG_INFO, "Connected to the upstream %s", upstream->name);
    upstream->state = READY;
}

static void link_opened(void *context)
{
    struct upstream *upstream = context;
    const struct request ping = {.kind = REQUEST_PING};
    struct buffer text = BUFFER_EMPTY;
    struct buffer line = BUFFER_EMPTY;

    if (upstream->state == CONNECTING) {
        become_ready(upstream);
        return;
    }
    upstream->probe_until_ms = clock_ms() + PROBE_MS;
    codec_write_request(&text, &ping);
    framer_write(&line, buffer_text(&text));
    buffer_free(&text);
    link_send(upstream->connection, &line);
}

static void take_answer(struct upstream *upstream, struct text message);

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

/* ---- answers ---- */

static void finish(struct exchange *exchange, const char *uval)
{
    struct upstream_question *question;

    while ((question = STAILQ_FIRST(&exchange->questions))) {
        STAILQ_REMOVE_HEAD(&exchange->questions, link);
        question->umax = exchange->umax ? strdup(exchange->umax) : NULL;
        question->uval = uval ? strdup(uval) : NULL;
        question->result = 0;
        if ((exchange->umax && !question->umax) || (uval && !question->uval))
            question->result = error_set_memory(&question->error);
        question->done(question, question->context);
    }
    free_exchange(exchange);
}

/* An answer that is no answer: the rest of what comes can't be trusted either. */
static void distrust(struct upstream *upstream, const char *reason)
{
    struct exchange *exchange = take_sent(upstream);

    log_write(upstream->log, LOG_WARNING, "The upstream %s: %s", upstream->name, reason);
    if (exchange)
        refuse_exchange(upstream, exchange, reason);
    link_close(upstream->connection);
    link_failed(upstream, reason);
}

static void take_answer(struct upstream *upstream, struct text message)
{
    struct exchange *exchange = TAILQ_FIRST(&upstream->sent);
    struct error error;
    char *revision;
    int result;

    if (!exchange) {
        distrust(upstream, "it answered what was not asked");
        return;
    }
    result = codec_read_value(message, &revision, &error);
    if (result == ERROR_FRAMING) {
        distrust(upstream, error.text);
        return;
    }
    if (result != 0) {
        exchange->result = result;
        exchange->error = error;
    }
    if (!exchange->has_umax) {
        exchange->has_umax = true;
        exchange->umax = revision;
        return;
    }
    TAILQ_REMOVE(&upstream->sent, exchange, link);
    if (exchange->result == 0)
        finish(exchange, revision);
    else
        refuse_exchange(upstream, exchange, exchange->error.text);
    free(revision);
}

/* ---- asking ---- */

static void make_key(struct upstream *upstream, const struct upstream_question *question)
{
    struct buffer *key = &upstream->key;

    buffer_reset(key, 4096);
    buffer_append(key, question->history ? "h" : "n", 1);
    buffer_append(key, (const char *)&question->version.length, sizeof question->version.length);
    buffer_append(key, (const char *)&question->pkgarch.length, sizeof question->pkgarch.length);
    buffer_append_text(key, question->version);
    buffer_append_text(key, question->pkgarch);
    buffer_append_text(key, question->checksum);
}

/* The exchange that the question shares, or a new one; NULL when memory ran out. */
static struct exchange *find_exchange(
    struct upstream *upstream, const struct upstream_question *question)
{
    struct exchange *exchange = NULL;

    make_key(upstream, question);
    if (buffer_failed(&upstream->key))
        return NULL;
    HASH_FIND(hh, upstream->unsent_keys, upstream->key.bytes, upstream->key.length, exchange);
    if (exchange)
        return exchange;
    exchange = calloc(1, sizeof *exchange + upstream->key.length);
    if (!exchange)
        return NULL;
    STAILQ_INIT(&exchange->questions);
    exchange->asked_ms = clock_ms();
    exchange->key_length = upstream->key.length;
    memcpy(exchange->key, upstream->key.bytes, upstream->key.length);
    HASH_ADD_KEYPTR(hh, upstream->unsent_keys, exchange->key, exchange->key_length, exchange);
    if (!exchange->hh.tbl) {
        free(exchange);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&upstream->unsent, exchange, link);
    return exchange;
}

static void check_deadlines(uv_timer_t *timer)
{
    struct upstream *upstream = timer->data;
    const struct exchange *oldest = TAILQ_FIRST(&upstream->sent);
    uint64_t now = clock_ms();

    if (!oldest)
        oldest = TAILQ_FIRST(&upstream->unsent);
    if (upstream->state == PROBING && now >= upstream->probe_until_ms)
        go_down(upstream, "it accepts connections and does not answer");
    else if (oldest && now - oldest->asked_ms >= UPSTREAM_ANSWER_MS)
        go_down(upstream, "it did not answer in time");
    else if (!oldest && upstream->state != PROBING)
        (void)uv_timer_stop(timer);
}

static void watch_deadlines(struct upstream *upstream)
{
    if (!uv_is_active((uv_handle_t *)&upstream->tick))
        (void)uv_timer_start(&upstream->tick, check_deadlines, TICK_MS, TICK_MS);
}

void upstream_ask(struct upstream *upstream, struct upstream_question *question)
{
    struct exchange *exchange;

    question->umax = question->uval = NULL;
    if (upstream->closed_door || upstream->state == DOWN || upstream->state == PROBING) {
        refuse(upstream, question, upstream->reason);
        return;
    }
    exchange = find_exchange(upstream, question);
    if (!exchange) {
        refuse(upstream, question, "out of memory");
        return;
    }
    STAILQ_INSERT_TAIL(&exchange->questions, question, link);
    watch_deadlines(upstream);
}

/* ---- at the end of each turn of the loop ---- */

static void write_question(struct buffer *lines, const struct upstream_question *question)
{
    struct request request = {
        .kind = REQUEST_MAX_PACKAGE_PR,
        .version = question->version,
        .pkgarch = question->pkgarch,
        .checksum = question->checksum,
        .history = question->history,
    };
    struct buffer text = BUFFER_EMPTY;

    codec_write_request(&text, &request);
    lines->failed = lines->failed || buffer_failed(&text);
    framer_write(lines, buffer_text(&text));
    buffer_reset(&text, 4096);
    request.kind = REQUEST_TEST_PR;
    codec_write_request(&text, &request);
    lines->failed = lines->failed || buffer_failed(&text);
    framer_write(lines, buffer_text(&text));
    buffer_free(&text);
}

static void send_unsent(struct upstream *upstream)
{
    struct buffer lines = BUFFER_EMPTY;
    struct exchange *exchange;

    while ((exchange = take_unsent(upstream))) {
        exchange->tries++;
        write_question(&lines, STAILQ_FIRST(&exchange->questions));
        TAILQ_INSERT_TAIL(&upstream->sent, exchange, link);
    }
    if (buffer_failed(&lines)) {
        buffer_free(&lines);
        distrust(upstream, "out of memory");
        return;
    }
    link_send(upstream->connection, &lines);
}

static bool deliver_refused(struct upstream *upstream)
{
    struct question_list refused = STAILQ_HEAD_INITIALIZER(refused);
    struct upstream_question *question;
    bool any;

    STAILQ_CONCAT(&refused, &upstream->refused);
    any = !STAILQ_EMPTY(&refused);
    while ((question = STAILQ_FIRST(&refused))) {
        STAILQ_REMOVE_HEAD(&refused, link);
        question->done(question, question->context);
    }
    return any;
}

bool upstream_turn(struct upstream *upstream)
{
    if (!TAILQ_EMPTY(&upstream->unsent)) {
        if (upstream->state == IDLE)
            start_connection(upstream, CONNECTING, UPSTREAM_CONNECT_MS);
        else if (upstream->state == READY)
            send_unsent(upstream);
    }
    return deliver_refused(upstream);
}

void upstream_refuse(struct upstream *upstream, const char *reason)
{
    upstream->closed_door = true;
    (void)snprintf(upstream->reason, sizeof upstream->reason, "%s", reason);
    refuse_all(upstream, reason);
    (void)uv_timer_stop(&upstream->pause);
    link_close(upstream->connection);
    upstream->connection = NULL;
    upstream->state = IDLE;
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
    TAILQ_INIT(&upstream->unsent);
    TAILQ_INIT(&upstream->sent);
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
    buffer_free(&upstream->key);
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

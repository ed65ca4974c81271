#include "server/exchange.h"

#include "base/clock.h"
#include "wire/codec.h"
#include "wire/framer.h"

#include <assert.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct exchange {
    UT_hash_handle hh; /* while it has not been sent */
    TAILQ_ENTRY(exchange) link;
    struct question_list questions;
    uint64_t asked_ms;
    uint64_t sent_us;
    unsigned tries;
    bool has_umax; /* the first answer came */
    char *umax;
    int result; /* of the answers so far: 0, or error says what is wrong with them */
    struct error error;
    size_t key_length;
    char key[];
};

void exchanges_init(struct exchanges *exchanges)
{
    memset(exchanges, 0, sizeof *exchanges);
    TAILQ_INIT(&exchanges->unsent);
    TAILQ_INIT(&exchanges->sent);
}

void exchanges_free(struct exchanges *exchanges)
{
    buffer_free(&exchanges->key);
}

/* ---- asking ---- */

static void make_key(struct buffer *key, const struct upstream_question *question)
{
    buffer_reset(key, 4096);
    buffer_append(key, question->history ? "h" : "n", 1);
    buffer_append(key, (const char *)&question->version.length, sizeof question->version.length);
    buffer_append(key, (const char *)&question->pkgarch.length, sizeof question->pkgarch.length);
    buffer_append_text(key, question->version);
    buffer_append_text(key, question->pkgarch);
    buffer_append_text(key, question->checksum);
}

static bool add_key(struct exchanges *exchanges, struct exchange *exchange)
{
    HASH_ADD_KEYPTR(hh, exchanges->unsent_keys, exchange->key, exchange->key_length, exchange);
    return exchange->hh.tbl != NULL;
}

static struct exchange *add_exchange(struct exchanges *exchanges)
{
    struct exchange *exchange = calloc(1, sizeof *exchange + exchanges->key.length);

    if (!exchange)
        return NULL;
    STAILQ_INIT(&exchange->questions);
    exchange->asked_ms = clock_ms();
    exchange->key_length = exchanges->key.length;
    memcpy(exchange->key, exchanges->key.bytes, exchanges->key.length);
    if (!add_key(exchanges, exchange)) {
        free(exchange);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&exchanges->unsent, exchange, link);
    return exchange;
}

int exchanges_add(struct exchanges *exchanges, struct upstream_question *question)
{
    struct exchange *exchange = NULL;

    make_key(&exchanges->key, question);
    if (buffer_failed(&exchanges->key))
        return ERROR_MEMORY;
    HASH_FIND(hh, exchanges->unsent_keys, exchanges->key.bytes, exchanges->key.length, exchange);
    if (!exchange)
        exchange = add_exchange(exchanges);
    if (!exchange)
        return ERROR_MEMORY;
    STAILQ_INSERT_TAIL(&exchange->questions, question, link);
    return 0;
}

bool exchanges_have_unsent(const struct exchanges *exchanges)
{
    return !TAILQ_EMPTY(&exchanges->unsent);
}

uint64_t exchanges_oldest_ms(const struct exchanges *exchanges)
{
    const struct exchange *sent = TAILQ_FIRST(&exchanges->sent);
    const struct exchange *unsent = TAILQ_FIRST(&exchanges->unsent);

    if (sent)
        return sent->asked_ms;
    return unsent ? unsent->asked_ms : 0;
}

/* ---- sending ---- */

static void write_request(struct buffer *lines, const struct request *request)
{
    struct buffer text = BUFFER_EMPTY;

    codec_write_request(&text, request);
    lines->failed = lines->failed || buffer_failed(&text);
    framer_write(lines, buffer_text(&text));
    buffer_free(&text);
}

static void write_question(struct buffer *lines, const struct upstream_question *question)
{
    struct request request = {
        .kind = REQUEST_MAX_PACKAGE_PR,
        .version = question->version,
        .pkgarch = question->pkgarch,
        .checksum = question->checksum,
        .history = question->history,
    };

    write_request(lines, &request);
    request.kind = REQUEST_TEST_PR;
    write_request(lines, &request);
}

static void take_unsent(struct exchanges *exchanges, struct exchange *exchange)
{
    assert(exchanges->unsent_keys); /* what is unsent can be found by its key */
    TAILQ_REMOVE(&exchanges->unsent, exchange, link);
    HASH_DEL(exchanges->unsent_keys, exchange);
}

void exchanges_write(struct exchanges *exchanges, struct buffer *lines)
{
    struct exchange *exchange;

    while ((exchange = TAILQ_FIRST(&exchanges->unsent))) {
        take_unsent(exchanges, exchange);
        exchange->tries++;
        exchange->sent_us = clock_us();
        write_question(lines, STAILQ_FIRST(&exchange->questions));
        TAILQ_INSERT_TAIL(&exchanges->sent, exchange, link);
    }
}

/* ---- answers ---- */

/* Frees an exchange that is on no list any more; its questions live on. */
static void end_exchange(struct exchange *exchange, struct question_list *questions)
{
    STAILQ_CONCAT(questions, &exchange->questions);
    free(exchange->umax);
    free(exchange);
}

static void end_sent(
    struct exchanges *exchanges, struct exchange *exchange, struct question_list *questions)
{
    TAILQ_REMOVE(&exchanges->sent, exchange, link);
    end_exchange(exchange, questions);
}

/* Takes uval over, and what the exchange has. */
static void set_answers(struct exchange *exchange, char *uval)
{
    struct upstream_values *values = calloc(1, sizeof *values);
    struct upstream_question *question;

    STAILQ_FOREACH (question, &exchange->questions, link) {
        question->result = values ? 0 : error_set_memory(&question->error);
        question->values = values;
        if (!values)
            continue;
        values->holders++;
        question->umax = exchange->umax;
        question->uval = uval;
    }
    if (!values) {
        free(uval);
        return;
    }
    values->umax = exchange->umax;
    values->uval = uval;
    exchange->umax = NULL;
}

enum exchange_result exchanges_answer(struct exchanges *exchanges, struct text message,
    struct question_list *done, struct error *error)
{
    struct exchange *exchange = TAILQ_FIRST(&exchanges->sent);
    enum exchange_result answered = EXCHANGE_DONE;
    char *revision;
    int result;

    if (!exchange) {
        (void)error_set(error, ERROR_FRAMING, "it answered what was not asked");
        return EXCHANGE_LOST;
    }
    result = codec_read_value(message, CODEC_INTEGERS_REFUSED, &revision, error);
    if (result == ERROR_FRAMING) {
        end_sent(exchanges, exchange, done);
        return EXCHANGE_LOST;
    }
    if (result != 0) {
        exchange->result = result;
        exchange->error = *error;
    }
    if (!exchange->has_umax) {
        exchange->has_umax = true;
        exchange->umax = revision;
        return EXCHANGE_MORE;
    }
    histogram_add(&exchanges->round_trip_us, clock_us() - exchange->sent_us);
    if (exchange->result == 0) {
        set_answers(exchange, revision);
    } else {
        free(revision);
        *error = exchange->error;
        answered = EXCHANGE_REFUSED;
    }
    end_sent(exchanges, exchange, done);
    return answered;
}

/* ---- when the connection breaks ---- */

/* Makes it as if it had not been sent. */
static bool send_again(struct exchanges *exchanges, struct exchange *exchange)
{
    free(exchange->umax);
    exchange->umax = NULL;
    exchange->has_umax = false;
    exchange->result = 0;
    TAILQ_INSERT_HEAD(&exchanges->unsent, exchange, link);
    if (add_key(exchanges, exchange))
        return true;
    TAILQ_REMOVE(&exchanges->unsent, exchange, link);
    return false;
}

void exchanges_retry(
    struct exchanges *exchanges, unsigned most_tries, struct question_list *given_up)
{
    struct exchange *exchange;

    while ((exchange = TAILQ_LAST(&exchanges->sent, exchange_list))) {
        TAILQ_REMOVE(&exchanges->sent, exchange, link);
        if (exchange->tries >= most_tries || !send_again(exchanges, exchange))
            end_exchange(exchange, given_up);
    }
}

void exchanges_give_up(struct exchanges *exchanges, struct question_list *given_up)
{
    struct exchange *exchange;

    while ((exchange = TAILQ_FIRST(&exchanges->sent)))
        end_sent(exchanges, exchange, given_up);
    while ((exchange = TAILQ_FIRST(&exchanges->unsent))) {
        take_unsent(exchanges, exchange);
        end_exchange(exchange, given_up);
    }
}

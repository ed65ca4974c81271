/* SPDX-License-Identifier: MIT */
#include "upstream/upstream_requests.h"

#include "base/clock.h"

#include <assert.h>
#include <stdlib.h>

enum upstream_request_state { UNSENT, SUSPECT, SENT, CHECK };

struct upstream_request {
    struct map_entry unsent_key; /* in unsent_keys, while it is not sent */
    TAILQ_ENTRY(upstream_request) entry;
    enum upstream_request_state state;
    struct upstream_question_list
        questions; /* all equal; empty: nobody wants the answer any more */
    uint64_t sent_us;
    unsigned n_breaks; /* how many connections broke while it was under way */
    bool has_umax;     /* whether max-package-pr is answered; test-pr comes next */
    char *umax;        /* its answer; owned */
    int result;        /* 0, or of the message that was refused, with error */
    struct error error;
};

void upstream_requests_init(struct upstream_requests *requests)
{
    memset(requests, 0, sizeof *requests);
    TAILQ_INIT(&requests->unsent);
    TAILQ_INIT(&requests->suspects);
}

void upstream_requests_deinit(struct upstream_requests *requests)
{
    map_clear(&requests->unsent_keys, free);
    buffer_free(&requests->key);
}

/* ---- lists ---- */

static void upstream_requests_free(struct upstream_request *request)
{
    free(request->umax);
    free(request);
}

/* Frees a request that is in no list any more, and moves its questions to ended. */
static void upstream_requests_end(
    struct upstream_request *request, struct upstream_question_list *ended)
{
    struct upstream_question *question;

    TAILQ_FOREACH (question, &request->questions, entry)
        question->request = NULL;
    TAILQ_CONCAT(ended, &request->questions, entry);
    upstream_requests_free(request);
}

/* Takes a request that is not sent out of its list. */
static void upstream_requests_remove_unsent(
    struct upstream_requests *requests, struct upstream_request *request)
{
    assert(request->state == UNSENT || request->state == SUSPECT);
    TAILQ_REMOVE(
        request->state == UNSENT ? &requests->unsent : &requests->suspects, request, entry);
    map_remove(&requests->unsent_keys, &request->unsent_key);
}

/* Forgets the answer to the first message, and frees a request that nobody wants answered. Returns
 * whether it can be sent again. */
static bool upstream_requests_reset(struct upstream_request *request)
{
    if (TAILQ_EMPTY(&request->questions)) {
        upstream_requests_free(request);
        return false;
    }
    free(request->umax);
    request->umax = NULL;
    request->has_umax = false;
    request->result = 0;
    return true;
}

/* ---- questions ---- */

static void upstream_requests_make_key(struct buffer *key, const struct upstream_question *question)
{
    buffer_reset(key, 4096);
    buffer_append(key, question->history ? "h" : "n", 1);
    buffer_append(key, (const char *)&question->version.length, sizeof question->version.length);
    buffer_append(key, (const char *)&question->pkgarch.length, sizeof question->pkgarch.length);
    buffer_append_text(key, question->version);
    buffer_append_text(key, question->pkgarch);
    buffer_append_text(key, question->checksum);
}

int upstream_requests_add(struct upstream_requests *requests, struct upstream_question *question)
{
    struct upstream_request *request = NULL;

    upstream_requests_make_key(&requests->key, question);
    if (!buffer_failed(&requests->key))
        request =
            map_find_or_add(&requests->unsent_keys, buffer_text(&requests->key), sizeof *request);
    if (!request)
        return ERROR_MEMORY;
    if (TAILQ_EMPTY(&request->questions)) { /* it is new */
        TAILQ_INIT(&request->questions);
        TAILQ_INSERT_TAIL(&requests->unsent, request, entry);
    }
    TAILQ_INSERT_TAIL(&request->questions, question, entry);
    question->request = request;
    return 0;
}

void upstream_requests_remove(
    struct upstream_requests *requests, struct upstream_question *question)
{
    struct upstream_request *request = question->request;

    question->request = NULL;
    TAILQ_REMOVE(&request->questions, question, entry);
    if (request->state == SENT || !TAILQ_EMPTY(&request->questions))
        return;
    upstream_requests_remove_unsent(requests, request);
    upstream_requests_free(request);
}

void upstream_requests_take_if(struct upstream_requests *requests,
    struct upstream_request_list *list,
    bool (*wants)(struct upstream_question *question, void *context), void *context,
    struct upstream_question_list *ended)
{
    struct upstream_request *request, *next_request;
    struct upstream_question *question, *next;

    for (request = TAILQ_FIRST(list); request; request = next_request) {
        next_request = TAILQ_NEXT(request, entry);
        for (question = TAILQ_FIRST(&request->questions); question; question = next) {
            next = TAILQ_NEXT(question, entry);
            if (!wants(question, context))
                continue;
            upstream_requests_remove(requests, question);
            TAILQ_INSERT_TAIL(ended, question, entry);
        }
    }
}

void upstream_requests_end_all(
    struct upstream_requests *requests, struct upstream_question_list *ended)
{
    struct upstream_request *request;

    while ((request = TAILQ_FIRST(&requests->suspects)) ||
           (request = TAILQ_FIRST(&requests->unsent))) {
        upstream_requests_remove_unsent(requests, request);
        upstream_requests_end(request, ended);
    }
}

unsigned upstream_requests_count(const struct upstream_request_list *list, unsigned most)
{
    const struct upstream_request *request;
    unsigned n = 0;

    TAILQ_FOREACH (request, list, entry) {
        if (n++ == most)
            return most;
    }
    return n;
}

bool upstream_requests_have_questions(const struct upstream_request_list *list)
{
    const struct upstream_request *request;

    TAILQ_FOREACH (request, list, entry) {
        if (!TAILQ_EMPTY(&request->questions))
            return true;
    }
    return false;
}

/* ---- sending ---- */

static void upstream_requests_write_question(
    struct buffer *lines, const struct upstream_question *question)
{
    struct request request = {
        .kind = REQUEST_MAX_PACKAGE_PR,
        .version = question->version,
        .pkgarch = question->pkgarch,
        .checksum = question->checksum,
        .history = question->history,
    };

    codec_write_message(lines, &request);
    request.kind = REQUEST_TEST_PR;
    codec_write_message(lines, &request);
}

static void upstream_requests_send(struct upstream_requests *requests,
    struct upstream_request *request, struct upstream_request_list *sent, struct buffer *lines)
{
    upstream_requests_remove_unsent(requests, request);
    request->state = SENT;
    request->sent_us = clock_us();
    upstream_requests_write_question(lines, TAILQ_FIRST(&request->questions));
    TAILQ_INSERT_TAIL(sent, request, entry);
}

void upstream_requests_write(
    struct upstream_requests *requests, struct upstream_request_list *sent, struct buffer *lines)
{
    struct upstream_request *request;

    while ((request = TAILQ_FIRST(&requests->unsent)))
        upstream_requests_send(requests, request, sent, lines);
}

void upstream_requests_write_suspect(
    struct upstream_requests *requests, struct upstream_request_list *sent, struct buffer *lines)
{
    upstream_requests_send(requests, TAILQ_FIRST(&requests->suspects), sent, lines);
}

int upstream_requests_write_check(struct upstream_request_list *sent, struct buffer *lines)
{
    const struct request request = {.kind = REQUEST_IS_READONLY};
    struct upstream_request *check = calloc(1, sizeof *check);

    if (!check)
        return ERROR_MEMORY;
    check->state = CHECK;
    TAILQ_INIT(&check->questions);
    codec_write_message(lines, &request);
    TAILQ_INSERT_TAIL(sent, check, entry);
    return 0;
}

/* ---- answers ---- */

/* Ends a request whose two messages are answered, the second one with uval (taken over). */
static enum upstream_request_result upstream_requests_complete(struct upstream_requests *requests,
    struct upstream_request *request, char *uval, struct upstream_answer *answer)
{
    const uint64_t round_trip_us = clock_us() - request->sent_us;
    enum upstream_request_result result = UPSTREAM_REQUEST_DONE;

    histogram_add(&requests->round_trip_us, round_trip_us);
    metric_histogram_add(&requests->round_trips, METRIC_DURATION, round_trip_us);
    if (request->result == 0) {
        upstream_question_answer_all(&request->questions, request->umax, uval);
        request->umax = NULL;
    } else {
        free(uval);
        answer->error = request->error;
        result = UPSTREAM_REQUEST_REFUSED;
    }
    upstream_requests_end(request, &answer->ended);
    return result;
}

/* Reads an answer with a revision. */
static int upstream_requests_read_value(
    const struct text *message, char **revision, struct error *error)
{
    int result = ERROR_INPUT;

    *revision = NULL;
    if (message) {
        result = codec_read_value(*message, CODEC_INTEGERS_REFUSED, revision, error);
        if (result != 0 || !*revision || strlen(*revision) <= UPSTREAM_REVISION_BYTES)
            return result;
    }
    free(*revision);
    *revision = NULL;
    return error_set(error, ERROR_INPUT, "it answered with a revision of more than %zu KiB",
        UPSTREAM_REVISION_BYTES / 1024);
}

/* A server that refuses is-readonly is not one of ours: it says nothing about itself. */
static enum upstream_request_result upstream_requests_take_check(
    struct upstream_request *check, const struct text *message, struct upstream_answer *answer)
{
    const struct text empty = {.bytes = "", .length = 0};
    int result = codec_read_peer(message ? *message : empty, &answer->peer, &answer->error);

    upstream_requests_free(check);
    return result == ERROR_FRAMING ? UPSTREAM_REQUEST_LOST : UPSTREAM_REQUEST_CHECKED;
}

enum upstream_request_result upstream_requests_take_answer(struct upstream_requests *requests,
    struct upstream_request_list *sent, const struct text *message, struct upstream_answer *answer)
{
    struct upstream_request *request = TAILQ_FIRST(sent);
    char *revision;
    int result;

    TAILQ_INIT(&answer->ended);
    if (!request) {
        (void)error_set(&answer->error, ERROR_FRAMING, "it sent an answer without a request");
        return UPSTREAM_REQUEST_LOST;
    }
    if (request->state == CHECK) {
        TAILQ_REMOVE(sent, request, entry);
        return upstream_requests_take_check(request, message, answer);
    }
    result = upstream_requests_read_value(message, &revision, &answer->error);
    if (result == ERROR_FRAMING) {
        TAILQ_REMOVE(sent, request, entry);
        upstream_requests_end(request, &answer->ended);
        return UPSTREAM_REQUEST_LOST;
    }
    if (result != 0) {
        request->result = result;
        request->error = answer->error;
    }
    if (request->has_umax) {
        TAILQ_REMOVE(sent, request, entry);
        return upstream_requests_complete(requests, request, revision, answer);
    }
    request->has_umax = true;
    request->umax = revision;
    return UPSTREAM_REQUEST_MORE;
}

/* ---- when a connection ends ---- */

const struct error *upstream_requests_refusal(const struct upstream_request_list *sent)
{
    const struct upstream_request *request = TAILQ_FIRST(sent);

    return request && request->result != 0 ? &request->error : NULL;
}

void upstream_requests_end_first(
    struct upstream_request_list *sent, struct upstream_question_list *ended)
{
    struct upstream_request *request = TAILQ_FIRST(sent);

    if (!request)
        return;
    TAILQ_REMOVE(sent, request, entry);
    upstream_requests_end(request, ended);
}

void upstream_requests_break(struct upstream_requests *requests, struct upstream_request_list *sent,
    unsigned max_breaks, struct upstream_question_list *ended)
{
    struct upstream_request *request;

    while ((request = TAILQ_FIRST(sent))) {
        TAILQ_REMOVE(sent, request, entry);
        if (++request->n_breaks >= max_breaks) {
            upstream_requests_end(request, ended);
        } else if (upstream_requests_reset(request)) {
            request->state = SUSPECT;
            map_put_back(&requests->unsent_keys, &request->unsent_key);
            TAILQ_INSERT_TAIL(&requests->suspects, request, entry);
        }
    }
}

void upstream_requests_requeue(
    struct upstream_requests *requests, struct upstream_request_list *sent, bool keep_first)
{
    const struct upstream_request *first = keep_first ? TAILQ_FIRST(sent) : NULL;
    struct upstream_request *request;

    while ((request = TAILQ_LAST(sent, upstream_request_list)) && request != first) {
        TAILQ_REMOVE(sent, request, entry);
        if (!upstream_requests_reset(request))
            continue;
        request->state = UNSENT;
        map_put_back(&requests->unsent_keys, &request->unsent_key);
        TAILQ_INSERT_HEAD(&requests->unsent, request, entry);
    }
}

void upstream_requests_clear(struct upstream_request_list *sent)
{
    struct upstream_request *request;

    while ((request = TAILQ_FIRST(sent))) {
        assert(TAILQ_EMPTY(&request->questions));
        TAILQ_REMOVE(sent, request, entry);
        upstream_requests_free(request);
    }
}

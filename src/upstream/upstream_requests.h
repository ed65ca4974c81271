/* SPDX-License-Identifier: MIT */
/* The requests to an upstream: what is sent for the questions, and which answer belongs to which of
 * them. No I/O.
 *
 *                  upstream_requests_write
 *     unsent ──────────────────────────────────→ sent on a connection ──answered──→ ended
 *        ↑  upstream_requests_requeue             │  ↑
 *        └────────────────────────────────────────┤  │ upstream_requests_write_suspect
 *                                                 ↓  │
 *              the connection broke ───────────→ suspects ──broke too often──→ ended
 *
 * A request is two messages, max-package-pr and test-pr, and asks for one or more questions: equal
 * questions share a request until it is sent. On each connection, answers come in the order in
 * which the requests were sent. A request that was under way when a connection broke may be the
 * reason: it becomes a suspect, which is sent on a connection of its own. A check is a request
 * without questions: is-readonly, by which the upstream says what it is. */
#ifndef PRSERVD_UPSTREAM_REQUESTS_H
#define PRSERVD_UPSTREAM_REQUESTS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/histogram.h"
#include "base/map.h"
#include "base/metric.h"
#include "base/text.h"
#include "upstream/upstream_question.h"
#include "wire/codec.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define UPSTREAM_REVISION_BYTES ((size_t)256 * 1024) /* a longer one fails its question */

TAILQ_HEAD(upstream_request_list, upstream_request);

struct upstream_requests {
    struct upstream_request_list unsent;
    struct upstream_request_list suspects; /* unsent too */
    struct map unsent_keys;                /* both, by their questions */
    struct buffer key;                     /* scratch for the key of a question */
    struct histogram round_trip_us;        /* of the requests that were answered */
    struct metric_histogram round_trips;   /* the same, for any thread */
};

void upstream_requests_init(struct upstream_requests *requests);

/* Frees what upstream_requests_init and the questions used; no request may be left. */
void upstream_requests_deinit(struct upstream_requests *requests);

/* ---- questions ---- */

/* Adds a question. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int upstream_requests_add(
    struct upstream_requests *requests, struct upstream_question *question);

/* Removes a question that was added and has not ended. An unsent request ends with its last
 * question; one that was sent goes on, because its answer comes. */
void upstream_requests_remove(
    struct upstream_requests *requests, struct upstream_question *question);

/* Removes the questions of a list of requests for which wants returns true, and moves them to
 * ended. */
void upstream_requests_take_if(struct upstream_requests *requests,
    struct upstream_request_list *list,
    bool (*wants)(struct upstream_question *question, void *context), void *context,
    struct upstream_question_list *ended);

/* Ends all unsent requests and suspects, and moves their questions to ended. */
void upstream_requests_end_all(
    struct upstream_requests *requests, struct upstream_question_list *ended);

static inline bool upstream_requests_have_unsent(const struct upstream_requests *requests)
{
    return !TAILQ_EMPTY(&requests->unsent);
}

static inline bool upstream_requests_have_suspects(const struct upstream_requests *requests)
{
    return !TAILQ_EMPTY(&requests->suspects);
}

/* Counts the requests of a list, up to most. */
unsigned upstream_requests_count(const struct upstream_request_list *list, unsigned most);

/* Returns whether any request of a list has a question. */
bool upstream_requests_have_questions(const struct upstream_request_list *list);

/* ---- sending ---- */

/* Append messages to lines, and the requests to sent, the list of a connection: those of all
 * unsent requests; of one suspect; of a check (which may fail with ERROR_MEMORY). */
void upstream_requests_write(
    struct upstream_requests *requests, struct upstream_request_list *sent, struct buffer *lines);
void upstream_requests_write_suspect(
    struct upstream_requests *requests, struct upstream_request_list *sent, struct buffer *lines);
ERROR_MUST_CHECK int upstream_requests_write_check(
    struct upstream_request_list *sent, struct buffer *lines);

/* ---- answers ---- */

enum upstream_request_result {
    UPSTREAM_REQUEST_MORE,    /* the other message of the request is not answered yet */
    UPSTREAM_REQUEST_DONE,    /* the request is answered; its questions have their results */
    UPSTREAM_REQUEST_REFUSED, /* the upstream refused the request; error says why */
    UPSTREAM_REQUEST_CHECKED, /* a check is answered: peer */
    UPSTREAM_REQUEST_LOST,    /* not an answer: error says why; the connection can't be trusted */
};

struct upstream_answer {
    struct upstream_question_list ended; /* the questions of a request that this ended */
    struct error error;
    struct codec_peer peer;
};

/* Takes the next message of a connection, NULL: one that was too long. With UPSTREAM_REQUEST_LOST,
 * the questions of the connection's oldest request end, if there is one. */
ERROR_MUST_CHECK enum upstream_request_result upstream_requests_take_answer(
    struct upstream_requests *requests, struct upstream_request_list *sent,
    const struct text *message, struct upstream_answer *answer);

/* ---- when a connection ends ---- */

/* Returns the upstream's refusal of the first message of the oldest request; NULL: none. */
const struct error *upstream_requests_refusal(const struct upstream_request_list *sent);

/* Ends the oldest request of a connection, if there is one. */
void upstream_requests_end_first(
    struct upstream_request_list *sent, struct upstream_question_list *ended);

/* Makes the requests of a connection that broke suspects, in their order. Ends those for which this
 * is the max_breaks-th time, and moves their questions to ended. */
void upstream_requests_break(struct upstream_requests *requests, struct upstream_request_list *sent,
    unsigned max_breaks, struct upstream_question_list *ended);

/* Makes the requests of a connection that is given up unsent again, in their order; those behind
 * the first, or all. They are not suspects. */
void upstream_requests_requeue(
    struct upstream_requests *requests, struct upstream_request_list *sent, bool keep_first);

/* Frees the requests of a connection; they have no questions. */
void upstream_requests_clear(struct upstream_request_list *sent);

#endif

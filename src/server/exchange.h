/* What is asked of an upstream, and what is answered, question by question.
 *
 * An exchange is what is sent: max-package-pr and test-pr, together. Questions that are
 * the same share one, as long as it has not been sent. Answers come in the order in
 * which exchanges were sent. No I/O. */
#ifndef PRSERVD_EXCHANGE_H
#define PRSERVD_EXCHANGE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/histogram.h"
#include "base/text.h"
#include "server/upstream.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

STAILQ_HEAD(question_list, upstream_question);

struct exchange;
TAILQ_HEAD(exchange_list, exchange);

struct exchanges {
    struct exchange_list unsent;
    struct exchange *unsent_keys;
    struct exchange_list sent;
    struct buffer key;
    struct histogram round_trip_us; /* of those that were answered */
};

void exchanges_init(struct exchanges *exchanges);
/* Only when nothing is asked. */
void exchanges_free(struct exchanges *exchanges);

/* Adds a question. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int exchanges_add(struct exchanges *exchanges, struct upstream_question *question);

bool exchanges_have_unsent(const struct exchanges *exchanges);

/* When the oldest was asked (clock_ms); 0: nothing is asked. */
uint64_t exchanges_oldest_ms(const struct exchanges *exchanges);

/* Appends what is to be sent for everything that was not; it counts as sent then. */
void exchanges_write(struct exchanges *exchanges, struct buffer *lines);

enum exchange_result {
    EXCHANGE_MORE,    /* the exchange is not complete */
    EXCHANGE_DONE,    /* done holds its questions; their results are set */
    EXCHANGE_REFUSED, /* done holds its questions; error says why they have no answer */
    EXCHANGE_LOST,    /* no answer at all: error says what is wrong; the rest can't be
                         trusted either; done holds the questions of the first exchange */
};

/* Takes the next message that came. */
ERROR_MUST_CHECK enum exchange_result exchanges_answer(struct exchanges *exchanges,
    struct text message, struct question_list *done, struct error *error);

/* The connection broke: what was sent is to be sent again; what was sent most_tries
 * times already is given up, and its questions go to given_up. */
void exchanges_retry(
    struct exchanges *exchanges, unsigned most_tries, struct question_list *given_up);

/* Moves every question to given_up. */
void exchanges_give_up(struct exchanges *exchanges, struct question_list *given_up);

#endif

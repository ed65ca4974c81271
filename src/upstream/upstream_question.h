/* SPDX-License-Identifier: MIT */
/* A question to the upstream about one get-pr, and its answer. On the loop's thread. */
#ifndef PRSERVD_UPSTREAM_QUESTION_H
#define PRSERVD_UPSTREAM_QUESTION_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* The values of one answer, shared by all questions that were equal. */
struct upstream_values;

struct upstream_request;

/* The asker owns the question, and keeps it until done is called or the question is cancelled. */
struct upstream_question {
    struct text version; /* borrowed until done, like the other two */
    struct text pkgarch;
    struct text checksum;
    bool history;
    uint64_t arrived_ms; /* when its get-pr arrived (clock_ms): its patience starts there */
    bool is_cancelled;   /* set by the asker: it does not wait for an upstream that is away */

    int result;         /* 0, or ERROR_UPSTREAM with its reason in error */
    struct error error; /* names the upstream */
    bool may_wait;      /* with an error: upstream_ask_again, if nothing else helps */
    const char *umax;   /* greatest value of the package, or NULL; valid until released */
    const char *uval;   /* the checksum's value, or NULL; valid until released */
    struct upstream_values *values; /* what umax and uval are borrowed from; NULL: nothing */

    void (*done)(struct upstream_question *question, void *context);
    void *context;

    /* the upstream's */
    struct upstream_request *request; /* the request that asks it; NULL: none does */
    bool is_needed;                   /* only the upstream's answer helps */
    bool is_counted;                  /* it failed, and the lines of the outage count that */
    bool has_waited;                  /* it was counted as one that waits in an outage */
    TAILQ_ENTRY(upstream_question) entry;
};

TAILQ_HEAD(upstream_question_list, upstream_question);

/* Answers all questions of the list with the same values; takes the two strings over. Without
 * memory their result is ERROR_MEMORY. */
void upstream_question_answer_all(struct upstream_question_list *questions, char *umax, char *uval);

/* Gives the answer's values back. */
void upstream_question_release(struct upstream_question *question);

#endif

/* SPDX-License-Identifier: MIT */
#include "upstream/upstream_question.h"

#include <stdlib.h>

struct upstream_values {
    unsigned n_holders; /* questions that have not released them */
    char *umax;
    char *uval;
};

void upstream_question_answer_all(struct upstream_question_list *questions, char *umax, char *uval)
{
    struct upstream_values *values = TAILQ_EMPTY(questions) ? NULL : calloc(1, sizeof *values);
    struct upstream_question *question;

    if (values) {
        *values = (struct upstream_values){.umax = umax, .uval = uval};
    } else {
        free(umax);
        free(uval);
    }
    TAILQ_FOREACH (question, questions, entry) {
        question->values = values;
        if (!values) {
            question->result = error_set_memory(&question->error);
            continue;
        }
        values->n_holders++;
        question->result = 0;
        question->umax = values->umax;
        question->uval = values->uval;
    }
}

void upstream_question_release(struct upstream_question *question)
{
    struct upstream_values *values = question->values;

    question->values = NULL;
    question->umax = question->uval = NULL;
    if (!values || --values->n_holders > 0)
        return;
    free(values->umax);
    free(values->uval);
    free(values);
}

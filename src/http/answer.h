/* SPDX-License-Identifier: MIT */
/* The answer to an HTTP request, before it is sent. */
#ifndef PRSERVD_ANSWER_H
#define PRSERVD_ANSWER_H

#include "base/buffer.h"
#include "base/error.h"
#include "http/page.h"

struct http_answer {
    unsigned status;
    const char *content_type; /* a literal */
    struct buffer body;       /* owned */
    const struct page_file
        *file; /* the body instead, compressed if the client takes that; or NULL */
    bool takes_gzip;
};

#define ANSWER_JSON "application/json"
#define ANSWER_TEXT "text/plain; charset=utf-8"

/* Makes an answer with an empty body; what the answer held is freed. */
void answer_begin(struct http_answer *answer, unsigned status, const char *content_type);

/* Makes an error: {"error": "…"}. */
void answer_set_error(struct http_answer *answer, unsigned status, const char *text);

/* Makes an error of what a function has returned. */
void answer_set_failure(struct http_answer *answer, int code, const struct error *error);

void answer_free(struct http_answer *answer);

#endif

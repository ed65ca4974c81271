/* SPDX-License-Identifier: MIT */
#include "http/answer.h"

#include "wire/codec.h"

void answer_begin(struct http_answer *answer, unsigned status, const char *content_type)
{
    buffer_reset(&answer->body, 0);
    answer->file = NULL;
    answer->status = status;
    answer->content_type = content_type;
}

void answer_set_error(struct http_answer *answer, unsigned status, const char *text)
{
    answer_begin(answer, status, ANSWER_JSON);
    buffer_append_string(&answer->body, "{\"error\":");
    codec_write_string(&answer->body, text_of(text));
    buffer_append_string(&answer->body, "}\n");
}

void answer_set_failure(struct http_answer *answer, int code, const struct error *error)
{
    switch (code) {
    case ERROR_INPUT:
        answer_set_error(answer, 400, error->text);
        break;
    case ERROR_LOCKED:
    case ERROR_MEMORY:
    case ERROR_UPSTREAM:
        answer_set_error(answer, 503, error->text);
        break;
    default:
        answer_set_error(answer, 500, error->text);
        break;
    }
}

void answer_free(struct http_answer *answer)
{
    buffer_free(&answer->body);
}

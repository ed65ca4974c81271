/* SPDX-License-Identifier: MIT */
#include "upstream_requests_fixture.h"

int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    upstream_requests_init(&fixture.requests);
    TAILQ_INIT(&fixture.sent);
    TAILQ_INIT(&fixture.solitary);
    TAILQ_INIT(&fixture.ended);
    *state = &fixture;
    return 0;
}

int tear_down(void **state)
{
    struct fixture *fixture = *state;

    upstream_requests_requeue(&fixture->requests, &fixture->sent, false);
    upstream_requests_requeue(&fixture->requests, &fixture->solitary, false);
    upstream_requests_end_all(&fixture->requests, &fixture->ended);
    for (size_t i = 0; i < COUNT(fixture->questions); i++)
        upstream_question_release(&fixture->questions[i]);
    upstream_requests_deinit(&fixture->requests);
    buffer_free(&fixture->lines);
    return 0;
}

void ask_with_history(struct fixture *fixture, size_t which, const char *checksum, bool history)
{
    struct upstream_question *question = &fixture->questions[which];

    *question = (struct upstream_question){
        .version = text_of("v"),
        .pkgarch = text_of("a"),
        .checksum = text_of(checksum),
        .history = history,
        .result = 1,
    };
    assert_int_equal(upstream_requests_add(&fixture->requests, question), 0);
}

void ask(struct fixture *fixture, size_t which, const char *checksum)
{
    ask_with_history(fixture, which, checksum, false);
}

void assert_sends(struct fixture *fixture, const char *expected)
{
    buffer_reset(&fixture->lines, 0);
    upstream_requests_write(&fixture->requests, &fixture->sent, &fixture->lines);
    assert_false(buffer_failed(&fixture->lines));
    assert_text_is(buffer_text(&fixture->lines), expected);
    assert_false(upstream_requests_have_unsent(&fixture->requests));
}

enum upstream_request_result answer_on(
    struct fixture *fixture, struct upstream_request_list *sent, const char *message)
{
    const struct text text = text_of(message ? message : "");
    enum upstream_request_result result = upstream_requests_take_answer(
        &fixture->requests, sent, message ? &text : NULL, &fixture->answer);

    TAILQ_CONCAT(&fixture->ended, &fixture->answer.ended, entry);
    return result;
}

enum upstream_request_result answer(struct fixture *fixture, const char *message)
{
    return answer_on(fixture, &fixture->sent, message);
}

void break_connection(struct fixture *fixture, struct upstream_request_list *sent)
{
    upstream_requests_break(&fixture->requests, sent, MAX_BREAKS, &fixture->ended);
    assert_true(TAILQ_EMPTY(sent));
}

void assert_sends_suspect(struct fixture *fixture, const char *expected)
{
    buffer_reset(&fixture->lines, 0);
    upstream_requests_write_suspect(&fixture->requests, &fixture->solitary, &fixture->lines);
    assert_text_is(buffer_text(&fixture->lines), expected);
}

void assert_ended(struct fixture *fixture, size_t which)
{
    assert_ptr_equal(TAILQ_FIRST(&fixture->ended), &fixture->questions[which]);
    assert_null(fixture->questions[which].request);
    TAILQ_REMOVE(&fixture->ended, &fixture->questions[which], entry);
}

void assert_none_ended(const struct fixture *fixture)
{
    assert_true(TAILQ_EMPTY(&fixture->ended));
}

void assert_has(const struct fixture *fixture, size_t which, const char *umax, const char *uval)
{
    const struct upstream_question *question = &fixture->questions[which];

    assert_int_equal(question->result, 0);
    assert_string_equal(question->umax ? question->umax : "none", umax);
    assert_string_equal(question->uval ? question->uval : "none", uval);
}

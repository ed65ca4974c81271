/* SPDX-License-Identifier: MIT */
/* Requests to an upstream whose connection breaks, is silent, or sends what is not an answer. */
#include "upstream_requests_fixture.h"

/* ---- lost connections ---- */

static void what_is_not_an_answer_ends_the_oldest_request(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask(fixture, 1, "d");
    upstream_requests_write(&fixture->requests, &fixture->sent, &fixture->lines);
    assert_int_equal(answer(fixture, "<html>"), UPSTREAM_REQUEST_LOST);
    assert_true(fixture->answer.error.text[0] != '\0');
    assert_ended(fixture, 0);
    assert_none_ended(fixture);
}

static void an_answer_without_a_request_is_lost(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c"); /* not sent */
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_LOST);
    assert_says(&fixture->answer.error, "without a request");
    assert_none_ended(fixture);
}

static void after_a_break_each_request_is_sent_alone(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask(fixture, 1, "d");
    assert_sends(fixture, LINES("c") LINES("d"));
    assert_int_equal(answer(fixture, REVISION("9")), UPSTREAM_REQUEST_MORE); /* half of the first */
    ask(fixture, 2, "e");
    break_connection(fixture, &fixture->sent);
    assert_none_ended(fixture);
    assert_int_equal(upstream_requests_count(&fixture->requests.suspects, 9), 2);
    assert_int_equal(upstream_requests_count(&fixture->requests.suspects, 1), 1);
    assert_sends(fixture, LINES("e"));
    assert_sends_suspect(fixture, LINES("c"));
    assert_int_equal(answer_on(fixture, &fixture->solitary, REVISION("4")), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer_on(fixture, &fixture->solitary, REVISION("3")), UPSTREAM_REQUEST_DONE);
    assert_ended(fixture, 0);
    assert_has(fixture, 0, "4", "3");
    assert_sends_suspect(fixture, LINES("d"));
    assert_false(upstream_requests_have_suspects(&fixture->requests));
}

static void a_break_forgets_half_of_a_refusal(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    assert_sends(fixture, LINES("c"));
    assert_null(upstream_requests_refusal(&fixture->sent));
    assert_int_equal(answer(fixture, REFUSAL), UPSTREAM_REQUEST_MORE);
    assert_says(upstream_requests_refusal(&fixture->sent), "no such luck");
    break_connection(fixture, &fixture->sent);
    assert_sends_suspect(fixture, LINES("c"));
    assert_int_equal(answer_on(fixture, &fixture->solitary, REVISION("4")), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer_on(fixture, &fixture->solitary, REVISION("3")), UPSTREAM_REQUEST_DONE);
    assert_has(fixture, 0, "4", "3");
}

static void a_request_that_breaks_too_many_connections_ends(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    assert_sends(fixture, LINES("c"));
    break_connection(fixture, &fixture->sent);
    assert_none_ended(fixture);
    assert_sends_suspect(fixture, LINES("c"));
    break_connection(fixture, &fixture->solitary);
    assert_ended(fixture, 0);
    assert_false(upstream_requests_have_suspects(&fixture->requests));
}

static void a_question_joins_a_suspect(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    assert_sends(fixture, LINES("c"));
    break_connection(fixture, &fixture->sent);
    ask(fixture, 1, "c");
    assert_false(upstream_requests_have_unsent(&fixture->requests));
    assert_sends_suspect(fixture, LINES("c"));
}

static void the_first_request_can_be_ended(void **state)
{
    struct fixture *fixture = *state;

    upstream_requests_end_first(&fixture->sent, &fixture->ended);
    assert_none_ended(fixture);
    ask(fixture, 0, "c");
    ask(fixture, 1, "d");
    assert_sends(fixture, LINES("c") LINES("d"));
    upstream_requests_end_first(&fixture->sent, &fixture->ended);
    assert_ended(fixture, 0);
    assert_none_ended(fixture);
}

/* ---- connections that are given up ---- */

static void requests_behind_a_silent_one_are_sent_elsewhere(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask(fixture, 1, "d");
    ask(fixture, 2, "e");
    assert_sends(fixture, LINES("c") LINES("d") LINES("e"));
    ask(fixture, 3, "f");
    upstream_requests_requeue(&fixture->requests, &fixture->sent, true);
    assert_int_equal(upstream_requests_count(&fixture->sent, 9), 1);
    buffer_reset(&fixture->lines, 0);
    upstream_requests_write(&fixture->requests, &fixture->solitary, &fixture->lines);
    assert_text_is(buffer_text(&fixture->lines), LINES("d") LINES("e") LINES("f"));
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_DONE);
    assert_ended(fixture, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_not_an_answer_ends_the_oldest_request),
        TEST(an_answer_without_a_request_is_lost),
        TEST(after_a_break_each_request_is_sent_alone),
        TEST(a_break_forgets_half_of_a_refusal),
        TEST(a_request_that_breaks_too_many_connections_ends),
        TEST(a_question_joins_a_suspect),
        TEST(the_first_request_can_be_ended),
        TEST(requests_behind_a_silent_one_are_sent_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Requests to an upstream: what is sent, and which question gets which answer. */
#include "upstream_requests_fixture.h"

/* ---- order ---- */

static void each_question_gets_its_two_answers_in_order(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask(fixture, 1, "d");
    assert_sends(fixture, LINES("c") LINES("d"));
    assert_int_equal(answer(fixture, REVISION("4")), UPSTREAM_REQUEST_MORE);
    assert_none_ended(fixture);
    assert_int_equal(answer(fixture, REVISION("3")), UPSTREAM_REQUEST_DONE);
    assert_ended(fixture, 0);
    assert_none_ended(fixture);
    assert_has(fixture, 0, "4", "3");
    assert_int_equal(answer(fixture, REVISION("6")), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_DONE);
    assert_ended(fixture, 1);
    assert_has(fixture, 1, "6", "none");
    assert_int_equal(fixture->requests.round_trip_us.count, 2);
}

static void what_was_sent_is_not_sent_again(void **state)
{
    struct fixture *fixture = *state;

    assert_false(upstream_requests_have_unsent(&fixture->requests));
    ask(fixture, 0, "c");
    assert_true(upstream_requests_have_unsent(&fixture->requests));
    assert_sends(fixture, LINES("c"));
    assert_sends(fixture, "");
    ask(fixture, 1, "d");
    assert_sends(fixture, LINES("d"));
}

/* ---- sharing ---- */

static void equal_questions_share_a_request(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask(fixture, 1, "c");
    assert_sends(fixture, LINES("c"));
    assert_int_equal(answer(fixture, REVISION("4")), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, REVISION("3")), UPSTREAM_REQUEST_DONE);
    assert_ended(fixture, 0);
    assert_ended(fixture, 1);
    upstream_question_release(&fixture->questions[0]);
    assert_null(fixture->questions[0].umax);
    assert_has(fixture, 1, "4", "3"); /* still */
}

static void a_question_does_not_join_a_request_that_was_sent(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    assert_sends(fixture, LINES("c"));
    ask(fixture, 1, "c");
    assert_sends(fixture, LINES("c"));
    assert_int_equal(answer(fixture, REVISION("4")), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_DONE);
    assert_ended(fixture, 0);
    assert_none_ended(fixture);
}

static void questions_that_differ_share_nothing(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask_with_history(fixture, 1, "c", true);
    fixture->questions[2] = (struct upstream_question){
        .version = TEXT("va"), .pkgarch = TEXT("c"), .checksum = TEXT("")};
    fixture->questions[3] = (struct upstream_question){
        .version = TEXT("v"), .pkgarch = TEXT("ac"), .checksum = TEXT("")};
    for (size_t i = 2; i < 4; i++)
        assert_int_equal(upstream_requests_add(&fixture->requests, &fixture->questions[i]), 0);
    upstream_requests_write(&fixture->requests, &fixture->sent, &fixture->lines);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_MORE);
        assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_DONE);
        assert_ended(fixture, i);
        assert_none_ended(fixture);
    }
}

/* ---- refusals ---- */

static void a_refusal_of_either_message_refuses_the_request(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask(fixture, 1, "d");
    ask(fixture, 2, "e");
    upstream_requests_write(&fixture->requests, &fixture->sent, &fixture->lines);
    assert_int_equal(answer(fixture, REFUSAL), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, REVISION("3")), UPSTREAM_REQUEST_REFUSED);
    assert_says(&fixture->answer.error, "no such luck");
    assert_ended(fixture, 0);
    assert_null(fixture->questions[0].values);
    assert_int_equal(answer(fixture, REVISION("4")), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, REFUSAL), UPSTREAM_REQUEST_REFUSED);
    assert_ended(fixture, 1);
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_MORE); /* the third is not affected */
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_DONE);
    assert_ended(fixture, 2);
}

static void a_value_that_is_not_a_revision_is_refused(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    upstream_requests_write(&fixture->requests, &fixture->sent, &fixture->lines);
    assert_int_equal(answer(fixture, REVISION("1.x")), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_REFUSED);
    assert_ended(fixture, 0);
}

/* ---- checks ---- */

static void a_check_says_what_the_upstream_is(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(upstream_requests_write_check(&fixture->sent, &fixture->lines), 0);
    ask(fixture, 0, "c");
    upstream_requests_write(&fixture->requests, &fixture->sent, &fixture->lines);
    assert_text_is(buffer_text(&fixture->lines), CHECK LINES("c"));
    assert_int_equal(answer(fixture, "{\"readonly\":true,\"instances\":[\"a\",\"b\"],"
                                     "\"stale\":true}"),
        UPSTREAM_REQUEST_CHECKED);
    assert_true(fixture->answer.peer.is_read_only);
    assert_true(fixture->answer.peer.is_stale);
    assert_int_equal(fixture->answer.peer.instances.n, 2);
    assert_true(instances_contain(&fixture->answer.peer.instances, text_of("b")));
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_DONE);
    assert_ended(fixture, 0);
}

static void a_server_may_refuse_a_check(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(upstream_requests_write_check(&fixture->sent, &fixture->lines), 0);
    assert_int_equal(answer(fixture, REFUSAL), UPSTREAM_REQUEST_CHECKED);
    assert_int_equal(fixture->answer.peer.instances.n, 0);
    assert_int_equal(upstream_requests_write_check(&fixture->sent, &fixture->lines), 0);
    assert_int_equal(answer(fixture, "{\"odd\":1}"), UPSTREAM_REQUEST_LOST);
    assert_int_equal(upstream_requests_write_check(&fixture->sent, &fixture->lines), 0);
    break_connection(fixture, &fixture->sent);
    assert_false(upstream_requests_have_suspects(&fixture->requests));
}

/* ---- long answers ---- */

static void a_long_revision_refuses_its_request(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask(fixture, 1, "d");
    assert_sends(fixture, LINES("c") LINES("d"));
    assert_int_equal(answer(fixture, NULL), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, NONE), UPSTREAM_REQUEST_REFUSED);
    assert_says(&fixture->answer.error, "more than 256 KiB");
    assert_ended(fixture, 0);
    assert_int_equal(answer(fixture, REVISION("4")), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, REVISION("3")), UPSTREAM_REQUEST_DONE);
    assert_has(fixture, 1, "4", "3");
}

/* ---- questions that end early ---- */

static void an_unsent_request_ends_with_its_last_question(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask(fixture, 1, "c");
    upstream_requests_remove(&fixture->requests, &fixture->questions[0]);
    assert_null(fixture->questions[0].request);
    assert_true(upstream_requests_have_unsent(&fixture->requests));
    upstream_requests_remove(&fixture->requests, &fixture->questions[1]);
    assert_false(upstream_requests_have_unsent(&fixture->requests));
    ask(fixture, 2, "c");
    assert_sends(fixture, LINES("c"));
}

static void the_answer_to_nobody_is_skipped(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    ask(fixture, 1, "d");
    assert_sends(fixture, LINES("c") LINES("d"));
    upstream_requests_remove(&fixture->requests, &fixture->questions[0]);
    assert_true(upstream_requests_have_questions(&fixture->sent));
    assert_int_equal(answer(fixture, REVISION("9")), UPSTREAM_REQUEST_MORE);
    assert_int_equal(answer(fixture, REVISION("8")), UPSTREAM_REQUEST_DONE);
    assert_none_ended(fixture);
    upstream_requests_remove(&fixture->requests, &fixture->questions[1]);
    assert_false(upstream_requests_have_questions(&fixture->sent));
    break_connection(fixture, &fixture->sent);
    assert_false(upstream_requests_have_suspects(&fixture->requests));
}

static bool is_d(struct upstream_question *question, void *context)
{
    (void)context;
    return text_is(question->checksum, "d");
}

static void chosen_questions_can_be_taken(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "d");
    ask(fixture, 1, "c");
    ask(fixture, 2, "d");
    upstream_requests_take_if(
        &fixture->requests, &fixture->requests.unsent, is_d, NULL, &fixture->ended);
    assert_ended(fixture, 0);
    assert_ended(fixture, 2);
    assert_none_ended(fixture);
    assert_sends(fixture, LINES("c"));
}

static void all_questions_can_be_ended(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, 0, "c");
    assert_sends(fixture, LINES("c"));
    break_connection(fixture, &fixture->sent);
    ask(fixture, 1, "d");
    ask(fixture, 2, "d");
    upstream_requests_end_all(&fixture->requests, &fixture->ended);
    for (size_t i = 0; i < 3; i++)
        assert_ended(fixture, i);
    assert_none_ended(fixture);
    assert_false(upstream_requests_have_unsent(&fixture->requests));
    assert_false(upstream_requests_have_suspects(&fixture->requests));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_question_gets_its_two_answers_in_order),
        TEST(what_was_sent_is_not_sent_again),
        TEST(equal_questions_share_a_request),
        TEST(a_question_does_not_join_a_request_that_was_sent),
        TEST(questions_that_differ_share_nothing),
        TEST(a_refusal_of_either_message_refuses_the_request),
        TEST(a_value_that_is_not_a_revision_is_refused),
        TEST(a_check_says_what_the_upstream_is),
        TEST(a_server_may_refuse_a_check),
        TEST(a_long_revision_refuses_its_request),
        TEST(an_unsent_request_ends_with_its_last_question),
        TEST(the_answer_to_nobody_is_skipped),
        TEST(chosen_questions_can_be_taken),
        TEST(all_questions_can_be_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* A session below an upstream: when it asks, waits and goes on. */
#include "session_fixture.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- below an upstream ---- */

static void the_upstream_is_asked_about_all_at_once(void **state)
{
    struct fixture *fixture = *state;

    take_times(fixture, 3, GET_PR);
    assert_int_equal(fixture->upstream.n_questions, 3);
    assert_running(fixture, 0);
    answer_question(fixture, 1, strdup("5"), NULL);
    assert_running(fixture, 0); /* the first comes first */
    answer_question(fixture, 0, strdup("4"), strdup("3"));
    assert_running(fixture, 2);
    assert_int_equal(job(fixture, 0)->upstream, UPSTREAM_ASKED);
    assert_string_equal(job(fixture, 0)->umax, "4");
    assert_string_equal(job(fixture, 0)->uval, "3");
    assert_string_equal(job(fixture, 1)->umax, "5");
    assert_null(job(fixture, 1)->uval);
}

static void only_get_pr_asks_the_upstream(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, TEST_PR);
    take(fixture, MAX_PACKAGE_PR);
    take(fixture, TEST_PACKAGE);
    assert_int_equal(fixture->upstream.n_questions, 0);
    assert_running(fixture, 3);
}

static void without_the_upstream_the_executor_gets_the_reason(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR);
    end_question(fixture, 0, ERROR_UPSTREAM);
    assert_running(fixture, 1);
    assert_int_equal(job(fixture, 0)->upstream, UPSTREAM_UNKNOWN);
    assert_string_equal(job(fixture, 0)->upstream_reason, "it is away");
}

/* The upstream calls back: it is away for long, but may not be needed. */
static void end_question_for_now(struct fixture *fixture, size_t which)
{
    fixture->upstream.questions[which]->may_wait = true;
    end_question(fixture, which, ERROR_UPSTREAM);
}

static void end_job_that_needs_the_upstream(struct fixture *fixture, size_t which)
{
    job(fixture, which)->result =
        error_set(&job(fixture, which)->error, ERROR_UPSTREAM, "a new revision is needed");
    end_job(fixture, which);
}

static void what_needs_no_upstream_is_answered_while_it_is_away(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR);
    end_question_for_now(fixture, 0);
    end_job_with_value(fixture, 0, "3");
    assert_written(fixture, "{\"value\":\"3\"}\n");
    assert_int_equal(fixture->upstream.n_again, 0);
}

static void what_needs_the_upstream_goes_on_waiting(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR);
    take(fixture, TEST_PR); /* sees what the first one stores */
    end_question_for_now(fixture, 0);
    end_job_that_needs_the_upstream(fixture, 0);
    assert_written(fixture, "");
    assert_running(fixture, 0);
    assert_int_equal(fixture->upstream.n_again, 1);
    fixture->upstream.questions[0]->may_wait = false;
    answer_question(fixture, 0, strdup("4"), NULL);
    assert_running(fixture, 1);
    assert_int_equal(job(fixture, 0)->upstream, UPSTREAM_ASKED);
    end_job_with_value(fixture, 0, "4.0");
    assert_written(fixture, "{\"value\":\"4.0\"}\n");
    assert_running(fixture, 1);
    end_job_with_value(fixture, 0, "4.0");
    assert_written(fixture, "{\"value\":\"4.0\"}\n");
}

static void what_needs_the_upstream_gets_an_error_in_the_end(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR);
    end_question_for_now(fixture, 0);
    end_job_that_needs_the_upstream(fixture, 0);
    fixture->upstream.questions[0]->may_wait = false;
    end_question(fixture, 0, ERROR_UPSTREAM);
    end_job_that_needs_the_upstream(fixture, 0);
    assert_written(fixture, "{\"invoke-error\":{\"message\":\"a new revision is needed\"}}\n");
    assert_int_equal(fixture->upstream.n_again, 1);
}

static void closing_asks_nothing_again(void **state)
{
    struct fixture *fixture = *state;

    take_times(fixture, 2, GET_PR);
    end_question_for_now(fixture, 0);
    end_question_for_now(fixture, 0);
    end_job_that_needs_the_upstream(fixture, 0);
    close_session(fixture);
    assert_int_equal(fixture->upstream.n_questions, 0); /* the first is cancelled */
    end_job_that_needs_the_upstream(fixture, 0);
    assert_int_equal(fixture->upstream.n_again, 1);
    assert_int_equal(budget_used(&fixture->budget), 0);
}

static void a_server_says_which_databases_are_above_it(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, "{\"is-readonly\": {}}");
    assert_written(fixture, "{\"readonly\":false,\"instances\":[\"own\",\"above\"]}\n");
}

static void with_history_the_database_is_asked_first(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR_HISTORY);
    assert_running(fixture, 1);
    assert_int_equal(job(fixture, 0)->kind, JOB_LOOK);
    assert_int_equal(job(fixture, 0)->request->kind, REQUEST_TEST_PR);
    end_job(fixture, 0); /* not known */
    assert_running(fixture, 0);
    answer_question(fixture, 0, strdup("4"), NULL);
    assert_int_equal(job(fixture, 0)->kind, JOB_DECIDE);
    assert_int_equal(job(fixture, 0)->request->kind, REQUEST_GET_PR);
    end_job_with_value(fixture, 0, "4.0");
    assert_written(fixture, "{\"value\":\"4.0\"}\n");
}

static void what_the_database_knows_is_not_asked_of_the_upstream(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR_HISTORY);
    end_job_with_value(fixture, 0, "3");
    assert_int_equal(fixture->upstream.n_questions, 0);
    assert_running(fixture, 1);
    assert_int_equal(job(fixture, 0)->kind, JOB_DECIDE);
    assert_int_equal(job(fixture, 0)->upstream, UPSTREAM_UNKNOWN);
    assert_null(job(fixture, 0)->value);
}

static void an_error_of_the_database_is_the_answer(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR_HISTORY);
    end_job_with_error(fixture, 0, "the database is locked");
    assert_int_equal(fixture->upstream.n_questions, 0);
    assert_written(fixture, "{\"invoke-error\":{\"message\":\"the database is locked\"}}\n");
}

static void values_for_which_the_budget_has_no_room_are_an_error(void **state)
{
    struct fixture *fixture = *state;
    char *revision = calloc(1, BUDGET_BYTES + 1);

    memset(revision, '9', BUDGET_BYTES);
    take(fixture, GET_PR);
    answer_question(fixture, 0, revision, NULL);
    assert_running(fixture, 0);
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
    assert_contains(fixture, "is used up");
    assert_int_equal(budget_used(&fixture->budget), 0);
}

static void a_request_keeps_the_time_of_its_arrival(void **state)
{
    struct fixture *fixture = *state;
    uint64_t arrived_ms;

    take(fixture, GET_PR_HISTORY);
    arrived_ms = job(fixture, 0)->arrived_ms;
    assert_true(arrived_ms > 0);
    (void)usleep(5000);
    end_job(fixture, 0); /* of the look-up */
    end_question(fixture, 0, ERROR_UPSTREAM);
    assert_int_equal(job(fixture, 0)->arrived_ms, arrived_ms);
}

static void closing_in_a_look_up_asks_nothing_more(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR_HISTORY);
    take(fixture, GET_PR);
    close_session(fixture);
    assert_int_equal(fixture->upstream.n_questions, 0); /* cancelled */
    end_job(fixture, 0);                                /* not known here */
    assert_int_equal(fixture->upstream.n_questions, 0);
    assert_running(fixture, 0);
    assert_int_equal(fixture->n_progress, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_UPSTREAM(the_upstream_is_asked_about_all_at_once),
        TEST_UPSTREAM(only_get_pr_asks_the_upstream),
        TEST_UPSTREAM(without_the_upstream_the_executor_gets_the_reason),
        TEST_UPSTREAM(what_needs_no_upstream_is_answered_while_it_is_away),
        TEST_UPSTREAM(what_needs_the_upstream_goes_on_waiting),
        TEST_UPSTREAM(what_needs_the_upstream_gets_an_error_in_the_end),
        TEST_UPSTREAM(closing_asks_nothing_again),
        TEST_UPSTREAM(a_server_says_which_databases_are_above_it),
        TEST_UPSTREAM(with_history_the_database_is_asked_first),
        TEST_UPSTREAM(what_the_database_knows_is_not_asked_of_the_upstream),
        TEST_UPSTREAM(an_error_of_the_database_is_the_answer),
        TEST_UPSTREAM(values_for_which_the_budget_has_no_room_are_an_error),
        TEST_UPSTREAM(a_request_keeps_the_time_of_its_arrival),
        TEST_UPSTREAM(closing_in_a_look_up_asks_nothing_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* A session: which answers leave in which order, what runs when, and what is refused. */
#include "session_fixture.h"

/* ---- answers ---- */

static void answers_leave_in_the_order_of_the_messages(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, TEST_PR);
    take(fixture, TEST_PR);
    take(fixture, PING);
    end_job_with_value(fixture, 1, "2");
    assert_written(fixture, "");
    end_job_with_value(fixture, 0, "1");
    assert_written(fixture, "{\"value\":\"1\"}\n{\"value\":\"2\"}\n" ALIVE);
    assert_true(session_is_done(fixture->session));
}

static void progress_is_called_when_an_answer_came_later(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, PING);
    take(fixture, TEST_PR);
    assert_int_equal(fixture->n_progress, 0);
    end_job_with_value(fixture, 0, "1");
    assert_int_equal(fixture->n_progress, 1);
}

static void each_kind_has_its_answer(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, TEST_PACKAGE);
    job(fixture, 0)->found = true;
    end_job(fixture, 0);
    take(fixture, MAX_PACKAGE_PR);
    end_job(fixture, 0);
    take(fixture, IMPORT_ONE);
    end_job(fixture, 0);
    take(fixture, "{\"is-readonly\": {}}");
    assert_written(fixture, "{\"value\":true}\n{\"value\":null}\n{\"value\":7}\n{\"readonly\":"
                            "false,\"instances\":[\"own\"]}\n");
    take(fixture, GET_STATS);
    job(fixture, 0)->rows = 42;
    end_job(fixture, 0);
    assert_written(fixture, "{\"rows\":42}\n");
}

static void an_error_is_the_answer_and_is_counted(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, TEST_PR);
    take(fixture, TEST_PR);
    end_job_with_error(fixture, 0, "the disk is full");
    end_job_with_value(fixture, 0, "1");
    assert_written(
        fixture, "{\"invoke-error\":{\"message\":\"the disk is full\"}}\n{\"value\":\"1\"}\n");
    assert_int_equal(fixture->stats.requests[REQUEST_TEST_PR], 2);
    assert_errors(fixture, REQUEST_TEST_PR, 1);
}

static void output_stops_at_its_limit(void **state)
{
    struct fixture *fixture = *state;

    take_times(fixture, 3, PING);
    assert_true(session_write(fixture->session, &fixture->out, strlen(ALIVE) + 1));
    assert_text_is(buffer_text(&fixture->out), ALIVE ALIVE);
    assert_written(fixture, ALIVE);
}

/* ---- what is refused ---- */

static void an_invalid_request_is_refused_in_its_turn(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, TEST_PR);
    take(fixture, "{\"test-pr\": {\"version\": 1}}");
    take(fixture, PING);
    assert_written(fixture, "");
    end_job_with_value(fixture, 0, "1");
    assert_true(session_write(fixture->session, &fixture->out, 20)); /* the first and the second */
    assert_contains(fixture, "invoke-error");
    assert_written(fixture, ALIVE);
    assert_int_equal(fixture->stats.requests[REQUEST_TEST_PR], 2);
    assert_errors(fixture, REQUEST_TEST_PR, 1);
}

static void what_is_not_json_ends_the_session_with_an_error(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(session_take(fixture->session, TEXT("{")), SESSION_ENDED);
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
    assert_contains(fixture, "not JSON");
    assert_true(session_is_done(fixture->session));
}

static void null_ends_the_session_without_an_answer(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, PING);
    assert_int_equal(session_take(fixture->session, TEXT("null")), SESSION_ENDED);
    assert_written(fixture, ALIVE);
}

static void a_refusal_comes_after_the_answers_before_it(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, TEST_PR);
    session_refuse(fixture->session, "too long");
    assert_written(fixture, "");
    end_job_with_value(fixture, 0, "1");
    assert_written(fixture, "{\"value\":\"1\"}\n{\"invoke-error\":{\"message\":\"too long\"}}\n");
}

static void a_client_that_may_not_store_does_not(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, IMPORT_ONE);
    take(fixture, "{\"is-readonly\": {}}");
    assert_written(fixture, "null\n{\"readonly\":true,\"instances\":[\"own\"]}\n");
    take(fixture, GET_PR);
    take(fixture, TEST_PR); /* does not wait: both read */
    assert_running(fixture, 2);
    assert_int_equal(job(fixture, 0)->kind, JOB_LOOK);
}

/* ---- what may run ---- */

static void reads_wait_for_writes_before_them(void **state)
{
    struct fixture *fixture = *state;

    take_times(fixture, 2, GET_PR);
    take_times(fixture, 2, TEST_PR);
    assert_running(fixture, 2);
    assert_int_equal(job(fixture, 0)->kind, JOB_DECIDE);
    end_job_with_value(fixture, 1, "1");
    assert_running(fixture, 1); /* still a write */
    end_job_with_value(fixture, 0, "0");
    assert_running(fixture, 2);
    assert_int_equal(job(fixture, 0)->kind, JOB_LOOK);
}

static void writes_wait_for_reads_before_them(void **state)
{
    struct fixture *fixture = *state;

    take_times(fixture, 2, TEST_PR);
    take(fixture, IMPORT_ONE);
    take(fixture, TEST_PR);
    assert_running(fixture, 2);
    end_job_with_value(fixture, 0, "1");
    end_job_with_value(fixture, 0, "1");
    assert_running(fixture, 1);
    assert_int_equal(job(fixture, 0)->kind, JOB_DECIDE);
    end_job(fixture, 0);
    assert_running(fixture, 1);
    assert_int_equal(job(fixture, 0)->kind, JOB_LOOK);
}

static void a_ping_between_them_keeps_nothing_waiting(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, PING);
    take(fixture, GET_PR);
    take(fixture, PING);
    take(fixture, GET_PR);
    assert_running(fixture, 2);
}

static void all_jobs_of_a_session_have_the_same_client(void **state)
{
    struct fixture *fixture = *state;

    take_times(fixture, 2, GET_PR);
    assert_non_null(job(fixture, 0)->client);
    assert_ptr_equal(job(fixture, 0)->client, job(fixture, 1)->client);
}

static void a_scan_waits_until_all_before_it_is_written(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, TEST_PR);
    take(fixture, GET_STATS);
    end_job_with_value(fixture, 0, "1");
    assert_running(fixture, 0);
    assert_written(fixture, "{\"value\":\"1\"}\n");
    assert_running(fixture, 1);
    assert_int_equal(job(fixture, 0)->kind, JOB_SCAN);
    job(fixture, 0)->rows = 42;
}

/* ---- closing ---- */

static void closing_leaves_what_runs_and_drops_its_answer(void **state)
{
    struct fixture *fixture = *state;

    take_times(fixture, 2, GET_PR);
    take(fixture, TEST_PR); /* waits for the two */
    take(fixture, PING);
    close_session(fixture);
    assert_running(fixture, 2);
    assert_int_equal(budget_used(&fixture->budget), fixture->budget.under_way);
    assert_true(fixture->budget.under_way > 0);
    end_job_with_value(fixture, 1, "1");
    end_job_with_error(fixture, 0, "too late");
    assert_running(fixture, 0);
    assert_int_equal(fixture->n_progress, 0);
    assert_errors(fixture, REQUEST_GET_PR, 0);
}

static bool is_cancelled(struct fixture *fixture, size_t which)
{
    return atomic_load(&job(fixture, which)->is_cancelled);
}

static void after_the_end_of_input_nothing_waits_for_what_is_away(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR);
    take(fixture, TEST_PR); /* waits for its turn */
    assert_false(is_cancelled(fixture, 0));
    session_end_input(fixture->session);
    assert_true(is_cancelled(fixture, 0));
    end_job_with_value(fixture, 0, "1");
    assert_true(is_cancelled(fixture, 0));
    end_job_with_value(fixture, 0, "1");
    take(fixture, GET_PR); /* was received before */
    assert_true(is_cancelled(fixture, 0));
    end_job_with_value(fixture, 0, "1");
    assert_written(fixture, "{\"value\":\"1\"}\n{\"value\":\"1\"}\n{\"value\":\"1\"}\n");
}

static void after_closing_nothing_waits_for_what_is_away(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, GET_PR);
    close_session(fixture);
    assert_true(is_cancelled(fixture, 0));
}

/* ---- limits and memory ---- */

static void so_many_calls_fill_a_session(void **state)
{
    struct fixture *fixture = *state;

    take_times(fixture, 127, PING);
    assert_false(session_is_full(fixture->session));
    take(fixture, PING);
    assert_true(session_is_full(fixture->session));
    assert_true(session_write(fixture->session, &fixture->out, 1));
    assert_false(session_is_full(fixture->session));
}

static void so_many_bytes_fill_a_session(void **state)
{
    struct fixture *fixture = *state;
    static char message[600 * 1024];

    memset(message, ' ', sizeof message - 1);
    memcpy(message, PING, strlen(PING));
    take(fixture, message);
    assert_false(session_is_full(fixture->session));
    take(fixture, message);
    assert_true(session_is_full(fixture->session));
    assert_written(fixture, ALIVE ALIVE);
    assert_false(session_is_full(fixture->session));
}

static void all_that_is_taken_is_held_and_only_what_runs_is_under_way(void **state)
{
    struct fixture *fixture = *state;
    size_t used;

    take(fixture, GET_PR);
    assert_int_equal(session_held_bytes(fixture->session), budget_used(&fixture->budget));
    assert_int_equal(fixture->budget.under_way, budget_used(&fixture->budget));
    used = budget_used(&fixture->budget);
    take(fixture, TEST_PR); /* waits */
    assert_int_equal(fixture->budget.under_way, used);
    assert_int_equal(session_held_bytes(fixture->session), budget_used(&fixture->budget));
    end_job_with_value(fixture, 0, "1");
    end_job_with_value(fixture, 0, "1");
    assert_int_equal(fixture->budget.under_way, 0);
    assert_int_equal(session_held_bytes(fixture->session), budget_used(&fixture->budget));
    assert_written(fixture, "{\"value\":\"1\"}\n{\"value\":\"1\"}\n");
    assert_int_equal(session_held_bytes(fixture->session), 0);
    assert_int_equal(budget_used(&fixture->budget), 0);
}

static const struct fixture *watched;
static size_t watched_bytes;

static void note_memory(void *context)
{
    const struct fixture *fixture = watched;

    (void)context;
    watched_bytes = session_held_bytes(fixture->session);
    assert_int_equal(watched_bytes, budget_used(&fixture->budget));
}

static void what_is_held_is_told_at_the_moment_when_it_is_taken(void **state)
{
    struct fixture *fixture = *state;

    watched = fixture;
    session_watch_memory(fixture->session, note_memory);
    take(fixture, GET_PR);
    assert_in_range(watched_bytes, 1, SIZE_MAX);
    end_job_with_value(fixture, 0, "1");
    assert_int_equal(watched_bytes, budget_used(&fixture->budget));
    assert_written(fixture, "{\"value\":\"1\"}\n");
    assert_int_equal(watched_bytes, 0);
}

static void a_ping_is_small(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, PING);
    /* The buffer of an answer begins with 128 bytes. */
    assert_in_range(session_held_bytes(fixture->session), strlen(PING), strlen(PING) + 128 + 299);
}

static void the_length_counts_as_it_would_be_sent_on(void **state)
{
    struct fixture *fixture = *state;
    struct buffer message = BUFFER_EMPTY;

    for (int n = 150; n <= 160; n += 10) {
        buffer_reset(&message, 0);
        buffer_append_string(
            &message, "{\"get-pr\": {\"version\": \"v\", \"pkgarch\": \"a\", \"checksum\": \"");
        for (int i = 0; i < n; i++)
            buffer_append_string(&message, "\xc3\xa9"); /* written as \u00E9: 900, 960 bytes */
        buffer_append_string(&message, "\"}}");
        assert_int_equal(session_take(fixture->session, buffer_text(&message)), SESSION_CONTINUES);
    }
    buffer_free(&message);
    assert_running(fixture, 1);
    end_job_with_value(fixture, 0, "4");
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
    assert_contains(fixture, "longer than 1000 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_leave_in_the_order_of_the_messages),
        TEST(progress_is_called_when_an_answer_came_later),
        TEST(each_kind_has_its_answer),
        TEST(an_error_is_the_answer_and_is_counted),
        TEST(output_stops_at_its_limit),
        TEST(an_invalid_request_is_refused_in_its_turn),
        TEST(what_is_not_json_ends_the_session_with_an_error),
        TEST(null_ends_the_session_without_an_answer),
        TEST(a_refusal_comes_after_the_answers_before_it),
        TEST_READ_ONLY(a_client_that_may_not_store_does_not),
        TEST(reads_wait_for_writes_before_them),
        TEST(writes_wait_for_reads_before_them),
        TEST(a_ping_between_them_keeps_nothing_waiting),
        TEST(all_jobs_of_a_session_have_the_same_client),
        TEST(a_scan_waits_until_all_before_it_is_written),
        TEST(closing_leaves_what_runs_and_drops_its_answer),
        TEST(after_the_end_of_input_nothing_waits_for_what_is_away),
        TEST(after_closing_nothing_waits_for_what_is_away),
        TEST(so_many_calls_fill_a_session),
        TEST(so_many_bytes_fill_a_session),
        TEST(all_that_is_taken_is_held_and_only_what_runs_is_under_way),
        TEST(what_is_held_is_told_at_the_moment_when_it_is_taken),
        TEST(a_ping_is_small),
        TEST(the_length_counts_as_it_would_be_sent_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

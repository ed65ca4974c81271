/* SPDX-License-Identifier: MIT */
/* A session and its exports: pieces, their memory and their turns, and what breaks off. */
#include "session_fixture.h"

#include <time.h>

/* ---- exports ---- */

/* Writes what can be written, as if the client had read everything. */
static void assert_read(struct fixture *fixture, const char *expected)
{
    assert_written(fixture, expected);
    buffer_reset(&fixture->out, 0);
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
}

static void an_export_is_written_in_pieces(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, EXPORT);
    take(fixture, PING);
    assert_int_equal(job(fixture, 0)->kind, JOB_SCAN);
    end_piece(fixture, "{\"rows\":", true);
    assert_running(fixture, 0); /* the next piece is made when this one is written */
    assert_read(fixture, STREAM "{\"rows\":\n");
    assert_running(fixture, 1);
    end_piece(fixture, "[]}", false);
    assert_written(fixture, "[]}\n\n" ALIVE);
    assert_true(session_is_done(fixture->session));
}

/* A framed answer: its first 64 KiB are on the way when the rest is made. */
static void end_long_piece(struct fixture *fixture, bool has_more)
{
    static char piece[70000];

    memset(piece, 'x', sizeof piece - 1);
    end_piece(fixture, piece, has_more);
}

static void the_next_piece_is_not_made_for_a_client_that_reads_slowly(void **state)
{
    const struct timespec slow = {.tv_nsec = 60 * 1000 * 1000}; /* longer than CALL_FAST_MS */
    struct fixture *fixture = *state;

    take(fixture, EXPORT);
    end_long_piece(fixture, true);
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
    assert_true(fixture->out.length > 0);
    (void)nanosleep(&slow, NULL);
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
    assert_running(fixture, 0);
    buffer_reset(&fixture->out, 0); /* the client has read */
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
    end_long_piece(fixture, true);
    (void)nanosleep(&slow, NULL);
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
    assert_true(fixture->out.length > 0);
    assert_running(fixture, 0);
}

static void a_piece_that_is_empty_is_followed_by_the_next(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, EXPORT);
    end_piece(fixture, "", true);
    assert_running(fixture, 1);
    end_piece(fixture, "{}", false);
    assert_written(fixture, "{}\n");
}

static void the_memory_for_a_piece_is_taken_before_it_is_made(void **state)
{
    struct fixture *fixture = *state;
    size_t before;

    take(fixture, EXPORT);
    before = budget_used(&fixture->budget);
    assert_running(fixture, 1);
    assert_true(job(fixture, 0)->piece_bytes >= 4096);
    assert_true(budget_used(&fixture->budget) >= before + job(fixture, 0)->piece_bytes);
    end_piece(fixture, "{}", false);
    assert_true(budget_used(&fixture->budget) < before + 4096);
    assert_written(fixture, "{}\n");
}

static void an_export_waits_for_room_in_the_budget(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, EXPORT);
    budget_take(&fixture->budget, BUDGET_BYTES * 3 / 4);
    assert_running(fixture, 0);
    budget_give(&fixture->budget, BUDGET_BYTES * 3 / 4);
    assert_running(fixture, 1);
}

static void a_long_row_gets_a_longer_piece(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, EXPORT);
    job(fixture, 0)->wanted_bytes = BUDGET_BYTES / 5;
    end_piece(fixture, "", true);
    assert_true(job(fixture, 0)->piece_bytes >= BUDGET_BYTES / 5);
    job(fixture, 0)->wanted_bytes = 0;
    end_piece(fixture, "{}", true);
    assert_read(fixture, STREAM "{}\n");
    assert_true(job(fixture, 0)->piece_bytes < BUDGET_BYTES / 5);
}

static void a_row_that_is_too_long_for_the_budget_is_an_error(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, EXPORT);
    job(fixture, 0)->wanted_bytes = BUDGET_BYTES;
    end_piece(fixture, "", true);
    buffer_reset(&fixture->out, 0);
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
    buffer_append(&fixture->out, "", 1);
    assert_non_null(strstr(fixture->out.bytes, "raise --max-memory-bytes"));
}

static void an_export_that_can_not_begin_is_an_error(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, EXPORT);
    end_job_with_error(fixture, 0, "the database is locked");
    assert_written(fixture, "{\"invoke-error\":{\"message\":\"the database is locked\"}}\n");
    assert_errors(fixture, REQUEST_EXPORT, 1);
    assert_int_equal(fixture->exports.n_open, 0);
}

static void an_export_that_breaks_off_ends_the_connection(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, EXPORT);
    end_piece(fixture, "{\"rows\":", true);
    assert_read(fixture, STREAM "{\"rows\":\n");
    end_job_with_error(fixture, 0, "the database is malformed");
    assert_false(session_write(fixture->session, &fixture->out, SIZE_MAX));
}

static void an_export_that_nobody_reads_keeps_no_other_waiting(void **state)
{
    struct fixture *fixture = *state;

    open_other(fixture);
    take(fixture, EXPORT);
    end_piece(fixture, "{", true);
    assert_int_equal(session_take(fixture->other, TEXT(EXPORT)), SESSION_CONTINUES);
    assert_running(fixture, 1);
}

static void an_export_that_waits_for_its_turn_can_be_closed(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, EXPORT); /* and no turn of the loop ends */
    close_session(fixture);
    assert_running(fixture, 0);
    assert_int_equal(fixture->exports.n_open, 0);
}

static void closing_an_export_frees_what_it_keeps(void **state)
{
    struct fixture *fixture = *state;

    take(fixture, EXPORT);
    end_piece(fixture, "{", true);
    close_session(fixture);
    assert_running(fixture, 0);
    assert_int_equal(fixture->executor.n_exports_ended, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_export_is_written_in_pieces),
        TEST(the_next_piece_is_not_made_for_a_client_that_reads_slowly),
        TEST(a_piece_that_is_empty_is_followed_by_the_next),
        TEST(the_memory_for_a_piece_is_taken_before_it_is_made),
        TEST(an_export_waits_for_room_in_the_budget),
        TEST(a_long_row_gets_a_longer_piece),
        TEST(a_row_that_is_too_long_for_the_budget_is_an_error),
        TEST(an_export_that_can_not_begin_is_an_error),
        TEST(an_export_that_breaks_off_ends_the_connection),
        TEST(an_export_that_nobody_reads_keeps_no_other_waiting),
        TEST(an_export_that_waits_for_its_turn_can_be_closed),
        TEST(closing_an_export_frees_what_it_keeps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Until when requests wait for what is away, and what the log says (src/base/outage.h). */
#include "base/outage.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 90000

static struct outage make(unsigned patience_ms)
{
    struct outage outage;

    outage_init(&outage, "Look-ups", patience_ms, NULL);
    return outage;
}

static void without_an_outage_a_request_has_its_whole_patience(void **state)
{
    struct outage outage = make(PATIENCE_MS);

    (void)state;
    assert_false(outage_is_on(&outage));
    assert_int_equal(outage_deadline_ms(&outage, 1000), 1000 + PATIENCE_MS);
}

static void patience_counts_from_the_start_of_the_outage(void **state)
{
    struct outage outage = make(PATIENCE_MS);

    (void)state;
    outage_continue(&outage, 10000, "away");
    outage_continue(&outage, 20000, "still away");
    assert_int_equal(outage_deadline_ms(&outage, 40000), 10000 + PATIENCE_MS);
}

static void after_the_patience_a_request_waits_a_little(void **state)
{
    struct outage outage = make(PATIENCE_MS);

    (void)state;
    outage_continue(&outage, 10000, "away");
    assert_int_equal(outage_deadline_ms(&outage, 98000), 98000 + OUTAGE_LATE_MS);
    assert_int_equal(outage_deadline_ms(&outage, 500000), 500000 + OUTAGE_LATE_MS);
}

static void a_request_from_before_the_outage_has_one_patience(void **state)
{
    struct outage outage = make(PATIENCE_MS);

    (void)state;
    outage_continue(&outage, 60000, "away");
    assert_int_equal(outage_deadline_ms(&outage, 1000), 1000 + PATIENCE_MS);
}

static void without_patience_nothing_waits(void **state)
{
    struct outage outage = make(0);

    (void)state;
    assert_int_equal(outage_deadline_ms(&outage, 1000), 1000);
    outage_continue(&outage, 500, "away");
    assert_int_equal(outage_deadline_ms(&outage, 1000), 1000);
}

static void a_short_patience_is_also_the_wait_of_late_requests(void **state)
{
    struct outage outage = make(2000);

    (void)state;
    outage_continue(&outage, 1000, "away");
    assert_int_equal(outage_deadline_ms(&outage, 60000), 62000);
}

static void the_next_outage_starts_anew(void **state)
{
    struct outage outage = make(PATIENCE_MS);

    (void)state;
    outage_continue(&outage, 10000, "away");
    outage_end(&outage, 200000);
    assert_false(outage_is_on(&outage));
    outage_continue(&outage, 300000, "away");
    assert_int_equal(outage_deadline_ms(&outage, 301000), 300000 + PATIENCE_MS);
}

/* Returns what the log says of an outage of this length; the caller's (free). */
static char *log_of(uint64_t ms, uint64_t n_waiting)
{
    char name[] = "/tmp/unit-outage-XXXXXX";
    char *text = calloc(1, 2000);
    struct outage outage;
    struct log *log;
    struct error error;
    FILE *stream;

    assert_non_null(text);
    assert_int_equal(close(mkstemp(name)), 0);
    assert_int_equal(log_open(&log, name, LOG_INFO, &error), 0);
    outage_init(&outage, "Look-ups", PATIENCE_MS, log);
    outage_continue(&outage, 5000, "the disk is full");
    outage_add_waiting(&outage, n_waiting);
    outage_continue(&outage, 5000 + ms, "the disk is full");
    outage_continue(&outage, 5000 + ms, "the disk is full");
    outage_add_failed(&outage, 1);
    outage_end(&outage, 5000 + ms);
    log_close(log);
    stream = fopen(name, "r");
    assert_non_null(stream);
    assert_true(fread(text, 1, 1999, stream) < 1999);
    (void)fclose(stream);
    (void)unlink(name);
    return text;
}

static void the_log_tells_when_requests_wait_and_what_became_of_them(void **state)
{
    char *text = log_of(12000, 3);
    const char *begin = strstr(text, "WARNING");

    (void)state;
    assert_non_null(begin);
    assert_non_null(strstr(begin, "Look-ups wait, for 90 s at most: the disk is full"));
    assert_null(strstr(strstr(begin, "Look-ups wait") + 1, "Look-ups wait"));
    assert_non_null(strstr(
        begin, "Look-ups no longer wait, after 12 s: 3 requests waited, 1 of them got an error"));
    free(text);
}

static void the_log_tells_every_minute_that_it_goes_on(void **state)
{
    char name[] = "/tmp/unit-outage-XXXXXX";
    char text[4000] = "";
    struct outage outage;
    struct log *log;
    struct error error;
    FILE *stream;
    unsigned n = 0;

    (void)state;
    assert_int_equal(close(mkstemp(name)), 0);
    assert_int_equal(log_open(&log, name, LOG_INFO, &error), 0);
    outage_init(&outage, "Look-ups", PATIENCE_MS, log);
    outage_add_waiting(&outage, 2);
    for (uint64_t ms = 0; ms <= 150000; ms += 500)
        outage_continue(&outage, 5000 + ms, "the disk is full");
    outage_add_failed(&outage, 2);
    log_close(log);
    stream = fopen(name, "r");
    assert_non_null(stream);
    assert_true(fread(text, 1, sizeof text - 1, stream) < sizeof text - 1);
    (void)fclose(stream);
    (void)unlink(name);
    for (const char *at = text; (at = strstr(at, "Look-ups still wait, after")); at++)
        n++;
    assert_int_equal(n, 2);
    assert_non_null(strstr(text,
        "still wait, after 61 s: 2 requests waited, 0 of them got an error: the disk is full"));
}

static void a_short_outage_and_one_without_requests_are_not_reported(void **state)
{
    char *short_one = log_of(200, 3);
    char *lonely = log_of(12000, 0);

    (void)state;
    assert_string_equal(short_one, "");
    assert_string_equal(lonely, "");
    free(short_one);
    free(lonely);
}

static void an_error_says_how_long_the_outage_has_lasted(void **state)
{
    struct outage outage = make(PATIENCE_MS);
    struct error error = {"it is away"};

    (void)state;
    outage_continue(&outage, 10000, "away");
    assert_int_equal(outage_fail(&outage, 10500, ERROR_LOCKED, &error), ERROR_LOCKED);
    assert_string_equal(error.text, "it is away");
    assert_int_equal(outage_fail(&outage, 103000, ERROR_LOCKED, &error), ERROR_LOCKED);
    assert_string_equal(error.text, "it is away; this has lasted for 93 s");
    assert_int_equal(outage.n_failed, 2);
}

static void without_a_try_for_a_while_another_outage_begins(void **state)
{
    struct outage outage = make(PATIENCE_MS);

    (void)state;
    outage_continue(&outage, 10000, "away");
    outage_continue(&outage, 10000 + OUTAGE_FORGET_MS - 1, "away");
    assert_int_equal(outage.began_ms, 10000);
    outage_continue(&outage, 10000 + 2 * OUTAGE_FORGET_MS, "away");
    assert_int_equal(outage.began_ms, 10000 + 2 * OUTAGE_FORGET_MS);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_says_how_long_the_outage_has_lasted),
        cmocka_unit_test(without_a_try_for_a_while_another_outage_begins),
        cmocka_unit_test(without_an_outage_a_request_has_its_whole_patience),
        cmocka_unit_test(patience_counts_from_the_start_of_the_outage),
        cmocka_unit_test(after_the_patience_a_request_waits_a_little),
        cmocka_unit_test(a_request_from_before_the_outage_has_one_patience),
        cmocka_unit_test(without_patience_nothing_waits),
        cmocka_unit_test(a_short_patience_is_also_the_wait_of_late_requests),
        cmocka_unit_test(the_next_outage_starts_anew),
        cmocka_unit_test(the_log_tells_when_requests_wait_and_what_became_of_them),
        cmocka_unit_test(the_log_tells_every_minute_that_it_goes_on),
        cmocka_unit_test(a_short_outage_and_one_without_requests_are_not_reported),
    };

    return cmocka_run_group_tests_name("outage", tests, NULL, NULL);
}

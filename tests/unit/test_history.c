/* SPDX-License-Identifier: MIT */
/* The checker of histories (tests/torture/history.h): correct histories pass, and each broken
 * promise is found.
 *
 * A line of a history: the times of request and answer, the request, the answer. */
#include "../torture/history.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

#define LOST HISTORY_NEVER
#define GET .kind = HISTORY_GET_PR
#define TEST .kind = HISTORY_TEST_PR
#define MAX .kind = HISTORY_MAX_PACKAGE_PR
#define EXISTS .kind = HISTORY_TEST_PACKAGE
#define ROW .kind = HISTORY_STORED
#define FOREIGN_ROW .kind = HISTORY_FOREIGN_ROW
#define FLOOR .kind = HISTORY_FLOOR
#define FLOOR_ROW .kind = HISTORY_STORED_FLOOR

struct line {
    struct history_operation operation;
    const char *value;
};

struct complaints {
    size_t n;
    char first[700];
};

static void listen(void *context, const char *sentence)
{
    struct complaints *complaints = context;

    if (complaints->n++ == 0)
        (void)snprintf(complaints->first, sizeof complaints->first, "%s", sentence);
}

static struct complaints check(const struct line *lines, size_t n_lines, struct history_rules rules)
{
    struct history *history = history_create();
    struct complaints complaints = {0};
    size_t n_broken;

    for (size_t i = 0; i < n_lines; i++) {
        struct history_operation operation = lines[i].operation;

        if (operation.connection == 0)
            operation.connection = (uint32_t)i + 100; /* one for each */
        if (lines[i].value)
            operation.value = history_value(history, text_of(lines[i].value));
        (void)history_add(history, &operation);
    }
    n_broken = history_check(history, &rules, listen, &complaints);
    assert_int_equal(n_broken, complaints.n);
    history_free(history);
    return complaints;
}

static const struct history_rules one = {.n_databases = 1, .upstream_of = {-1}};
static const struct history_rules complete = {
    .n_databases = 1, .upstream_of = {-1}, .is_complete = true};
static const struct history_rules chain = {.n_databases = 2, .upstream_of = {-1, 0}};

static void expect(unsigned promise, const struct line *lines, size_t n, struct history_rules rules)
{
    struct complaints complaints = check(lines, n, rules);
    char beginning[32];

    (void)snprintf(beginning, sizeof beginning, "promise %u:", promise);
    if (promise == 0 && complaints.n > 0)
        print_error("%s\n", complaints.first);
    if (promise == 0)
        assert_int_equal(complaints.n, 0);
    else
        assert_memory_equal(complaints.first, beginning, strlen(beginning));
}

/* EXPECT(promise or 0, rules, line...) */
#define EXPECT(promise, rules, ...)                  \
    do {                                             \
        const struct line lines[] = {__VA_ARGS__};   \
        expect(promise, lines, COUNT(lines), rules); \
    } while (0)

#define AT(from, to, text, ...)                           \
    {                                                     \
        {.sent = from, .answered = to, __VA_ARGS__}, text \
    }

static void a_correct_history_passes(void **state)
{
    (void)state;
    EXPECT(0, complete, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, "1", GET, .checksum = 2),
        AT(5, 6, "2", GET, .checksum = 1), AT(7, 8, "0", GET, .checksum = 1, .history = true),
        AT(9, 10, "2", TEST, .checksum = 1), AT(11, 12, NULL, TEST, .checksum = 3),
        AT(13, 14, "2", MAX), AT(15, 16, NULL, EXISTS, .found = true),
        AT(17, LOST, NULL, GET, .checksum = 4), AT(18, 19, "4", GET, .checksum = 5),
        AT(0, 0, "0", ROW, .checksum = 1), AT(0, 0, "1", ROW, .checksum = 2),
        AT(0, 0, "2", ROW, .checksum = 1), AT(0, 0, "3", ROW, .checksum = 4),
        AT(0, 0, "4", ROW, .checksum = 5));
}

static void concurrent_requests_may_be_executed_in_any_order(void **state)
{
    (void)state;
    EXPECT(0, one, AT(1, 10, "1", GET, .checksum = 1), AT(2, 3, "0", GET, .checksum = 2),
        AT(4, 9, "0", MAX), AT(5, 8, NULL, TEST, .checksum = 1));
    /* 1 comes after 2 here, which is answered later */
    EXPECT(0, one, AT(1, 5, "9", GET, .checksum = 1), AT(2, 20, "8", GET, .checksum = 2),
        AT(3, 21, "10", GET, .checksum = 2));
}

static void two_checksums_with_one_value_break_promise_1(void **state)
{
    (void)state;
    EXPECT(1, one, AT(1, 10, "0", GET, .checksum = 1), AT(2, 9, "0", GET, .checksum = 2));
    EXPECT(1, complete, AT(1, 2, "0", GET, .checksum = 1), AT(3, LOST, NULL, GET, .checksum = 2),
        AT(0, 0, "0", ROW, .checksum = 1), AT(0, 0, "0", ROW, .checksum = 2));
    EXPECT(0, one, AT(1, 10, "0", GET, .checksum = 1),
        AT(2, 9, "0", GET, .checksum = 1, .database = 0), AT(3, 8, "0", GET, .package = 1));
}

static void a_row_that_was_never_asked_for_breaks_promise_1(void **state)
{
    (void)state;
    EXPECT(1, complete, AT(1, 2, NULL, TEST, .checksum = 7), AT(0, 0, "0", ROW, .checksum = 7));
}

static void an_answer_that_goes_down_breaks_promise_2(void **state)
{
    (void)state;
    EXPECT(2, one, AT(1, 2, "10", GET, .checksum = 1), AT(3, 4, "9", GET, .checksum = 2));
    EXPECT(2, one, AT(1, 2, "1.0", GET, .checksum = 1), AT(3, 4, "1", GET, .checksum = 2));
}

static void requests_of_one_connection_are_executed_in_order(void **state)
{
    (void)state;
    EXPECT(2, one, AT(1, 9, "10", GET, .checksum = 1, .connection = 1),
        AT(2, 10, "9", GET, .checksum = 2, .connection = 1));
    EXPECT(0, one, AT(1, 9, "10", GET, .checksum = 1, .connection = 1),
        AT(2, 10, "9", GET, .checksum = 2, .connection = 2));
}

static void the_order_of_one_connection_does_not_bind_others(void **state)
{
    (void)state;
    EXPECT(0, one, AT(1, 20, "10", GET, .checksum = 1, .connection = 1),
        AT(2, 21, "11", GET, .checksum = 2, .connection = 1),
        AT(3, 4, "2", GET, .checksum = 2, .connection = 2));
}

static void concurrent_look_ups_may_be_executed_in_any_order(void **state)
{
    (void)state;
    EXPECT(0, one, AT(1, 2, "0", GET, .checksum = 1, .package = 1),
        AT(3, 9, "0", GET, .checksum = 1), AT(4, 10, "0", MAX, .connection = 1),
        AT(5, 11, NULL, EXISTS, .connection = 1));
    EXPECT(6, one, AT(3, 9, "0", GET, .checksum = 1, .connection = 1),
        AT(5, 11, NULL, EXISTS, .connection = 1));
}

static void new_content_below_the_upstream_breaks_promise_3(void **state)
{
    (void)state;
    EXPECT(3, chain, AT(1, 2, "5", GET, .checksum = 1),
        AT(3, 4, "5", GET, .checksum = 2, .database = 1));
    EXPECT(0, chain, AT(1, 2, "5", GET, .checksum = 1),
        AT(3, 4, "5.0", GET, .checksum = 2, .database = 1));
    EXPECT(0, chain, AT(1, 2, "5", GET, .checksum = 1),
        AT(3, 4, "5", GET, .checksum = 1, .database = 1));
}

static void known_content_below_the_upstream_breaks_promise_3(void **state)
{
    struct history_rules failing = chain;

    (void)state;
    failing.upstreams_fail = true;
    EXPECT(3, chain, AT(1, 2, "0", GET, .checksum = 2, .database = 1),
        AT(3, 4, "5", GET, .checksum = 1), AT(5, 6, "0", GET, .checksum = 2, .database = 1));
    EXPECT(0, failing, AT(1, 2, "0", GET, .checksum = 2, .database = 1),
        AT(3, 4, "5", GET, .checksum = 1), AT(5, 6, "0", GET, .checksum = 2, .database = 1));
}

static void another_value_with_history_breaks_promise_4(void **state)
{
    (void)state;
    EXPECT(4, one, AT(1, 2, "0", GET, .checksum = 1, .history = true),
        AT(3, 4, "1", GET, .checksum = 1, .history = true));
    EXPECT(4, one, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, "1", GET, .checksum = 2),
        AT(5, 6, "2", GET, .checksum = 1), AT(7, 8, "2", GET, .checksum = 1, .history = true));
    /* at the same time: without history less than the first */
    EXPECT(4, one, AT(1, 4, "1", GET, .checksum = 1),
        AT(1, 4, "2", GET, .checksum = 1, .history = true));
    EXPECT(4, one, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, "1", GET, .checksum = 2),
        AT(5, 6, "2", GET, .checksum = 1, .history = true, .read_only = true));
}

static void new_content_that_is_not_greater_breaks_promise_4(void **state)
{
    (void)state;
    EXPECT(4, one, AT(1, 2, "5", GET, .checksum = 1),
        AT(3, 4, "4", GET, .checksum = 2, .history = true));
}

static void a_row_that_is_missing_at_the_end_breaks_promise_5(void **state)
{
    (void)state;
    EXPECT(5, complete, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, "1", GET, .checksum = 2),
        AT(0, 0, "1", ROW, .checksum = 2));
    EXPECT(5, complete, AT(1, LOST, NULL, GET, .checksum = 1), AT(2, 3, "3", MAX));
}

static void a_row_that_is_not_seen_at_once_breaks_promise_6(void **state)
{
    (void)state;
    EXPECT(6, one, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, NULL, TEST, .checksum = 1));
    EXPECT(6, one, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, NULL, MAX));
    EXPECT(6, one, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, NULL, EXISTS));
    EXPECT(6, one, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, "1", GET, .checksum = 2),
        AT(5, 6, "1", GET, .checksum = 3, .read_only = true));
    EXPECT(0, one, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, "1", GET, .checksum = 2),
        AT(5, 6, "2", GET, .checksum = 3, .read_only = true),
        AT(7, 8, "2", GET, .checksum = 4, .read_only = true),
        AT(9, 10, "0", GET, .checksum = 1, .read_only = true, .history = true));
}

static void an_answer_before_the_first_request_breaks_promise_6(void **state)
{
    (void)state;
    EXPECT(6, one, AT(1, 2, "0", TEST, .checksum = 1), AT(3, 4, "0", GET, .checksum = 1));
    EXPECT(6, one, AT(1, 2, "0", MAX), AT(3, 4, "0", GET, .checksum = 1));
    EXPECT(6, one, AT(1, 2, NULL, EXISTS, .found = true), AT(3, 4, "0", GET, .checksum = 1));
    EXPECT(0, one, AT(1, 5, "0", MAX), AT(4, 6, "0", GET, .checksum = 1));
}

static void rows_of_another_program_count_but_may_repeat_values(void **state)
{
    (void)state;
    EXPECT(0, complete, AT(1, 2, "0", GET, .checksum = 1),
        AT(3, 4, "0", FOREIGN_ROW, .checksum = 1 | HISTORY_FOREIGN),
        AT(0, 0, "0", ROW, .checksum = 1), AT(0, 0, "0", ROW, .checksum = 1 | HISTORY_FOREIGN));
    EXPECT(2, one, AT(3, 4, "7", FOREIGN_ROW, .checksum = 1 | HISTORY_FOREIGN),
        AT(5, 6, "6", GET, .checksum = 1));
}

static void a_correct_history_with_floors_passes(void **state)
{
    (void)state;
    EXPECT(0, complete, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, "0", FLOOR),
        AT(5, 6, "0", GET, .checksum = 1), AT(7, 8, "7", FLOOR), AT(9, 10, "7", MAX),
        AT(11, 12, "0", GET, .checksum = 1, .history = true), AT(13, 14, "0", TEST, .checksum = 1),
        AT(15, 16, "8", GET, .checksum = 1), AT(17, LOST, "9", FLOOR), AT(18, LOST, "20", FLOOR),
        AT(19, 20, "10", GET, .checksum = 2), AT(0, 0, "0", ROW, .checksum = 1),
        AT(0, 0, "0", FLOOR_ROW), AT(0, 0, "7", FLOOR_ROW), AT(0, 0, "8", ROW, .checksum = 1),
        AT(0, 0, "9", FLOOR_ROW), AT(0, 0, "10", ROW, .checksum = 2));
    EXPECT(0, one, AT(1, 9, "7", FLOOR), AT(2, 10, "0", GET, .checksum = 1), AT(3, 8, NULL, MAX));
    EXPECT(0, one, AT(1, 2, "1.9", FLOOR), AT(3, 4, NULL, EXISTS, .found = true));
}

static void an_answer_that_ignores_a_floor_breaks_a_promise(void **state)
{
    (void)state;
    EXPECT(2, one, AT(1, 2, "7", FLOOR), AT(3, 4, "7", GET, .checksum = 1));
    EXPECT(2, one, AT(1, 9, "7", FLOOR, .connection = 1),
        AT(2, 10, "0", GET, .checksum = 1, .connection = 1));
    EXPECT(4, one, AT(1, 2, "7", FLOOR), AT(3, 4, "0", GET, .checksum = 1, .history = true));
    EXPECT(6, one, AT(1, 2, "7", FLOOR), AT(3, 4, NULL, MAX));
    EXPECT(6, one, AT(1, 2, "7", FLOOR), AT(3, 4, NULL, EXISTS));
    EXPECT(6, one, AT(1, 2, "7", MAX), AT(3, 4, "7", FLOOR));
    EXPECT(3, chain, AT(1, 2, "7", FLOOR), AT(3, 4, "5", GET, .checksum = 1, .database = 1));
}

static void a_floor_that_is_missing_at_the_end_breaks_promise_5(void **state)
{
    (void)state;
    EXPECT(5, complete, AT(1, 2, "7", FLOOR));
    EXPECT(5, complete, AT(1, 2, "0", GET, .checksum = 1), AT(3, 4, "0", FLOOR),
        AT(0, 0, "0", ROW, .checksum = 1));
    EXPECT(0, complete, AT(1, LOST, "7", FLOOR));
}

/* Expects one complaint that has this text. */
static void expect_text(
    const char *text, const struct line *lines, size_t n, struct history_rules rules)
{
    struct complaints complaints = check(lines, n, rules);

    assert_int_equal(complaints.n, 1);
    assert_non_null(strstr(complaints.first, text));
}

static void a_value_of_the_upstream_up_to_a_floor_is_reported(void **state)
{
    static const struct line given[] = {AT(1, 2, "0", GET, .checksum = 1),
        AT(3, 4, "0", FLOOR, .database = 1),
        AT(5, 6, "0", GET, .checksum = 1, .database = 1, .history = true)};
    static const struct line proposed[] = {AT(1, 2, "0", GET, .checksum = 1),
        AT(3, 4, "0", FLOOR, .database = 1),
        AT(5, 6, "0", GET, .checksum = 1, .database = 1, .history = true, .read_only = true)};

    (void)state;
    expect_text("not above the floor", given, COUNT(given), chain);
    expect_text("not above the floor", proposed, COUNT(proposed), chain);
    EXPECT(0, chain, AT(1, 2, "1", GET, .checksum = 1), AT(3, 4, "0", FLOOR, .database = 1),
        AT(5, 6, "1", GET, .checksum = 1, .database = 1, .history = true));
}

static void a_floor_that_was_never_stored_is_reported(void **state)
{
    static const struct line lines[] = {AT(1, 2, "0", GET, .checksum = 1),
        AT(0, 0, "0", ROW, .checksum = 1), AT(0, 0, "0", FLOOR_ROW)};

    (void)state;
    expect_text("it was never stored", lines, COUNT(lines), complete);
}

static void an_answer_that_is_not_a_revision_is_reported_and_ignored(void **state)
{
    static const char *const wrong[] = {"", "1.", "-1", "1.x", " 1"};

    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const struct line lines[] = {AT(1, 2, wrong[i], GET, .checksum = 1),
            AT(3, 4, wrong[i], TEST, .checksum = 2), AT(5, 6, wrong[i], MAX),
            AT(7, 8, "0", GET, .checksum = 3), AT(0, 0, wrong[i], ROW, .checksum = 1),
            AT(0, 0, "0", ROW, .checksum = 3)};
        struct complaints complaints = check(lines, COUNT(lines), complete);

        assert_int_equal(complaints.n, 4);
        assert_non_null(strstr(complaints.first, "get-pr of package 0, checksum 1"));
        assert_non_null(strstr(complaints.first, "this is not a revision"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_correct_history_passes),
        cmocka_unit_test(concurrent_requests_may_be_executed_in_any_order),
        cmocka_unit_test(two_checksums_with_one_value_break_promise_1),
        cmocka_unit_test(a_row_that_was_never_asked_for_breaks_promise_1),
        cmocka_unit_test(an_answer_that_goes_down_breaks_promise_2),
        cmocka_unit_test(requests_of_one_connection_are_executed_in_order),
        cmocka_unit_test(the_order_of_one_connection_does_not_bind_others),
        cmocka_unit_test(concurrent_look_ups_may_be_executed_in_any_order),
        cmocka_unit_test(new_content_below_the_upstream_breaks_promise_3),
        cmocka_unit_test(known_content_below_the_upstream_breaks_promise_3),
        cmocka_unit_test(another_value_with_history_breaks_promise_4),
        cmocka_unit_test(new_content_that_is_not_greater_breaks_promise_4),
        cmocka_unit_test(a_row_that_is_missing_at_the_end_breaks_promise_5),
        cmocka_unit_test(a_row_that_is_not_seen_at_once_breaks_promise_6),
        cmocka_unit_test(an_answer_before_the_first_request_breaks_promise_6),
        cmocka_unit_test(rows_of_another_program_count_but_may_repeat_values),
        cmocka_unit_test(a_correct_history_with_floors_passes),
        cmocka_unit_test(an_answer_that_ignores_a_floor_breaks_a_promise),
        cmocka_unit_test(a_floor_that_is_missing_at_the_end_breaks_promise_5),
        cmocka_unit_test(a_value_of_the_upstream_up_to_a_floor_is_reported),
        cmocka_unit_test(a_floor_that_was_never_stored_is_reported),
        cmocka_unit_test(an_answer_that_is_not_a_revision_is_reported_and_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

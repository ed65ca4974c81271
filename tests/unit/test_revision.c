/* SPDX-License-Identifier: MIT */
/* Revisions: which texts are one, their order, and how they grow. */
#include "revision/revision.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

/* From small to great, all different. */
static const char *const in_order[] = {
    "0",
    "0.0",
    "0.0.0",
    "0.0.1",
    "0.1",
    "0.9",
    "0.10",
    "1",
    "1.0",
    "1.0.0",
    "1.0.7",
    "1.1",
    "1.3",
    "1.3.0",
    "1.9",
    "1.19",
    "1.20",
    "1.100",
    "2",
    "2.0.11",
    "9",
    "9.9",
    "9.10",
    "10",
    "10.0",
    "19",
    "20",
    "99",
    "100",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551616.18446744073709551615",
    "18446744073709551616.18446744073709551616",
    "99999999999999999999999999999999999999999",
    "100000000000000000000000000000000000000000",
};

static int sign(int number)
{
    return (number > 0) - (number < 0);
}

static bool is_valid(const char *text)
{
    return revision_is_valid(text, strlen(text));
}

/* ---- which texts are revisions ---- */

static void numbers_joined_by_dots_are_revisions(void **state)
{
    static const char *const texts[] = {"0", "7", "10", "1.3", "2.0.11", "0.0", "1.0.0.0.0.0.0"};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        if (!is_valid(texts[i]))
            fail_msg("'%s' is a revision", texts[i]);
    for (size_t i = 0; i < COUNT(in_order); i++)
        if (!is_valid(in_order[i]))
            fail_msg("'%s' is a revision", in_order[i]);
}

static void other_texts_are_none(void **state)
{
    static const char *const texts[] = {"", ".", "..", "1.", ".1", "1..2", "1.2.", "a", "1.a", "1a",
        "a1", "-1", "+1", "1.-1", " 1", "1 ", "1\n", "1 .2", "1,2", "0x1", "1e3", "r7", "None", "/",
        ":", "1/2", "1:2", "\xd9\xa1"};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        if (is_valid(texts[i]))
            fail_msg("'%s' is no revision", texts[i]);
}

static void only_zero_begins_with_zero(void **state)
{
    static const char *const texts[] = {
        "00", "007", "01", "1.00", "1.01", "01.1", "0.00", "1.01.1"};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        if (is_valid(texts[i]))
            fail_msg("'%s' is no revision", texts[i]);
}

static void a_nul_is_no_part_of_a_revision(void **state)
{
    (void)state;
    assert_false(revision_is_valid("3\0", 2));
    assert_false(revision_is_valid("1.\0", 3));
    assert_false(revision_is_valid("1\0.2", 4));
    assert_false(revision_is_valid("\0", 1));
}

static void what_follows_the_length_does_not_count(void **state)
{
    (void)state;
    assert_true(revision_is_valid("12x", 2));
    assert_true(revision_is_valid("1.2.", 3));
    assert_true(revision_is_valid("07", 1));
    assert_false(revision_is_valid("1.2", 2));
    assert_false(revision_is_valid("1", 0));
    assert_false(revision_is_valid(NULL, 0));
}

/* ---- their order ---- */

static void one_is_smaller_than_one_point_zero(void **state)
{
    (void)state;
    assert_true(revision_compare("1", "1.0") < 0);
    assert_true(revision_compare("1.0", "1") > 0);
}

static void nine_is_smaller_than_ten(void **state)
{
    (void)state;
    assert_true(revision_compare("9", "10") < 0);
    assert_true(revision_compare("10", "9") > 0);
    assert_true(revision_compare("1.9", "1.10") < 0);
    assert_true(revision_compare("1.20", "1.3") > 0);
}

static void the_first_number_that_differs_decides(void **state)
{
    (void)state;
    assert_true(revision_compare("1.9.9", "2.0.0") < 0);
    assert_true(revision_compare("1.9.9", "2") < 0);
    assert_true(revision_compare("3.1.9", "3.2.0") < 0);
    assert_true(revision_compare("10.1", "9.2") > 0);
}

static void any_two_have_one_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(in_order); i++) {
        for (size_t j = 0; j < COUNT(in_order); j++) {
            int expected = (i > j) - (i < j);

            if (sign(revision_compare(in_order[i], in_order[j])) != expected)
                fail_msg("%s and %s: expected %d", in_order[i], in_order[j], expected);
        }
    }
}

/* ---- how they grow ---- */

static void an_increase_adds_one_to_the_last_number(void **state)
{
    static const struct {
        const char *from;
        const char *to;
    } steps[] = {
        {"0", "1"},
        {"1", "2"},
        {"8", "9"},
        {"9", "10"},
        {"10", "11"},
        {"19", "20"},
        {"99", "100"},
        {"109", "110"},
        {"199", "200"},
        {"1.0", "1.1"},
        {"1.9", "1.10"},
        {"1.99", "1.100"},
        {"9.9", "9.10"},
        {"9.0.9", "9.0.10"},
        {"9.9.9", "9.9.10"},
        {"2147483647", "2147483648"},
        {"9223372036854775807", "9223372036854775808"},
        {"18446744073709551615", "18446744073709551616"},
        {"1.18446744073709551615", "1.18446744073709551616"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(steps); i++) {
        char *increased = revision_increase(steps[i].from);

        assert_non_null(increased);
        assert_string_equal(increased, steps[i].to);
        free(increased);
    }
}

static void an_increase_is_greater_and_a_revision(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(in_order); i++) {
        char *increased = revision_increase(in_order[i]);

        assert_non_null(increased);
        assert_true(is_valid(increased));
        assert_true(revision_compare(increased, in_order[i]) > 0);
        free(increased);
    }
}

static void a_thousand_nines_increase_to_a_one_and_a_thousand_zeros(void **state)
{
    enum { digits = 1000 };
    char nines[digits + 1] = "";
    char *increased;

    (void)state;
    memset(nines, '9', digits);
    increased = revision_increase(nines);
    assert_non_null(increased);
    assert_int_equal(strlen(increased), digits + 1);
    assert_int_equal(increased[0], '1');
    assert_int_equal(strspn(increased + 1, "0"), digits);
    assert_true(revision_compare(nines, increased) < 0);
    free(increased);
}

static void a_child_is_the_first_revision_below(void **state)
{
    static const char *const pairs[][2] = {
        {"0", "0.0"}, {"4", "4.0"}, {"10", "10.0"}, {"1.3", "1.3.0"}, {"1.0", "1.0.0"}};

    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        char *child = revision_child(pairs[i][0]);

        assert_non_null(child);
        assert_string_equal(child, pairs[i][1]);
        free(child);
    }
}

static void nothing_lies_between_a_revision_and_its_child(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(in_order); i++) {
        char *child = revision_child(in_order[i]);

        assert_non_null(child);
        assert_true(is_valid(child));
        assert_true(revision_compare(child, in_order[i]) > 0);
        for (size_t j = i + 1; j < COUNT(in_order); j++)
            if (revision_compare(child, in_order[j]) > 0)
                fail_msg("%s lies between %s and %s", in_order[j], in_order[i], child);
        free(child);
    }
}

static void what_grows_is_a_copy(void **state)
{
    char revision[] = "1.9";
    char *increased = revision_increase(revision);
    char *child = revision_child(revision);

    (void)state;
    assert_string_equal(revision, "1.9");
    memset(revision, 'x', sizeof revision - 1);
    assert_string_equal(increased, "1.10");
    assert_string_equal(child, "1.9.0");
    free(increased);
    free(child);
}

/* ---- adding ---- */

static void check_sum(const char *revision, const char *number, const char *expected)
{
    char *sum = revision_add(revision, number);

    assert_non_null(sum);
    assert_string_equal(sum, expected);
    free(sum);
}

static void a_number_is_added_to_the_last_one(void **state)
{
    (void)state;
    check_sum("0", "0", "0");
    check_sum("0", "5", "5");
    check_sum("1.9", "5", "1.14");
    check_sum("7", "10", "17");
    check_sum("9.99", "1", "9.100");
    check_sum("1.5", "995", "1.1000");
    check_sum("2.0.0", "123456", "2.0.123456");
    check_sum("18446744073709551615", "18446744073709551615", "36893488147419103230");
    check_sum("1", "99999999999999999999999999999999999999999",
        "100000000000000000000000000000000000000000");
}

static void adding_n_is_increasing_n_times(void **state)
{
    char number[16];

    (void)state;
    for (size_t i = 0; i < COUNT(in_order); i++) {
        char *increased = strdup(in_order[i]);

        for (unsigned n = 1; n <= 120; n++) {
            char *next = revision_increase(increased);

            free(increased);
            increased = next;
            (void)snprintf(number, sizeof number, "%u", n);
            check_sum(in_order[i], number, increased);
        }
        free(increased);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_joined_by_dots_are_revisions),
        cmocka_unit_test(other_texts_are_none),
        cmocka_unit_test(only_zero_begins_with_zero),
        cmocka_unit_test(a_nul_is_no_part_of_a_revision),
        cmocka_unit_test(what_follows_the_length_does_not_count),
        cmocka_unit_test(one_is_smaller_than_one_point_zero),
        cmocka_unit_test(nine_is_smaller_than_ten),
        cmocka_unit_test(the_first_number_that_differs_decides),
        cmocka_unit_test(any_two_have_one_order),
        cmocka_unit_test(an_increase_adds_one_to_the_last_number),
        cmocka_unit_test(an_increase_is_greater_and_a_revision),
        cmocka_unit_test(a_thousand_nines_increase_to_a_one_and_a_thousand_zeros),
        cmocka_unit_test(a_child_is_the_first_revision_below),
        cmocka_unit_test(nothing_lies_between_a_revision_and_its_child),
        cmocka_unit_test(what_grows_is_a_copy),
        cmocka_unit_test(a_number_is_added_to_the_last_one),
        cmocka_unit_test(adding_n_is_increasing_n_times),
    };

    return cmocka_run_group_tests_name("revision", tests, NULL, NULL);
}

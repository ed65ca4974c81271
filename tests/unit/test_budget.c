/* SPDX-License-Identifier: MIT */
/* The budget of memory (src/base/budget.h): what is counted, and who is let in at which level. */
#include "base/budget.h"

#include "unit.h"

#define LIMIT ((size_t)8 * 1024 * 1024)
#define PART (LIMIT / 8)
#define SMALL BUDGET_SMALL_BYTES

static struct budget make(size_t under_way)
{
    struct budget budget;

    budget_init(&budget, LIMIT);
    budget.under_way = under_way;
    return budget;
}

static void what_is_taken_counts_until_it_is_given_back(void **state)
{
    struct budget budget = make(0);

    (void)state;
    assert_int_equal(budget_used(&budget), 0);
    budget_take(&budget, 100);
    budget_take(&budget, 23);
    assert_int_equal(budget_used(&budget), 123);
    budget_give(&budget, 100);
    assert_int_equal(budget_used(&budget), 23);
}

static void taking_never_fails_and_over_is_more_than_the_limit(void **state)
{
    struct budget budget = make(0);

    (void)state;
    budget_take(&budget, LIMIT);
    assert_false(budget_is_over(&budget));
    budget_take(&budget, 1);
    assert_true(budget_is_over(&budget));
    budget_take(&budget, LIMIT);
    assert_int_equal(budget_used(&budget), 2 * LIMIT + 1);
    budget_give(&budget, LIMIT + 1);
    assert_false(budget_is_over(&budget));
}

static void what_asks_first_gets_three_quarters(void **state)
{
    struct budget budget = make(0);

    (void)state;
    assert_true(budget_try(&budget, 6 * PART));
    assert_int_equal(budget_used(&budget), 6 * PART);
    assert_false(budget_try(&budget, 1));
    assert_int_equal(budget_used(&budget), 6 * PART); /* what was refused is not counted */
    budget_give(&budget, 1);
    assert_true(budget_try(&budget, 1));
}

static void what_is_larger_than_all_gets_nothing(void **state)
{
    struct budget budget = make(0);

    (void)state;
    assert_false(budget_try(&budget, 6 * PART + 1));
    assert_int_equal(budget_used(&budget), 0);
}

static void below_a_quarter_everything_is_let_in(void **state)
{
    struct budget budget = make(2 * PART - 1);

    (void)state;
    assert_true(budget_admits(&budget, false, LIMIT));
    assert_true(budget_admits(&budget, true, SMALL));
}

static void from_a_quarter_on_each_client_has_one_small_request(void **state)
{
    struct budget first = make(2 * PART);
    struct budget last = make(4 * PART - 1);

    (void)state;
    assert_false(budget_admits(&first, false, 1));
    assert_true(budget_admits(&first, true, SMALL));
    assert_false(budget_admits(&first, true, SMALL + 1));
    assert_false(budget_admits(&last, false, 1));
    assert_true(budget_admits(&last, true, SMALL));
    assert_false(budget_admits(&last, true, SMALL + 1));
}

static void at_half_nobody_is_let_in(void **state)
{
    struct budget budget = make(4 * PART);

    (void)state;
    assert_false(budget_admits(&budget, true, 1));
    budget.under_way = 0; /* what is under way comes back by itself */
    assert_true(budget_admits(&budget, false, LIMIT));
}

static void unfinished_requests_keep_nobody_out(void **state)
{
    struct budget budget = make(0);

    (void)state;
    budget_take(&budget, 2 * LIMIT);
    assert_true(budget_admits(&budget, false, LIMIT)); /* who holds most is closed instead */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_counts_until_it_is_given_back),
        cmocka_unit_test(taking_never_fails_and_over_is_more_than_the_limit),
        cmocka_unit_test(what_asks_first_gets_three_quarters),
        cmocka_unit_test(what_is_larger_than_all_gets_nothing),
        cmocka_unit_test(below_a_quarter_everything_is_let_in),
        cmocka_unit_test(from_a_quarter_on_each_client_has_one_small_request),
        cmocka_unit_test(at_half_nobody_is_let_in),
        cmocka_unit_test(unfinished_requests_keep_nobody_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

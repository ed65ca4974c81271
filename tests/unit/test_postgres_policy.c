/* SPDX-License-Identifier: MIT */
/* The policy of batches on PostgreSQL: scopes, read passes, pauses. */
#include "store/postgres/policy.h"

#include "unit.h"

#define NOW_MS 5000
#define NOW_US 5000000

/* A transaction of n requests, n_held of them left out, that takes took_us. */
static void transact(struct postgres_policy *policy, size_t n, size_t n_held, int result,
    size_t n_rows, uint64_t took_us)
{
    postgres_policy_begin_write(policy, NOW_US);
    postgres_policy_lock(policy, n, n_held, NOW_MS);
    postgres_policy_end_write(policy, result, n_rows, NOW_US + took_us);
}

/* A transaction that did not get its locks. */
static void fail_to_lock(struct postgres_policy *policy)
{
    postgres_policy_begin_write(policy, NOW_US);
    postgres_policy_end_write(policy, ERROR_LOCKED, 0, NOW_US + 1000);
}

static void the_scope_narrows_while_locks_are_held_and_widens_again(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_WAIT_LOCKED};

    (void)state;
    fail_to_lock(&policy);
    assert_int_equal(policy.scope, POSTGRES_SKIP_LOCKED);
    fail_to_lock(&policy);
    assert_int_equal(policy.scope, POSTGRES_EXISTING_ONLY);
    transact(&policy, 5, 1, 0, 4, 1000);
    assert_int_equal(policy.scope, POSTGRES_SKIP_LOCKED);
    transact(&policy, 5, 1, 0, 4, 1000);
    assert_int_equal(policy.scope, POSTGRES_SKIP_LOCKED);
    transact(&policy, 5, 0, 0, 5, 1000);
    assert_int_equal(policy.scope, POSTGRES_WAIT_LOCKED);
}

static void without_any_lock_all_are_waited_for_again(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_EXISTING_ONLY};

    (void)state;
    fail_to_lock(&policy);
    assert_int_equal(policy.scope, POSTGRES_WAIT_LOCKED);
}

static void another_error_is_not_a_held_lock(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_WAIT_LOCKED};

    (void)state;
    transact(&policy, 5, 0, ERROR_STORE, 0, 1000);
    assert_int_equal(policy.scope, POSTGRES_WAIT_LOCKED);
}

static void read_and_transact(
    struct postgres_policy *policy, size_t n_read, size_t n, size_t n_rows)
{
    postgres_policy_begin_read(policy);
    postgres_policy_end_read(policy, n_read);
    transact(policy, n, 0, 0, n_rows, 1000);
}

static void the_read_pass_is_skipped_after_a_large_batch_that_was_almost_all_new(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_WAIT_LOCKED};

    (void)state;
    read_and_transact(&policy, 100, 75, 75);
    assert_false(postgres_policy_skips_read(&policy, 100));
    read_and_transact(&policy, 100, 76, 76);
    assert_true(postgres_policy_skips_read(&policy, 100));
    assert_true(postgres_policy_skips_read(&policy, 8));
    assert_false(postgres_policy_skips_read(&policy, 7));
}

static void the_read_pass_comes_back_when_less_than_half_is_new(void **state)
{
    struct postgres_policy policy = {.skips_read = true};

    (void)state;
    transact(&policy, 100, 0, 0, 50, 1000);
    assert_true(policy.skips_read);
    transact(&policy, 100, 0, 0, 49, 1000);
    assert_false(policy.skips_read);
}

static void the_read_pass_comes_back_after_an_error(void **state)
{
    struct postgres_policy policy = {.skips_read = true};

    (void)state;
    transact(&policy, 100, 0, ERROR_LOCKED, 0, 1000);
    assert_false(policy.skips_read);
    policy.skips_read = true;
    fail_to_lock(&policy);
    assert_false(policy.skips_read);
    read_and_transact(&policy, 7, 7, 7);
    assert_false(policy.skips_read); /* a small batch teaches nothing */
}

static void a_read_pass_that_failed_teaches_nothing(void **state)
{
    struct postgres_policy policy = {.skips_read = false};

    (void)state;
    postgres_policy_begin_read(&policy);
    postgres_policy_end_read(&policy, 100);
    postgres_policy_begin_read(&policy);
    transact(&policy, 100, 0, 0, 100, 1000);
    assert_false(policy.skips_read);
}

static void held_packages_are_left_alone_for_a_moment(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_SKIP_LOCKED};
    size_t n_enough = 0;

    (void)state;
    assert_false(postgres_policy_is_too_early(&policy, 0, NOW_MS));
    transact(&policy, 5, 2, 0, 3, 1000);
    assert_true(postgres_policy_is_too_early(&policy, 2, NOW_MS + 19));
    assert_false(postgres_policy_is_too_early(&policy, 2, NOW_MS + 20));
    assert_false(postgres_policy_is_too_early(&policy, 3, NOW_MS));
    assert_int_equal(postgres_policy_delay_us(&policy, 2, 0, NOW_MS, &n_enough), 20000);
    assert_int_equal(n_enough, 1);
    assert_int_equal(postgres_policy_delay_us(&policy, 2, 1, NOW_MS, &n_enough), 0);
    assert_int_equal(postgres_policy_delay_us(&policy, 3, 0, NOW_MS, &n_enough), 0);
    fail_to_lock(&policy);
    assert_false(postgres_policy_is_too_early(&policy, 2, NOW_MS));
}

static void after_a_long_transaction_a_part_of_its_time_is_waited(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_WAIT_LOCKED};
    size_t n_enough = 0;

    (void)state;
    transact(&policy, 10, 0, 0, 10, 3999);
    assert_int_equal(postgres_policy_delay_us(&policy, 0, 3, NOW_MS, &n_enough), 0);
    transact(&policy, 10, 0, 0, 10, 8000);
    assert_int_equal(postgres_policy_delay_us(&policy, 0, 3, NOW_MS, &n_enough), 2000);
    assert_int_equal(n_enough, 13);
    transact(&policy, 10, 0, 0, 10, 80000);
    assert_int_equal(postgres_policy_delay_us(&policy, 0, 3, NOW_MS, &n_enough), 5000);
}

static void a_single_client_is_not_waited_for(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_WAIT_LOCKED};
    size_t n_enough = 0;

    (void)state;
    transact(&policy, 1, 0, 0, 1, 80000);
    assert_int_equal(postgres_policy_delay_us(&policy, 0, 0, NOW_MS, &n_enough), 0);
    transact(&policy, 2, 0, 0, 1, 80000);
    assert_int_equal(postgres_policy_delay_us(&policy, 0, 0, NOW_MS, &n_enough), 5000);
    transact(&policy, 2, 1, 0, 1, 80000);
    assert_int_equal(postgres_policy_delay_us(&policy, 1, 0, NOW_MS + 20, &n_enough), 0);
}

static void after_a_read_pass_alone_nothing_is_waited_for(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_WAIT_LOCKED};
    size_t n_enough = 0;

    (void)state;
    transact(&policy, 10, 0, 0, 10, 80000);
    postgres_policy_begin_read(&policy);
    postgres_policy_end_read(&policy, 10);
    assert_int_equal(postgres_policy_delay_us(&policy, 0, 3, NOW_MS, &n_enough), 0);
}

static void the_next_transaction_begins_early_if_most_is_new_and_nothing_is_held(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_WAIT_LOCKED};

    (void)state;
    read_and_transact(&policy, 100, 75, 75);
    assert_int_equal(postgres_policy_least_next(&policy), 0);
    read_and_transact(&policy, 100, 76, 76);
    assert_int_equal(postgres_policy_least_next(&policy), 8);
    transact(&policy, 100, 1, 0, 99, 1000);
    assert_int_equal(postgres_policy_least_next(&policy), 0);
    transact(&policy, 100, 0, 0, 100, 1000);
    assert_int_equal(postgres_policy_least_next(&policy), 8);
    fail_to_lock(&policy);
    assert_int_equal(postgres_policy_least_next(&policy), 0);
}

static void before_a_commit_those_are_waited_for_that_were_answered_last(void **state)
{
    struct postgres_policy policy = {.scope = POSTGRES_WAIT_LOCKED};
    size_t n_enough = 0;

    (void)state;
    transact(&policy, 10, 0, 0, 10, 8000);
    postgres_policy_begin_write(&policy, NOW_US);
    postgres_policy_lock(&policy, 70, 0, NOW_MS);
    assert_int_equal(postgres_policy_delay_us(&policy, 0, 0, NOW_MS, &n_enough), 2000);
    assert_int_equal(n_enough, 10);
    postgres_policy_end_write(&policy, ERROR_LOCKED, 0, NOW_US + 8000);
    postgres_policy_begin_write(&policy, NOW_US);
    assert_int_equal(postgres_policy_delay_us(&policy, 0, 0, NOW_MS, &n_enough), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scope_narrows_while_locks_are_held_and_widens_again),
        cmocka_unit_test(without_any_lock_all_are_waited_for_again),
        cmocka_unit_test(another_error_is_not_a_held_lock),
        cmocka_unit_test(the_read_pass_is_skipped_after_a_large_batch_that_was_almost_all_new),
        cmocka_unit_test(the_read_pass_comes_back_when_less_than_half_is_new),
        cmocka_unit_test(the_read_pass_comes_back_after_an_error),
        cmocka_unit_test(a_read_pass_that_failed_teaches_nothing),
        cmocka_unit_test(held_packages_are_left_alone_for_a_moment),
        cmocka_unit_test(after_a_long_transaction_a_part_of_its_time_is_waited),
        cmocka_unit_test(a_single_client_is_not_waited_for),
        cmocka_unit_test(after_a_read_pass_alone_nothing_is_waited_for),
        cmocka_unit_test(the_next_transaction_begins_early_if_most_is_new_and_nothing_is_held),
        cmocka_unit_test(before_a_commit_those_are_waited_for_that_were_answered_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

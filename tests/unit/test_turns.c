/* SPDX-License-Identifier: MIT */
/* Turns (src/server/turns.h): who is next, when clients of several addresses wait. */
#include "server/turns.h"
#include "unit.h"

#include <stdlib.h>

#define N 8

struct fixture {
    struct turns turns;
    struct turn each[N];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    turns_init(&fixture->turns);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < N; i++)
        turns_remove(&fixture->turns, &fixture->each[i]);
    assert_null(turns_first(&fixture->turns));
    assert_int_equal(fixture->turns.addresses.n_items, 0);
    turns_deinit(&fixture->turns);
    free(fixture);
    return 0;
}

static void add(struct fixture *fixture, int which, const char *address)
{
    assert_true(turns_add(&fixture->turns, &fixture->each[which], text_of(address), false));
    assert_true(turn_is_waiting(&fixture->each[which]));
}

static void assert_next(struct fixture *fixture, int which)
{
    struct turn *first = turns_first(&fixture->turns);

    assert_ptr_equal(first, &fixture->each[which]);
    turns_take(&fixture->turns, first);
    assert_false(turn_is_waiting(first));
}

static void the_clients_of_an_address_are_served_in_their_order(void **state)
{
    struct fixture *fixture = *state;

    add(fixture, 0, "a");
    add(fixture, 1, "a");
    assert_next(fixture, 0);
    add(fixture, 0, "a");
    assert_next(fixture, 1);
    assert_next(fixture, 0);
}

static void the_addresses_are_served_in_turn(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 4; i++)
        add(fixture, i, "a");
    add(fixture, 4, "b");
    add(fixture, 5, "c");
    add(fixture, 6, "b");
    assert_next(fixture, 0);
    assert_next(fixture, 4);
    assert_next(fixture, 5);
    assert_next(fixture, 1);
    assert_next(fixture, 6);
    add(fixture, 4, "b");
    assert_next(fixture, 2);
    assert_next(fixture, 4);
    assert_next(fixture, 3);
}

static void one_in_front_is_the_next_of_its_address(void **state)
{
    struct fixture *fixture = *state;

    add(fixture, 0, "a");
    add(fixture, 1, "b");
    assert_true(turns_add(&fixture->turns, &fixture->each[2], text_of("b"), true));
    assert_next(fixture, 0);
    assert_next(fixture, 2);
    assert_next(fixture, 1);
}

static void one_that_is_removed_gets_no_turn(void **state)
{
    struct fixture *fixture = *state;

    add(fixture, 0, "a");
    add(fixture, 1, "b");
    turns_remove(&fixture->turns, &fixture->each[0]);
    turns_remove(&fixture->turns, &fixture->each[0]);
    assert_next(fixture, 1);
    assert_null(turns_first(&fixture->turns));
}

static void an_address_can_pass(void **state)
{
    struct fixture *fixture = *state;

    turns_pass(&fixture->turns);
    add(fixture, 0, "a");
    add(fixture, 1, "b");
    turns_pass(&fixture->turns);
    assert_next(fixture, 1);
    assert_next(fixture, 0);
}

static void the_address_with_most_turns_is_found(void **state)
{
    struct fixture *fixture = *state;

    assert_null(turns_first_of_largest(&fixture->turns));
    add(fixture, 0, "a");
    add(fixture, 1, "b");
    add(fixture, 2, "c");
    add(fixture, 3, "b");
    assert_ptr_equal(turns_first_of_largest(&fixture->turns), &fixture->each[1]);
    turns_remove(&fixture->turns, &fixture->each[1]);
    add(fixture, 4, "c");
    assert_ptr_equal(turns_first_of_largest(&fixture->turns), &fixture->each[2]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_clients_of_an_address_are_served_in_their_order),
        TEST(the_addresses_are_served_in_turn),
        TEST(one_in_front_is_the_next_of_its_address),
        TEST(one_that_is_removed_gets_no_turn),
        TEST(an_address_can_pass),
        TEST(the_address_with_most_turns_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Which connection gives memory back when the budget is exceeded (src/server/memory_pressure.h). */
#include "server/memory_pressure.h"

#include "unit.h"

#define LIMIT_BYTES 1000

struct holder {
    struct memory_account account;
    struct memory_pressure *pressure;
    size_t unused_bytes; /* part of what it takes */
    unsigned n_shut;
    char reason[200];
};

struct fixture {
    struct budget budget;
    struct memory_pressure pressure;
    struct holder holders[3];
};

static bool release_unused(void *owner)
{
    struct holder *holder = owner;
    size_t left = holder->account.taken_bytes - holder->unused_bytes;
    bool had_unused = holder->unused_bytes > 0;

    holder->unused_bytes = 0;
    memory_pressure_update(holder->pressure, &holder->account, left, left);
    return had_unused;
}

static void shut(void *owner, const char *reason)
{
    struct holder *holder = owner;

    holder->n_shut++;
    (void)strncpy(holder->reason, reason, sizeof holder->reason - 1);
    memory_pressure_update(holder->pressure, &holder->account, 0, 0);
}

static int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    budget_init(&fixture.budget, LIMIT_BYTES);
    memory_pressure_init(&fixture.pressure, &fixture.budget, NULL);
    for (size_t i = 0; i < COUNT(fixture.holders); i++) {
        struct holder *holder = &fixture.holders[i];

        holder->pressure = &fixture.pressure;
        holder->account.owner = holder;
        holder->account.release_unused = release_unused;
        holder->account.shut = shut;
    }
    *state = &fixture;
    return 0;
}

static void hold(struct fixture *fixture, size_t a, size_t b, size_t c)
{
    const size_t bytes[] = {a, b, c};

    for (size_t i = 0; i < COUNT(bytes); i++)
        memory_pressure_update(
            &fixture->pressure, &fixture->holders[i].account, bytes[i], bytes[i]);
}

static void assert_shut(const struct fixture *fixture, unsigned a, unsigned b, unsigned c)
{
    assert_int_equal(fixture->holders[0].n_shut, a);
    assert_int_equal(fixture->holders[1].n_shut, b);
    assert_int_equal(fixture->holders[2].n_shut, c);
    assert_int_equal(fixture->pressure.overruns, a + b + c);
}

/* ---- the largest ---- */

static void set(struct fixture *fixture, struct memory_account *account, size_t bytes)
{
    memory_pressure_update(&fixture->pressure, account, 0, bytes);
}

static void at_first_there_is_no_largest(void **state)
{
    const struct fixture *fixture = *state;

    assert_null(memory_pressure_largest(&fixture->pressure));
}

static void an_account_twice_as_large_is_found(void **state)
{
    struct fixture *fixture = *state;
    struct memory_account accounts[40] = {0};

    for (size_t i = 0; i < COUNT(accounts); i++) { /* 1, 2, 4, ... in mixed order */
        size_t digit = i * 7 % COUNT(accounts);

        set(fixture, &accounts[digit], (size_t)1 << digit);
    }
    for (size_t i = COUNT(accounts); i-- > 0;) {
        assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &accounts[i]);
        assert_int_equal(accounts[i].held_bytes, (size_t)1 << i);
        set(fixture, &accounts[i], 0);
    }
    assert_null(memory_pressure_largest(&fixture->pressure));
}

static void of_about_the_same_size_the_largest_is_found(void **state)
{
    struct fixture *fixture = *state;
    struct memory_account early = {0}, late = {0}, below = {0};

    set(fixture, &below, 1023);
    set(fixture, &early, 1024);
    set(fixture, &late, 1025);
    assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &late);
    set(fixture, &early, 1500);
    assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &early);
    set(fixture, &late, 1500); /* the other one has held as much for longer */
    assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &early);
}

static void an_account_that_grows_again_goes_to_the_end(void **state)
{
    struct fixture *fixture = *state;
    struct memory_account first = {0}, second = {0};

    set(fixture, &first, 5000);
    set(fixture, &second, 5000);
    set(fixture, &first, 10);
    assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &second);
    set(fixture, &first, 5000);
    assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &second);
    set(fixture, &second, 0);
    assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &first);
    set(fixture, &first, 0);
    set(fixture, &first, 0);
    assert_null(memory_pressure_largest(&fixture->pressure));
}

static void the_least_and_the_most_have_a_bucket(void **state)
{
    struct fixture *fixture = *state;
    struct memory_account least = {0}, most = {0};

    set(fixture, &least, 1);
    assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &least);
    set(fixture, &most, SIZE_MAX);
    assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &most);
    set(fixture, &most, 0);
    assert_ptr_equal(memory_pressure_largest(&fixture->pressure), &least);
}

/* ---- relief ---- */

static void what_accounts_take_is_taken_from_the_budget(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 100, 20, 3);
    assert_int_equal(budget_used(&fixture->budget), 123);
    hold(fixture, 0, 20, 300);
    assert_int_equal(budget_used(&fixture->budget), 320);
}

static void within_the_budget_none_is_shut(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, LIMIT_BYTES - 1, 1, 0);
    memory_pressure_relieve(&fixture->pressure);
    assert_shut(fixture, 0, 0, 0);
}

static void the_largest_is_shut_and_hears_why(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 10, 900, 100);
    memory_pressure_relieve(&fixture->pressure);
    assert_shut(fixture, 0, 1, 0);
    assert_non_null(strstr(fixture->holders[1].reason, "(1000 bytes) is used up"));
    assert_non_null(strstr(fixture->holders[1].reason, "most of it (900 bytes)"));
}

static void as_many_are_shut_as_needed(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 1100, 30, 5000);
    memory_pressure_relieve(&fixture->pressure);
    assert_shut(fixture, 1, 0, 1);
}

static void what_others_took_for_a_holder_counts(void **state)
{
    struct fixture *fixture = *state;

    budget_take(&fixture->budget, 900);
    hold(fixture, 60, 0, 100);
    memory_pressure_update(&fixture->pressure, &fixture->holders[0].account, 60, 960);
    memory_pressure_relieve(&fixture->pressure);
    assert_shut(fixture, 1, 0, 0);
}

static void unused_memory_is_enough(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 10, 900, 100);
    fixture->holders[1].unused_bytes = 500;
    memory_pressure_relieve(&fixture->pressure);
    assert_shut(fixture, 0, 0, 0);
    assert_int_equal(budget_used(&fixture->budget), 510);
}

static void empty_accounts_are_left_alone(void **state)
{
    struct fixture *fixture = *state;

    budget_take(&fixture->budget, 2 * LIMIT_BYTES); /* is being worked on */
    memory_pressure_relieve(&fixture->pressure);
    assert_shut(fixture, 0, 0, 0);
}

static void what_is_leaving_is_not_asked_of_others(void **state)
{
    struct fixture *fixture = *state;

    budget_take(&fixture->budget, 900); /* requests of a connection that was shut */
    fixture->budget.leaving = 900;
    hold(fixture, 500, 400, 100);
    memory_pressure_relieve(&fixture->pressure);
    assert_shut(fixture, 0, 0, 0);
    hold(fixture, 500, 400, 101);
    memory_pressure_relieve(&fixture->pressure);
    assert_shut(fixture, 1, 0, 0);
}

#define TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(at_first_there_is_no_largest),
        TEST(an_account_twice_as_large_is_found),
        TEST(of_about_the_same_size_the_largest_is_found),
        TEST(an_account_that_grows_again_goes_to_the_end),
        TEST(the_least_and_the_most_have_a_bucket),
        TEST(what_accounts_take_is_taken_from_the_budget),
        TEST(within_the_budget_none_is_shut),
        TEST(the_largest_is_shut_and_hears_why),
        TEST(as_many_are_shut_as_needed),
        TEST(what_others_took_for_a_holder_counts),
        TEST(unused_memory_is_enough),
        TEST(empty_accounts_are_left_alone),
        TEST(what_is_leaving_is_not_asked_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

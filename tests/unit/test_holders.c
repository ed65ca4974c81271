/* Who gives memory back when too much is used: server/holders.h. */
#include "server/holders.h"
#include "unit.h"

#define LIMIT_BYTES 1000

struct keeper {
    struct holder holder;
    struct holders *holders;
    size_t spare_bytes; /* of what it takes */
    unsigned gave_up;
    char reason[200];
};

struct fixture {
    struct budget budget;
    struct holders holders;
    struct keeper keepers[3];
};

static bool drop_spare(void *owner)
{
    struct keeper *keeper = owner;
    size_t left = keeper->holder.taken - keeper->spare_bytes;
    bool dropped = keeper->spare_bytes > 0;

    keeper->spare_bytes = 0;
    holders_set(keeper->holders, &keeper->holder, left, left);
    return dropped;
}

static void give_up(void *owner, const char *reason)
{
    struct keeper *keeper = owner;

    keeper->gave_up++;
    (void)strncpy(keeper->reason, reason, sizeof keeper->reason - 1);
    holders_set(keeper->holders, &keeper->holder, 0, 0);
}

static int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    budget_init(&fixture.budget, LIMIT_BYTES);
    holders_init(&fixture.holders, &fixture.budget, NULL);
    for (size_t i = 0; i < COUNT(fixture.keepers); i++) {
        struct keeper *keeper = &fixture.keepers[i];

        keeper->holders = &fixture.holders;
        keeper->holder.owner = keeper;
        keeper->holder.drop_spare = drop_spare;
        keeper->holder.give_up = give_up;
    }
    *state = &fixture;
    return 0;
}

static void hold(struct fixture *fixture, size_t a, size_t b, size_t c)
{
    const size_t bytes[] = {a, b, c};

    for (size_t i = 0; i < COUNT(bytes); i++)
        holders_set(&fixture->holders, &fixture->keepers[i].holder, bytes[i], bytes[i]);
}

static void assert_gave_up(const struct fixture *fixture, unsigned a, unsigned b, unsigned c)
{
    assert_int_equal(fixture->keepers[0].gave_up, a);
    assert_int_equal(fixture->keepers[1].gave_up, b);
    assert_int_equal(fixture->keepers[2].gave_up, c);
    assert_int_equal(fixture->holders.overruns, a + b + c);
}

static void what_they_take_is_taken_from_the_budget(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 100, 20, 3);
    assert_int_equal(budget_used(&fixture->budget), 123);
    hold(fixture, 0, 20, 300);
    assert_int_equal(budget_used(&fixture->budget), 320);
}

static void nobody_gives_up_within_the_budget(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, LIMIT_BYTES - 1, 1, 0);
    holders_relieve(&fixture->holders);
    assert_gave_up(fixture, 0, 0, 0);
}

static void who_holds_most_gives_up_and_hears_why(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 10, 900, 100);
    holders_relieve(&fixture->holders);
    assert_gave_up(fixture, 0, 1, 0);
    assert_non_null(strstr(fixture->keepers[1].reason, "(1000 bytes) is used up"));
    assert_non_null(strstr(fixture->keepers[1].reason, "most of it (900 bytes)"));
}

static void as_many_give_up_as_are_needed(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 1100, 30, 5000);
    holders_relieve(&fixture->holders);
    assert_gave_up(fixture, 1, 0, 1);
}

static void what_others_took_for_it_counts(void **state)
{
    struct fixture *fixture = *state;

    budget_take(&fixture->budget, 900);
    hold(fixture, 60, 0, 100);
    holders_set(&fixture->holders, &fixture->keepers[0].holder, 60, 960);
    holders_relieve(&fixture->holders);
    assert_gave_up(fixture, 1, 0, 0);
}

static void spare_memory_is_enough(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 10, 900, 100);
    fixture->keepers[1].spare_bytes = 500;
    holders_relieve(&fixture->holders);
    assert_gave_up(fixture, 0, 0, 0);
    assert_int_equal(budget_used(&fixture->budget), 510);
}

static void nothing_is_asked_of_who_holds_nothing(void **state)
{
    struct fixture *fixture = *state;

    budget_take(&fixture->budget, 2 * LIMIT_BYTES); /* is being worked on */
    holders_relieve(&fixture->holders);
    assert_gave_up(fixture, 0, 0, 0);
}

#define TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_they_take_is_taken_from_the_budget),
        TEST(nobody_gives_up_within_the_budget),
        TEST(who_holds_most_gives_up_and_hears_why),
        TEST(as_many_give_up_as_are_needed),
        TEST(what_others_took_for_it_counts),
        TEST(spare_memory_is_enough),
        TEST(nothing_is_asked_of_who_holds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

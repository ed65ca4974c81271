/* Who gives memory back when too much is used: server/relief.h. */
#include "server/relief.h"
#include "unit.h"

#define LIMIT_BYTES 1000

struct keeper {
    struct debtor debtor;
    struct relief *relief;
    size_t spare_bytes; /* of what it takes */
    unsigned gave_up;
    char reason[200];
};

struct fixture {
    struct budget budget;
    struct relief relief;
    struct keeper keepers[3];
};

static bool drop_spare(void *owner)
{
    struct keeper *keeper = owner;
    size_t left = keeper->debtor.taken - keeper->spare_bytes;
    bool dropped = keeper->spare_bytes > 0;

    keeper->spare_bytes = 0;
    relief_count(keeper->relief, &keeper->debtor, left, left);
    return dropped;
}

static void give_up(void *owner, const char *reason)
{
    struct keeper *keeper = owner;

    keeper->gave_up++;
    (void)strncpy(keeper->reason, reason, sizeof keeper->reason - 1);
    relief_count(keeper->relief, &keeper->debtor, 0, 0);
}

static int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    budget_init(&fixture.budget, LIMIT_BYTES);
    relief_init(&fixture.relief, &fixture.budget, NULL);
    for (size_t i = 0; i < COUNT(fixture.keepers); i++) {
        struct keeper *keeper = &fixture.keepers[i];

        keeper->relief = &fixture.relief;
        keeper->debtor.owner = keeper;
        keeper->debtor.drop_spare = drop_spare;
        keeper->debtor.give_up = give_up;
    }
    *state = &fixture;
    return 0;
}

static void hold(struct fixture *fixture, size_t a, size_t b, size_t c)
{
    const size_t bytes[] = {a, b, c};

    for (size_t i = 0; i < COUNT(bytes); i++)
        relief_count(&fixture->relief, &fixture->keepers[i].debtor, bytes[i], bytes[i]);
}

static void assert_gave_up(const struct fixture *fixture, unsigned a, unsigned b, unsigned c)
{
    assert_int_equal(fixture->keepers[0].gave_up, a);
    assert_int_equal(fixture->keepers[1].gave_up, b);
    assert_int_equal(fixture->keepers[2].gave_up, c);
    assert_int_equal(fixture->relief.overruns, a + b + c);
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
    relief_run(&fixture->relief);
    assert_gave_up(fixture, 0, 0, 0);
}

static void who_holds_most_gives_up_and_hears_why(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 10, 900, 100);
    relief_run(&fixture->relief);
    assert_gave_up(fixture, 0, 1, 0);
    assert_non_null(strstr(fixture->keepers[1].reason, "(1000 bytes) is used up"));
    assert_non_null(strstr(fixture->keepers[1].reason, "most of it (900 bytes)"));
}

static void as_many_give_up_as_are_needed(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 1100, 30, 5000);
    relief_run(&fixture->relief);
    assert_gave_up(fixture, 1, 0, 1);
}

static void what_others_took_for_it_counts(void **state)
{
    struct fixture *fixture = *state;

    budget_take(&fixture->budget, 900);
    hold(fixture, 60, 0, 100);
    relief_count(&fixture->relief, &fixture->keepers[0].debtor, 60, 960);
    relief_run(&fixture->relief);
    assert_gave_up(fixture, 1, 0, 0);
}

static void spare_memory_is_enough(void **state)
{
    struct fixture *fixture = *state;

    hold(fixture, 10, 900, 100);
    fixture->keepers[1].spare_bytes = 500;
    relief_run(&fixture->relief);
    assert_gave_up(fixture, 0, 0, 0);
    assert_int_equal(budget_used(&fixture->budget), 510);
}

static void nothing_is_asked_of_who_holds_nothing(void **state)
{
    struct fixture *fixture = *state;

    budget_take(&fixture->budget, 2 * LIMIT_BYTES); /* is being worked on */
    relief_run(&fixture->relief);
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

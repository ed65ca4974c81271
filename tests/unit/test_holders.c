/* Who holds most memory (src/server/holders.h). */
#include "server/holders.h"

#include "unit.h"

static void nobody_holds_anything_at_first(void **state)
{
    struct holders holders;

    (void)state;
    holders_init(&holders);
    assert_null(holders_largest(&holders));
}

static void who_holds_twice_as_much_is_found(void **state)
{
    struct holders holders;
    struct holder crowd[40] = {0};

    (void)state;
    holders_init(&holders);
    for (size_t i = 0; i < COUNT(crowd); i++) { /* 1, 2, 4, ... in an order of their own */
        size_t digit = i * 7 % COUNT(crowd);

        holders_set(&holders, &crowd[digit], (size_t)1 << digit);
    }
    for (size_t i = COUNT(crowd); i-- > 0;) {
        assert_ptr_equal(holders_largest(&holders), &crowd[i]);
        assert_int_equal(holders_largest(&holders)->bytes, (size_t)1 << i);
        holders_set(&holders, &crowd[i], 0);
    }
    assert_null(holders_largest(&holders));
}

static void of_those_within_a_factor_of_two_the_first_one_counts(void **state)
{
    struct holders holders;
    struct holder early = {0}, late = {0}, below = {0};

    (void)state;
    holders_init(&holders);
    holders_set(&holders, &below, 1023);
    holders_set(&holders, &early, 1024);
    holders_set(&holders, &late, 2047);
    assert_ptr_equal(holders_largest(&holders), &early);
    holders_set(&holders, &early, 1500); /* it keeps its place as long as its rank is the same */
    assert_ptr_equal(holders_largest(&holders), &early);
    assert_int_equal(early.bytes, 1500);
    holders_set(&holders, &late, 2048);
    assert_ptr_equal(holders_largest(&holders), &late);
}

static void who_gives_back_goes_down_and_who_comes_up_goes_behind(void **state)
{
    struct holders holders;
    struct holder first = {0}, second = {0};

    (void)state;
    holders_init(&holders);
    holders_set(&holders, &first, 5000);
    holders_set(&holders, &second, 5000);
    holders_set(&holders, &first, 10);
    assert_ptr_equal(holders_largest(&holders), &second);
    holders_set(&holders, &first, 5000);
    assert_ptr_equal(holders_largest(&holders), &second); /* it holds so much for longer */
    holders_set(&holders, &second, 0);
    assert_ptr_equal(holders_largest(&holders), &first);
    holders_set(&holders, &first, 0);
    holders_set(&holders, &first, 0);
    assert_null(holders_largest(&holders));
}

static void the_least_and_the_most_have_a_rank(void **state)
{
    struct holders holders;
    struct holder least = {0}, most = {0};

    (void)state;
    holders_init(&holders);
    holders_set(&holders, &least, 1);
    assert_ptr_equal(holders_largest(&holders), &least);
    holders_set(&holders, &most, SIZE_MAX);
    assert_ptr_equal(holders_largest(&holders), &most);
    holders_set(&holders, &most, 0);
    assert_ptr_equal(holders_largest(&holders), &least);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_holds_anything_at_first),
        cmocka_unit_test(who_holds_twice_as_much_is_found),
        cmocka_unit_test(of_those_within_a_factor_of_two_the_first_one_counts),
        cmocka_unit_test(who_gives_back_goes_down_and_who_comes_up_goes_behind),
        cmocka_unit_test(the_least_and_the_most_have_a_rank),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Limits for the clients of an address (src/server/address_limits.h). */
#include "server/address_limits.h"
#include "unit.h"

#define SECOND_US UINT64_C(1000000)

static struct limited_address *enter(struct address_limits *limits, const char *key, unsigned most)
{
    struct limited_address *address;

    assert_true(address_limits_enter(limits, text_of(key), most, &address));
    assert_non_null(address);
    return address;
}

/* Takes permissions until there is none. Returns their number. */
static unsigned take_all(
    struct address_limits *limits, struct limited_address *address, uint64_t now_us)
{
    unsigned n = 0;

    while (address_limits_take(limits, address, now_us))
        n++;
    return n;
}

static void an_address_has_so_many_connections(void **state)
{
    struct address_limits limits;
    struct limited_address *refused;
    struct limited_address *a[2];

    (void)state;
    address_limits_init(&limits, 0);
    a[0] = enter(&limits, "a", 2);
    a[1] = enter(&limits, "a", 2);
    assert_ptr_equal(a[0], a[1]);
    assert_false(address_limits_enter(&limits, text_of("a"), 2, &refused));
    address_limits_leave(&limits, enter(&limits, "b", 2));
    assert_ptr_equal(enter(&limits, "a", 0), a[0]); /* another listener has no limit */
    address_limits_leave(&limits, a[0]);
    address_limits_leave(&limits, a[0]);
    assert_ptr_equal(enter(&limits, "a", 2), a[0]);
    address_limits_leave(&limits, a[0]);
    address_limits_leave(&limits, a[0]);
    assert_int_equal(limits.addresses.n_items, 0);
    address_limits_deinit(&limits);
}

static void permissions_come_back_with_time(void **state)
{
    struct address_limits limits;
    struct limited_address *address;
    const uint64_t now_us = 1000 * SECOND_US;

    (void)state;
    address_limits_init(&limits, 5);
    address = enter(&limits, "a", 0);
    assert_int_equal(take_all(&limits, address, now_us), 50);
    assert_int_equal(take_all(&limits, address, now_us + SECOND_US / 5 - 1), 0);
    assert_int_equal(take_all(&limits, address, now_us + SECOND_US / 5), 1);
    assert_int_equal(take_all(&limits, address, now_us + 2 * SECOND_US), 9);
    assert_int_equal(take_all(&limits, address, now_us + 3600 * SECOND_US), 50);
    address_limits_deinit(&limits);
}

static void permissions_outlive_connections(void **state)
{
    struct address_limits limits;
    struct limited_address *address;
    const uint64_t now_us = 1000 * SECOND_US;

    (void)state;
    address_limits_init(&limits, 1);
    address = enter(&limits, "a", 0);
    assert_int_equal(take_all(&limits, address, now_us), 10);
    address_limits_leave(&limits, address);
    address_limits_tick(&limits, now_us + 9 * SECOND_US);
    assert_int_equal(limits.addresses.n_items, 1);
    address = enter(&limits, "a", 0);
    assert_int_equal(take_all(&limits, address, now_us + 9 * SECOND_US), 9);
    address_limits_leave(&limits, address);
    address_limits_tick(&limits, now_us + 19 * SECOND_US);
    assert_int_equal(limits.addresses.n_items, 0);
    address_limits_deinit(&limits);
}

static void nobody_is_nobody(void **state)
{
    struct address_limits limits;

    (void)state;
    address_limits_init(&limits, 1);
    for (int i = 0; i < 100; i++)
        assert_true(address_limits_take(&limits, NULL, 0));
    address_limits_leave(&limits, NULL);
    address_limits_deinit(&limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_so_many_connections),
        cmocka_unit_test(permissions_come_back_with_time),
        cmocka_unit_test(permissions_outlive_connections),
        cmocka_unit_test(nobody_is_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

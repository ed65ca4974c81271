/* SPDX-License-Identifier: MIT */
/* What the rows of a package boil down to. */
#include "exec/package.h"

#include "unit.h"

#include <stdio.h>

static int create(void **state)
{
    *state = package_create();
    return *state ? 0 : -1;
}

static int destroy(void **state)
{
    package_free(*state);
    return 0;
}

static void add(struct package *package, const char *checksum, const char *value)
{
    assert_int_equal(package_add(package, text_of(checksum), text_of(value)), 0);
}

static void check_values(
    const struct package *package, struct text checksum, const char *smallest, const char *largest)
{
    const char *found_smallest;
    const char *found_largest;

    assert_true(package_find(package, checksum, &found_smallest, &found_largest));
    assert_string_equal(found_smallest, smallest);
    assert_string_equal(found_largest, largest);
}

static void check_unknown(const struct package *package, struct text checksum)
{
    const char *smallest = "untouched";
    const char *largest = "untouched";

    assert_false(package_find(package, checksum, &smallest, &largest));
    assert_null(smallest);
    assert_null(largest);
}

static void a_package_without_rows_knows_nothing(void **state)
{
    assert_null(package_greatest(*state));
    check_unknown(*state, text_of("c"));
    check_unknown(*state, TEXT(""));
    assert_false(package_holds(*state, "0"));
    package_free(NULL);
}

static void the_greatest_value_is_of_any_checksum(void **state)
{
    add(*state, "a", "1");
    assert_string_equal(package_greatest(*state), "1");
    add(*state, "b", "3");
    add(*state, "c", "2");
    assert_string_equal(package_greatest(*state), "3");
}

static void ten_is_greater_than_nine_in_any_order_of_rows(void **state)
{
    struct package *other = package_create();

    assert_non_null(other);
    add(*state, "a", "9");
    add(*state, "b", "10");
    assert_string_equal(package_greatest(*state), "10");
    add(other, "b", "10");
    add(other, "a", "9");
    assert_string_equal(package_greatest(other), "10");
    package_free(other);
}

static void one_point_zero_is_greater_than_one(void **state)
{
    add(*state, "a", "1.0");
    add(*state, "a", "1");
    assert_string_equal(package_greatest(*state), "1.0");
    check_values(*state, text_of("a"), "1", "1.0");
}

static void a_checksum_has_a_smallest_and_a_largest_value(void **state)
{
    add(*state, "a", "9");
    check_values(*state, text_of("a"), "9", "9");
    add(*state, "a", "10");
    check_values(*state, text_of("a"), "9", "10");
    add(*state, "a", "1.3");
    check_values(*state, text_of("a"), "1.3", "10");
    add(*state, "a", "4");
    check_values(*state, text_of("a"), "1.3", "10");
    add(*state, "b", "11");
    check_values(*state, text_of("a"), "1.3", "10");
    check_values(*state, text_of("b"), "11", "11");
}

static void a_row_that_is_there_already_changes_nothing(void **state)
{
    size_t bytes;

    add(*state, "a", "1");
    add(*state, "b", "2");
    bytes = package_bytes(*state);
    add(*state, "a", "1");
    assert_int_equal(package_bytes(*state), bytes);
    assert_string_equal(package_greatest(*state), "2");
    check_values(*state, text_of("a"), "1", "1");
}

static void two_checksums_can_hold_one_value(void **state)
{
    add(*state, "a", "1");
    add(*state, "b", "1");
    check_values(*state, text_of("a"), "1", "1");
    check_values(*state, text_of("b"), "1", "1");
}

static void every_value_of_a_row_is_held(void **state)
{
    add(*state, "a", "1");
    add(*state, "a", "2.0");
    add(*state, "a", "3");
    assert_true(package_holds(*state, "1"));
    assert_true(package_holds(*state, "2.0"));
    assert_true(package_holds(*state, "3"));
    assert_false(package_holds(*state, "2"));
    assert_false(package_holds(*state, "1.0"));
    assert_false(package_holds(*state, "30"));
    assert_false(package_holds(*state, ""));
}

static void a_floor_holds_its_value_and_all_smaller_ones(void **state)
{
    add(*state, "floor:10", "10");
    add(*state, "floor:2", "2");
    add(*state, "a", "20");
    assert_string_equal(package_greatest(*state), "20");
    assert_true(package_holds(*state, "0"));
    assert_true(package_holds(*state, "9.5"));
    assert_true(package_holds(*state, "10"));
    assert_false(package_holds(*state, "10.0"));
    assert_false(package_holds(*state, "11"));
    assert_true(package_holds(*state, "20"));
}

static void a_checksum_is_any_text(void **state)
{
    static const struct text checksums[] = {TEXT(""), TEXT("\0"), TEXT("a"), TEXT("a\0"),
        TEXT("a\0b"), TEXT("A"), TEXT("\xff"), TEXT("a ")};
    char value[16];

    for (size_t i = 0; i < COUNT(checksums); i++) {
        check_unknown(*state, checksums[i]);
        (void)snprintf(value, sizeof value, "%zu", i);
        assert_int_equal(package_add(*state, checksums[i], text_of(value)), 0);
    }
    for (size_t i = 0; i < COUNT(checksums); i++) {
        (void)snprintf(value, sizeof value, "%zu", i);
        check_values(*state, checksums[i], value, value);
    }
    check_values(*state, (struct text){.bytes = NULL}, "0", "0");
}

static void rows_are_copied_and_need_no_terminator(void **state)
{
    char checksum[] = "cc";
    char value[] = "12";

    assert_int_equal(package_add(*state, (struct text){checksum, 1}, (struct text){value, 1}), 0);
    memset(checksum, 'x', sizeof checksum);
    memset(value, '7', sizeof value);
    assert_string_equal(package_greatest(*state), "1");
    assert_true(package_holds(*state, "1"));
    check_values(*state, text_of("c"), "1", "1");
}

static void the_greatest_value_stays_borrowed_while_rows_are_added(void **state)
{
    const char *greatest;
    char text[32];

    add(*state, "a", "100000");
    greatest = package_greatest(*state);
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(text, sizeof text, "%u", i);
        add(*state, text, text);
    }
    assert_ptr_equal(package_greatest(*state), greatest);
    assert_string_equal(greatest, "100000");
    check_values(*state, text_of("1234"), "1234", "1234");
}

static void memory_is_counted_as_rows_are_added(void **state)
{
    size_t before = package_bytes(*state);

    assert_true(before > 0);
    add(*state, "a checksum", "1");
    assert_true(package_bytes(*state) >= before + strlen("a checksum") + strlen("1"));
    before = package_bytes(*state);
    add(*state, "a checksum", "20");
    assert_true(package_bytes(*state) >= before + strlen("20"));
    before = package_bytes(*state);
    add(*state, "another checksum", "1");
    assert_true(package_bytes(*state) >= before + strlen("another checksum"));
}

/* ---- keys ---- */

static void keys_differ_where_packages_differ(void **state)
{
    static const struct {
        struct text version;
        struct text pkgarch;
    } packages[] = {
        {TEXT("m4-1.4.19-r0"), TEXT("core2-64")},
        {TEXT("m4-1.4.19-r0"), TEXT("all")},
        {TEXT("m4-1.4.19-r1"), TEXT("core2-64")},
        {TEXT("ab"), TEXT("c")},
        {TEXT("a"), TEXT("bc")},
        {TEXT("abc"), TEXT("")},
        {TEXT(""), TEXT("abc")},
        {TEXT("a\0b"), TEXT("c")},
        {TEXT("a"), TEXT("\0bc")},
        {TEXT(""), TEXT("")},
    };
    struct buffer a = BUFFER_EMPTY;
    struct buffer b = BUFFER_EMPTY;

    (void)state;
    for (size_t i = 0; i < COUNT(packages); i++) {
        for (size_t j = 0; j < COUNT(packages); j++) {
            buffer_set_pair(&a, packages[i].version, packages[i].pkgarch);
            buffer_set_pair(&b, packages[j].version, packages[j].pkgarch);
            assert_int_equal(text_equal(buffer_text(&a), buffer_text(&b)), i == j);
        }
    }
    buffer_free(&a);
    buffer_free(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, create, destroy)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_package_without_rows_knows_nothing),
        TEST(the_greatest_value_is_of_any_checksum),
        TEST(ten_is_greater_than_nine_in_any_order_of_rows),
        TEST(one_point_zero_is_greater_than_one),
        TEST(a_checksum_has_a_smallest_and_a_largest_value),
        TEST(a_row_that_is_there_already_changes_nothing),
        TEST(two_checksums_can_hold_one_value),
        TEST(every_value_of_a_row_is_held),
        TEST(a_floor_holds_its_value_and_all_smaller_ones),
        TEST(a_checksum_is_any_text),
        TEST(rows_are_copied_and_need_no_terminator),
        TEST(the_greatest_value_stays_borrowed_while_rows_are_added),
        TEST(memory_is_counted_as_rows_are_added),
        TEST(keys_differ_where_packages_differ),
    };

    return cmocka_run_group_tests_name("package", tests, NULL, NULL);
}

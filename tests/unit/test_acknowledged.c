/* SPDX-License-Identifier: MIT */
/* The rows that a server has acknowledged last. */
#include "exec/acknowledged.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#define LIMIT_BYTES ((size_t)4 * 1024 * 1024)

static void add(struct acknowledged *rows, const char *checksum, int64_t value)
{
    char text[24];
    struct row row = {
        .version = text_of("v"), .pkgarch = text_of(""), .checksum = text_of(checksum)};

    (void)snprintf(text, sizeof text, "%lld", (long long)value);
    row.value = text_of(text);
    acknowledged_add(rows, &row);
}

static int create(void **state)
{
    *state = acknowledged_create(LIMIT_BYTES);
    return *state ? 0 : -1;
}

static int destroy(void **state)
{
    acknowledged_free(*state);
    return 0;
}

static void rows_come_back_in_their_order_with_their_counters(void **state)
{
    struct acknowledged *rows = *state;
    struct acknowledged_place place = {.block = NULL};
    struct row row;
    int64_t counter = 0;

    assert_false(acknowledged_next(rows, &place, &row, &counter));
    add(rows, "a", 0);
    add(rows, "b", 1);
    acknowledged_keep(rows, 7);
    add(rows, "c", 2);
    acknowledged_keep(rows, 8);
    for (int i = 0; i < 3; i++) {
        const char *const checksums[] = {"a", "b", "c"};
        const char *const values[] = {"0", "1", "2"};

        assert_true(acknowledged_next(rows, &place, &row, &counter));
        assert_true(text_is(row.version, "v"));
        assert_true(text_is(row.pkgarch, ""));
        assert_true(text_is(row.checksum, checksums[i]));
        assert_true(text_is(row.value, values[i]));
        assert_int_equal(counter, i < 2 ? 7 : 8);
    }
    assert_false(acknowledged_next(rows, &place, &row, &counter));
    assert_false(acknowledged_next(rows, &place, &row, &counter));
}

static void rows_that_are_not_committed_are_forgotten(void **state)
{
    struct acknowledged *rows = *state;
    struct acknowledged_place place = {.block = NULL};
    struct row row;
    int64_t counter;

    add(rows, "a", 0);
    acknowledged_drop(rows);
    add(rows, "b", 1);
    acknowledged_keep(rows, 1);
    assert_true(acknowledged_next(rows, &place, &row, &counter));
    assert_true(text_is(row.checksum, "b"));
    assert_false(acknowledged_next(rows, &place, &row, &counter));
}

static void the_oldest_rows_are_forgotten_first(void **state)
{
    enum { N = 200000 };
    struct acknowledged *rows = *state;
    struct acknowledged_place place = {.block = NULL};
    struct row row;
    int64_t counter;
    int64_t first = 0;
    int64_t n = 0;

    for (int64_t i = 1; i <= N; i++) {
        add(rows, "checksum", i);
        acknowledged_keep(rows, i);
    }
    while (acknowledged_next(rows, &place, &row, &counter)) {
        if (n == 0)
            first = counter;
        assert_int_equal(counter, first + n);
        n++;
    }
    assert_int_equal(first + n - 1, N);
    assert_true(first > 1 && n > 1000);
    assert_true((size_t)n * 50 < LIMIT_BYTES);
}

static void a_row_that_is_larger_than_a_block_is_kept(void **state)
{
    const size_t length = 3000000;
    char *checksum = calloc(1, length + 1);
    struct acknowledged *rows = *state;
    struct acknowledged_place place = {.block = NULL};
    struct row row;
    int64_t counter;

    assert_non_null(checksum);
    memset(checksum, 'x', length);
    add(rows, checksum, 1);
    acknowledged_keep(rows, 1);
    free(checksum);
    assert_true(acknowledged_next(rows, &place, &row, &counter));
    assert_int_equal(row.checksum.length, length);
    assert_true(text_is(row.value, "1"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, create, destroy)
    const struct CMUnitTest tests[] = {
        TEST(rows_come_back_in_their_order_with_their_counters),
        TEST(rows_that_are_not_committed_are_forgotten),
        TEST(the_oldest_rows_are_forgotten_first),
        TEST(a_row_that_is_larger_than_a_block_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The targets of HTTP requests (src/http/query.h). */
#include "http/query.h"

#include "unit.h"

#include <stdio.h>

/* Parses a copy of the target, which the texts of the query point into. */
static int parse(struct query *query, const char *target, struct error *error)
{
    static char copy[4096];

    (void)snprintf(copy, sizeof copy, "%s", target);
    return query_parse(query, copy, error);
}

static void expect_field(const struct query *query, const char *name, const char *value)
{
    const struct text found = query_find(query, name);

    assert_int_equal(found.length, strlen(value));
    assert_memory_equal(found.bytes, value, found.length);
}

static void a_target_has_a_path_and_fields(void **state)
{
    struct query query;
    struct error error;

    (void)state;
    assert_int_equal(parse(&query, "/a/b?x=1&y=&z&&w=%3D%26%3f+%2B#part", &error), 0);
    assert_true(text_is(query.path, "/a/b"));
    assert_int_equal(query.n_fields, 4);
    expect_field(&query, "x", "1");
    expect_field(&query, "y", "");
    expect_field(&query, "z", "");
    expect_field(&query, "w", "=&? +");
    assert_null(query_find(&query, "v").bytes);
}

static void a_target_may_be_absolute(void **state)
{
    struct query query;
    struct error error;

    (void)state;
    assert_int_equal(parse(&query, "HTTP://host:1/a?x=1", &error), 0);
    assert_true(text_is(query.path, "/a"));
    assert_int_equal(parse(&query, "http://host?x=1", &error), 0);
    assert_true(text_is(query.path, "/"));
    expect_field(&query, "x", "1");
}

static void a_plus_is_a_blank_in_a_field_only(void **state)
{
    struct query query;
    struct error error;

    (void)state;
    assert_int_equal(parse(&query, "/a+b?c+d=e+f", &error), 0);
    assert_true(text_is(query.path, "/a+b"));
    expect_field(&query, "c d", "e f");
}

static void a_nul_is_a_character(void **state)
{
    struct query query;
    struct error error;

    (void)state;
    assert_int_equal(parse(&query, "/?a=b%00c", &error), 0);
    assert_int_equal(query_find(&query, "a").length, 3);
}

static void what_is_not_well_formed_is_refused(void **state)
{
    static const char *const targets[] = {"", "a", "*", "ftp://a/b", "?a", "/%", "/%4", "/%4g",
        "/a?b=%", "/a?%=b", "/\xff", "/a?b=%ff", "/a?b=%ed%a0%80", "/a?b=1&b=2", "/a?b&b",
        "/?a&b&c&d&e&f&g&h&i"};
    struct query query;
    struct error error;

    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        assert_int_equal(parse(&query, targets[i], &error), ERROR_INPUT);
}

static void numbers_have_limits(void **state)
{
    static const char *const invalid[] = {
        "/?n=", "/?n=0", "/?n=201", "/?n=-1", "/?n=1x", "/?n=4294967297", "/?n=%201"};
    struct query query;
    struct error error;
    unsigned number = 50;

    (void)state;
    assert_int_equal(parse(&query, "/", &error), 0);
    assert_int_equal(query_read_number(&query, "n", 200, &number, &error), 0);
    assert_int_equal(number, 50);
    assert_int_equal(parse(&query, "/?n=0200", &error), 0);
    assert_int_equal(query_read_number(&query, "n", 200, &number, &error), 0);
    assert_int_equal(number, 200);
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        assert_int_equal(parse(&query, invalid[i], &error), 0);
        assert_int_equal(query_read_number(&query, "n", 200, &number, &error), ERROR_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_has_a_path_and_fields),
        cmocka_unit_test(a_target_may_be_absolute),
        cmocka_unit_test(a_plus_is_a_blank_in_a_field_only),
        cmocka_unit_test(a_nul_is_a_character),
        cmocka_unit_test(what_is_not_well_formed_is_refused),
        cmocka_unit_test(numbers_have_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Large packages: which facts an index gives, and which a scan in pieces. */
#include "exec/large_package.h"

#include "base/clock.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_ROWS 2000

/* A store with one package. Rows stay in their order, by checksum. */
static struct {
    struct store base;
    struct {
        char checksum[16];
        char value[16];
    } rows[MAX_ROWS];
    int n_rows;
    int n_read;    /* rows that were passed to a callback */
    bool can_stop; /* as load_after says */
    int result;    /* of load_after */
} store;

static const struct large_package_limits limits = {.rows = 10, .bytes = 1000};
static struct large_package *large;

static int pass(int i, store_row_fn fn, void *context)
{
    const struct row row = {.version = text_of("v"),
        .pkgarch = text_of("a"),
        .checksum = text_of(store.rows[i].checksum),
        .value = text_of(store.rows[i].value)};

    store.n_read++;
    return fn(context, &row);
}

static int look_up(struct store *base, struct text version, struct text pkgarch,
    struct text checksum, store_row_fn fn, void *context, struct error *error)
{
    int stop = 0;

    (void)base;
    (void)version;
    (void)pkgarch;
    (void)error;
    for (int i = 0; i < store.n_rows && stop == 0; i++) {
        if (text_is(checksum, store.rows[i].checksum))
            stop = pass(i, fn, context);
    }
    return 0;
}

static int load_after(struct store *base, struct text version, struct text pkgarch,
    const struct store_place *place, bool *can_stop, store_row_fn fn, void *context,
    struct error *error)
{
    int i = 0;
    int stop = 0;

    (void)base;
    assert_text_is(version, "v");
    assert_text_is(pkgarch, "a");
    *can_stop = store.can_stop;
    while (i < store.n_rows && place->checksum.length > 0 &&
           !text_is(place->checksum, store.rows[i].checksum))
        i++;
    for (i += place->checksum.length > 0; i < store.n_rows && stop == 0; i++)
        stop = pass(i, fn, context);
    return store.result ? error_set(error, store.result, "the disk is broken") : 0;
}

static void add(const char *checksum, const char *value)
{
    (void)snprintf(
        store.rows[store.n_rows].checksum, sizeof store.rows[0].checksum, "%s", checksum);
    (void)snprintf(store.rows[store.n_rows++].value, sizeof store.rows[0].value, "%s", value);
}

static int set_up(void **state)
{
    static const struct store_ops ops = {.look_up = look_up, .load_after = load_after};

    (void)state;
    memset(&store, 0, sizeof store);
    store.base.ops = &ops;
    store.can_stop = true;
    large = large_package_create(text_of("v"), text_of("a"));
    for (int i = 0; i < 1000; i++) {
        char checksum[16];
        char value[16];

        (void)snprintf(checksum, sizeof checksum, "c%04d", i);
        (void)snprintf(value, sizeof value, "%d", i);
        add(checksum, value);
    }
    return large ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    large_package_free(large);
    return 0;
}

static int ask(const struct package_question *question, struct package_facts *facts)
{
    struct error error;

    return large_package_ask(large, &store.base, NULL, &limits, question, facts, &error);
}

static int scan(uint64_t until_ms)
{
    struct error error;

    return large_package_scan(large, &store.base, NULL, until_ms, &error);
}

static const struct package_question greatest = {.wants_greatest = true};

static void a_checksum_needs_no_scan(void **state)
{
    const struct package_question question = {.checksum = text_of("c0017")};
    struct package_facts facts;

    (void)state;
    assert_int_equal(ask(&question, &facts), 0);
    assert_string_equal(facts.smallest, "17");
    assert_string_equal(facts.largest, "17");
    assert_int_equal(store.n_read, 1);
}

static void with_history_known_content_needs_no_greatest_value(void **state)
{
    struct package_question question = {
        .checksum = text_of("c0017"), .wants_greatest = true, .smallest_is_enough = true};
    struct package_facts facts;

    (void)state;
    assert_int_equal(ask(&question, &facts), 0);
    assert_string_equal(facts.smallest, "17");
    question.checksum = text_of("new");
    assert_int_equal(ask(&question, &facts), PACKAGE_IS_SCANNED);
}

static void the_greatest_value_needs_a_scan_which_goes_on_where_it_stopped(void **state)
{
    struct package_facts facts;
    int n_pieces = 0;

    (void)state;
    assert_int_equal(ask(&greatest, &facts), PACKAGE_IS_SCANNED);
    while (large_package_is_scanning(large)) {
        assert_int_equal(scan(0), 0);
        n_pieces++;
    }
    assert_in_range(n_pieces, 2, 10);
    assert_int_equal(store.n_read, 1000);
    assert_int_equal(ask(&greatest, &facts), 0);
    assert_string_equal(facts.greatest, "999");
}

static void without_an_index_a_scan_is_one_piece(void **state)
{
    (void)state;
    store.can_stop = false;
    assert_int_equal(scan(0), 0);
    assert_false(large_package_is_scanning(large));
    assert_int_equal(store.n_read, 1000);
}

static void rows_that_are_added_during_a_scan_count(void **state)
{
    struct package_facts facts;

    (void)state;
    assert_int_equal(scan(0), 0);
    assert_int_equal(large_package_add(large, text_of("a"), text_of("5000")), 0);
    assert_int_equal(large_package_add(large, text_of("b"), text_of("7")), 0);
    assert_int_equal(scan(UINT64_MAX), 0);
    assert_int_equal(ask(&greatest, &facts), 0);
    assert_string_equal(facts.greatest, "5000");
    assert_int_equal(large_package_add(large, text_of("d"), text_of("5000.1")), 0);
    assert_int_equal(ask(&greatest, &facts), 0);
    assert_string_equal(facts.greatest, "5000.1");
}

static bool is_held(const char *value)
{
    const struct package_question question = {.value = text_of(value), .wants_greatest = true};
    struct package_facts facts;
    int result;

    while ((result = ask(&question, &facts)) == PACKAGE_IS_SCANNED)
        assert_int_equal(scan(UINT64_MAX), 0);
    assert_int_equal(result, 0);
    return facts.is_held;
}

static void whether_a_value_is_held_is_found_by_a_scan(void **state)
{
    (void)state;
    add("floor:20.3", "20.3");
    assert_true(is_held("999"));
    assert_true(is_held("500"));
    assert_false(is_held("500.1"));
    assert_true(is_held("20.2")); /* up to a floor */
    assert_false(is_held("20.4"));
    assert_false(is_held("1000"));
    assert_int_equal(large_package_add(large, text_of("x"), text_of("500.1")), 0);
    assert_true(is_held("500.1"));
}

static void a_value_above_all_others_needs_no_scan(void **state)
{
    (void)state;
    assert_int_equal(scan(UINT64_MAX), 0);
    store.n_read = 0;
    assert_false(is_held("2000"));
    assert_int_equal(store.n_read, 0);
}

static void a_question_that_comes_during_a_scan_waits_for_the_next_one(void **state)
{
    const struct package_question question = {.value = text_of("1"), .wants_greatest = true};
    struct package_facts facts;

    (void)state;
    assert_int_equal(scan(UINT64_MAX), 0);
    assert_int_equal(ask(&question, &facts), PACKAGE_IS_SCANNED);
    assert_int_equal(scan(0), 0); /* behind the row with 1 */
    assert_int_equal(ask(&question, &facts), 0);
    assert_true(facts.is_held);
    assert_true(is_held("2")); /* asked behind its row */
}

static void a_checksum_with_many_values_is_found_by_a_scan(void **state)
{
    const struct package_question question = {.checksum = text_of("often")};
    struct package_facts facts;

    (void)state;
    for (int i = 0; i < 50; i++) {
        char value[16];

        (void)snprintf(value, sizeof value, "7.%d", i);
        add("often", value);
    }
    assert_int_equal(ask(&question, &facts), PACKAGE_IS_SCANNED);
    assert_int_equal(scan(UINT64_MAX), 0);
    assert_int_equal(ask(&question, &facts), 0);
    assert_string_equal(facts.smallest, "7.0");
    assert_string_equal(facts.largest, "7.49");
}

static void after_changes_by_others_everything_is_scanned_again(void **state)
{
    struct package_facts facts;

    (void)state;
    assert_int_equal(scan(UINT64_MAX), 0);
    assert_true(is_held("20"));
    add("another", "3000");
    large_package_reset(large);
    assert_int_equal(ask(&greatest, &facts), PACKAGE_IS_SCANNED);
    assert_int_equal(scan(UINT64_MAX), 0);
    assert_int_equal(ask(&greatest, &facts), 0);
    assert_string_equal(facts.greatest, "3000");
}

static void what_nobody_asks_for_is_not_scanned_again(void **state)
{
    struct package_facts facts;

    (void)state;
    assert_false(large_package_is_scanning(large));
    assert_int_equal(ask(&greatest, &facts), PACKAGE_IS_SCANNED);
    assert_true(large_package_is_scanning(large));
    large_package_reset(large);
    assert_false(large_package_is_scanning(large));
    assert_int_equal(ask(&greatest, &facts), PACKAGE_IS_SCANNED);
    assert_true(large_package_is_scanning(large));
}

static void a_package_whose_facts_others_make_void_again_and_again_is_restless(void **state)
{
    struct package_facts facts;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_false(large_package_is_restless(large));
        assert_int_equal(scan(UINT64_MAX), 0);
        large_package_reset(large);
    }
    assert_true(large_package_is_restless(large));
    assert_int_equal(scan(UINT64_MAX), 0);
    assert_int_equal(ask(&greatest, &facts), 0);
    assert_false(large_package_is_restless(large));
}

static void a_scan_that_fails_begins_anew(void **state)
{
    struct package_facts facts;

    (void)state;
    store.result = ERROR_STORE;
    assert_int_equal(scan(0), ERROR_STORE);
    store.result = 0;
    assert_int_equal(scan(UINT64_MAX), 0);
    assert_int_equal(ask(&greatest, &facts), 0);
    assert_string_equal(facts.greatest, "999");
}

static void answers_that_take_much_memory_are_dropped(void **state)
{
    (void)state;
    assert_int_equal(scan(UINT64_MAX), 0);
    for (int i = 0; i < 30000; i++) {
        char value[16];
        struct package_question question = {.wants_greatest = true};
        struct package_facts facts;

        (void)snprintf(value, sizeof value, "5.%d", i);
        question.value = text_of(value);
        assert_int_equal(ask(&question, &facts), PACKAGE_IS_SCANNED);
    }
    assert_in_range(large_package_bytes(large), 1000000, SIZE_MAX);
    assert_int_equal(scan(UINT64_MAX), 0);
    assert_false(is_held("5.99999")); /* with the next scan */
    assert_in_range(large_package_bytes(large), 0, 1000000);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_checksum_needs_no_scan),
        TEST(with_history_known_content_needs_no_greatest_value),
        TEST(the_greatest_value_needs_a_scan_which_goes_on_where_it_stopped),
        TEST(without_an_index_a_scan_is_one_piece),
        TEST(rows_that_are_added_during_a_scan_count),
        TEST(whether_a_value_is_held_is_found_by_a_scan),
        TEST(a_value_above_all_others_needs_no_scan),
        TEST(a_question_that_comes_during_a_scan_waits_for_the_next_one),
        TEST(a_checksum_with_many_values_is_found_by_a_scan),
        TEST(after_changes_by_others_everything_is_scanned_again),
        TEST(what_nobody_asks_for_is_not_scanned_again),
        TEST(a_package_whose_facts_others_make_void_again_and_again_is_restless),
        TEST(a_scan_that_fails_begins_anew),
        TEST(answers_that_take_much_memory_are_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

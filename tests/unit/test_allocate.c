/* SPDX-License-Identifier: MIT */
/* The table that decides a get-pr, row by row, and what it promises for all facts. */
#include "revision/allocate.h"

#include "revision/revision.h"
#include "unit.h"

#include <stdlib.h>

struct expectation {
    struct allocate_facts facts;
    const char *value; /* NULL: needs the upstream */
};

static const char *shown(const char *revision)
{
    return revision ? revision : "none";
}

static void describe(const struct allocate_facts *facts)
{
    print_error("lmax %s, lval %s, umax %s, uval %s (%s), %s, upstream %d\n", shown(facts->lmax),
        shown(facts->lval), shown(facts->umax), shown(facts->uval),
        facts->uval_held ? "held" : "not held", facts->history ? "history" : "no history",
        (int)facts->upstream);
}

static void check_table(const struct expectation *table, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        char *value = (char *)"untouched";
        enum allocate_result result = allocate_revision(&table[i].facts, &value);
        enum allocate_result expected = table[i].value ? ALLOCATE_OK : ALLOCATE_NEEDS_UPSTREAM;

        if (result != expected || (value == NULL) != (table[i].value == NULL) ||
            (value && strcmp(value, table[i].value) != 0)) {
            describe(&table[i].facts);
            fail_msg("row %zu: got %s, not %s", i, shown(value), shown(table[i].value));
        }
        free(value);
    }
}

#define WITH_UPSTREAM .upstream = UPSTREAM_ASKED
#define WITH_HISTORY .history = true
#define WITHOUT_UPSTREAM_ANSWER .upstream = UPSTREAM_UNKNOWN

/* ---- no upstream ---- */

static void the_first_content_gets_zero(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = NULL}, "0"},
        {{WITH_HISTORY}, "0"},
        {{WITH_UPSTREAM}, "0"},
        {{WITH_UPSTREAM, WITH_HISTORY}, "0"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void new_content_gets_the_next_number(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "0"}, "1"},
        {{.lmax = "9"}, "10"},
        {{.lmax = "1.9"}, "1.10"},
        {{.lmax = "0", WITH_HISTORY}, "1"},
        {{.lmax = "9", WITH_UPSTREAM}, "10"},
        {{.lmax = "3.7", WITH_UPSTREAM, WITH_HISTORY}, "3.8"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void content_that_is_the_latest_keeps_its_number(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "0", .lval = "0"}, "0"},
        {{.lmax = "10", .lval = "10"}, "10"},
        {{.lmax = "1.3", .lval = "1.3", WITH_UPSTREAM}, "1.3"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void content_that_comes_back_gets_a_new_number(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "2", .lval = "0"}, "3"},
        {{.lmax = "10", .lval = "9"}, "11"},
        {{.lmax = "1.0", .lval = "1"}, "1.1"},
        {{.lmax = "9", .lval = "8", WITH_UPSTREAM}, "10"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void with_history_known_content_gets_its_own_number(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "2", .lval = "0", WITH_HISTORY}, "0"},
        {{.lmax = "2", .lval = "2", WITH_HISTORY}, "2"},
        {{.lmax = "2", .lval = "1", .umax = "7", WITH_HISTORY, WITH_UPSTREAM}, "1"},
        {{.lmax = "2", .lval = "1", .umax = "7", .uval = "5", WITH_HISTORY, WITH_UPSTREAM}, "1"},
        {{.lmax = "2", .lval = "1", WITH_HISTORY, WITHOUT_UPSTREAM_ANSWER}, "1"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

/* ---- with an upstream ---- */

static void new_content_goes_below_the_upstreams_greatest(void **state)
{
    static const struct expectation table[] = {
        {{.umax = "3", WITH_UPSTREAM}, "3.0"},
        {{.umax = "1.2", WITH_UPSTREAM}, "1.2.0"},
        {{.lmax = "2", .umax = "3", WITH_UPSTREAM}, "3.0"},
        {{.lmax = "2.7", .umax = "10", WITH_UPSTREAM}, "10.0"},
        {{.lmax = "3", .umax = "3", WITH_UPSTREAM}, "3.0"},
        {{.lmax = "9", .umax = "10", WITH_UPSTREAM, WITH_HISTORY}, "10.0"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void new_content_exceeds_what_is_greater_here(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "3.0", .umax = "3", WITH_UPSTREAM}, "3.1"},
        {{.lmax = "3.9", .umax = "3", WITH_UPSTREAM}, "3.10"},
        {{.lmax = "10", .umax = "9", WITH_UPSTREAM}, "11"},
        {{.lmax = "4", .umax = "3.7", WITH_UPSTREAM, WITH_HISTORY}, "5"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void content_published_upstream_gets_the_upstreams_number(void **state)
{
    static const struct expectation table[] = {
        {{.umax = "3", .uval = "3", WITH_UPSTREAM}, "3"},
        {{.umax = "3", .uval = "1", WITH_UPSTREAM}, "1"},
        {{.lmax = "2.4", .umax = "3", .uval = "3", WITH_UPSTREAM}, "3"},
        {{.lmax = "9", .umax = "10", .uval = "10", WITH_UPSTREAM}, "10"},
        {{.lmax = "1", .umax = "10", .uval = "1.0", WITH_UPSTREAM, WITH_HISTORY}, "1.0"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void an_upstream_number_that_is_not_greater_is_raised(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "3.2", .umax = "3", .uval = "3", WITH_UPSTREAM}, "3.3"},
        {{.lmax = "10", .umax = "10", .uval = "9", WITH_UPSTREAM}, "11"},
        {{.lmax = "3", .umax = "3", .uval = "3", WITH_UPSTREAM}, "4"},
        {{.lmax = "3", .umax = "8", .uval = "2", WITH_UPSTREAM}, "8"}, /* lifted from 4 */
        {{.lmax = "7", .umax = "8", .uval = "2", WITH_UPSTREAM}, "8"},
        {{.lmax = "3", .umax = "3", .uval = "1", .uval_held = true, WITH_UPSTREAM}, "4"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void with_history_an_upstream_number_nobody_holds_is_taken_over(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "5", .umax = "5", .uval = "2", WITH_UPSTREAM, WITH_HISTORY}, "2"},
        {{.lmax = "10", .umax = "9", .uval = "9", WITH_UPSTREAM, WITH_HISTORY}, "9"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void with_history_an_upstream_number_that_is_held_is_raised(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "5", .umax = "5", .uval = "2", .uval_held = true, WITH_UPSTREAM, WITH_HISTORY},
            "6"},
        {{.lmax = "5", .umax = "9", .uval = "2", .uval_held = true, WITH_UPSTREAM, WITH_HISTORY},
            "9"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void content_published_here_is_lifted_to_the_upstreams_level(void **state)
{
    static const struct expectation table[] = {
        /* The upstream has the content: its greatest. Otherwise below it. */
        {{.lmax = "2", .lval = "2", .umax = "5", .uval = "4", WITH_UPSTREAM}, "5"},
        {{.lmax = "2", .lval = "2", .umax = "5", WITH_UPSTREAM}, "5.0"},
        {{.lmax = "9", .lval = "9", .umax = "10", WITH_UPSTREAM}, "10.0"},
        {{.lmax = "2", .lval = "1", .umax = "5", .uval = "4", WITH_UPSTREAM}, "5"},
        {{.lmax = "2", .lval = "1", .umax = "5", WITH_UPSTREAM}, "5.0"},
        {{.lmax = "5", .lval = "5", .umax = "5.0", WITH_UPSTREAM}, "5.0.0"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void content_at_the_upstreams_level_is_not_lifted(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "5", .lval = "5", .umax = "5", WITH_UPSTREAM}, "5"},
        {{.lmax = "5", .lval = "5", .umax = "5", .uval = "4", WITH_UPSTREAM}, "5"},
        {{.lmax = "5.2", .lval = "5.2", .umax = "5", WITH_UPSTREAM}, "5.2"},
        {{.lmax = "10", .lval = "10", .umax = "9", WITH_UPSTREAM}, "10"},
        {{.lmax = "4", .lval = "3", .umax = "5", .uval = "3", WITH_UPSTREAM}, "5"},
        {{.lmax = "5.2", .lval = "5.1", .umax = "5", WITH_UPSTREAM}, "5.3"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

/* ---- an upstream that can't be asked ---- */

static void without_the_upstreams_answer_the_latest_content_keeps_its_number(void **state)
{
    static const struct expectation table[] = {
        {{.lmax = "2", .lval = "2", WITHOUT_UPSTREAM_ANSWER}, "2"},
        {{.lmax = "2.10", .lval = "2.10", WITHOUT_UPSTREAM_ANSWER}, "2.10"},
        {{.lmax = "2", .lval = "2", WITH_HISTORY, WITHOUT_UPSTREAM_ANSWER}, "2"},
    };

    (void)state;
    check_table(table, COUNT(table));
}

static void without_the_upstreams_answer_no_new_number_is_given(void **state)
{
    static const struct expectation table[] = {
        {{WITHOUT_UPSTREAM_ANSWER}, NULL},
        {{.lmax = "2", WITHOUT_UPSTREAM_ANSWER}, NULL},
        {{.lmax = "2", .lval = "1", WITHOUT_UPSTREAM_ANSWER}, NULL},
        {{.lmax = "10", .lval = "9", WITHOUT_UPSTREAM_ANSWER}, NULL},
        {{WITH_HISTORY, WITHOUT_UPSTREAM_ANSWER}, NULL},
        {{.lmax = "2", WITH_HISTORY, WITHOUT_UPSTREAM_ANSWER}, NULL},
    };

    (void)state;
    check_table(table, COUNT(table));
}

/* ---- what is promised, for all facts ---- */

static bool at_most(const char *a, const char *b)
{
    return !a || (b && revision_compare(a, b) <= 0);
}

static bool exceeds(const char *value, const char *other)
{
    return !other || revision_compare(value, other) > 0;
}

/* Calls check for every combination of facts that can be, and its answer. */
static void for_all_facts(bool (*check)(const struct allocate_facts *facts, const char *value))
{
    static const char *const some[] = {NULL, "0", "1", "1.0", "1.9", "1.10", "2", "9", "10"};
    enum { n = COUNT(some) };

    for (size_t i = 0; i < (size_t)n * n * n * n * 4; i++) {
        struct allocate_facts facts = {.lmax = some[i % n],
            .lval = some[i / n % n],
            .umax = some[i / n / n % n],
            .uval = some[i / n / n / n % n],
            .uval_held = i / n / n / n / n % 2 == 1,
            .history = i / n / n / n / n / 2 == 1,
            .upstream = UPSTREAM_ASKED};
        char *value;

        if (!at_most(facts.lval, facts.lmax) || !at_most(facts.uval, facts.umax) ||
            (facts.uval_held && (!facts.uval || !at_most(facts.uval, facts.lmax))))
            continue;
        assert_int_equal(allocate_revision(&facts, &value), ALLOCATE_OK);
        if (!revision_is_valid(value, strlen(value)) || !check(&facts, value)) {
            describe(&facts);
            fail_msg("%s breaks the promise", value);
        }
        free(value);
    }
}

static bool never_down(const struct allocate_facts *facts, const char *value)
{
    return facts->history || at_most(facts->lmax, value);
}

static void without_history_answers_never_go_down(void **state)
{
    (void)state;
    for_all_facts(never_down);
}

static bool above_all(const struct allocate_facts *facts, const char *value)
{
    if (facts->lval || facts->uval)
        return true;
    return exceeds(value, facts->lmax) && exceeds(value, facts->umax);
}

static void new_content_exceeds_everything_here_and_upstream(void **state)
{
    (void)state;
    for_all_facts(above_all);
}

static bool at_upstreams_level(const struct allocate_facts *facts, const char *value)
{
    return facts->history || !facts->lval || at_most(facts->umax, value);
}

static void without_history_published_content_reaches_the_upstreams_level(void **state)
{
    (void)state;
    for_all_facts(at_upstreams_level);
}

/* A value that may be another checksum's: one at or below lmax that is not this one's. */
static bool nobody_elses(const struct allocate_facts *facts, const char *value)
{
    if (exceeds(value, facts->lmax))
        return true;
    if (facts->lval && revision_compare(value, facts->lval) == 0)
        return true;
    return facts->uval && !facts->uval_held && revision_compare(value, facts->uval) == 0;
}

static void no_value_is_given_to_two_checksums(void **state)
{
    (void)state;
    for_all_facts(nobody_elses);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_content_gets_zero),
        cmocka_unit_test(new_content_gets_the_next_number),
        cmocka_unit_test(content_that_is_the_latest_keeps_its_number),
        cmocka_unit_test(content_that_comes_back_gets_a_new_number),
        cmocka_unit_test(with_history_known_content_gets_its_own_number),
        cmocka_unit_test(new_content_goes_below_the_upstreams_greatest),
        cmocka_unit_test(new_content_exceeds_what_is_greater_here),
        cmocka_unit_test(content_published_upstream_gets_the_upstreams_number),
        cmocka_unit_test(an_upstream_number_that_is_not_greater_is_raised),
        cmocka_unit_test(with_history_an_upstream_number_nobody_holds_is_taken_over),
        cmocka_unit_test(with_history_an_upstream_number_that_is_held_is_raised),
        cmocka_unit_test(content_published_here_is_lifted_to_the_upstreams_level),
        cmocka_unit_test(content_at_the_upstreams_level_is_not_lifted),
        cmocka_unit_test(without_the_upstreams_answer_the_latest_content_keeps_its_number),
        cmocka_unit_test(without_the_upstreams_answer_no_new_number_is_given),
        cmocka_unit_test(without_history_answers_never_go_down),
        cmocka_unit_test(new_content_exceeds_everything_here_and_upstream),
        cmocka_unit_test(without_history_published_content_reaches_the_upstreams_level),
        cmocka_unit_test(no_value_is_given_to_two_checksums),
    };

    return cmocka_run_group_tests_name("allocate", tests, NULL, NULL);
}

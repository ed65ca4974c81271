/* SPDX-License-Identifier: MIT */
/* Decisions: from a request and the package's rows to an answer and a row. */
#include "exec/decide.h"

#include "exec/package.h"
#include "unit.h"

#include <stdlib.h>

struct case_of_decide {
    struct request request;
    struct job job;
    struct package *package;
};

static int create(void **state)
{
    struct case_of_decide *is = calloc(1, sizeof *is);

    if (!is)
        return -1;
    is->package = package_create();
    is->request = (struct request){.kind = REQUEST_GET_PR,
        .version = text_of("v"),
        .pkgarch = text_of("a"),
        .checksum = text_of("c")};
    is->job = (struct job){.request = &is->request};
    *state = is;
    return is->package ? 0 : -1;
}

static int destroy(void **state)
{
    struct case_of_decide *is = *state;

    job_reset(&is->job);
    package_free(is->package);
    free(is);
    return 0;
}

static void add(struct case_of_decide *is, const char *checksum, const char *value)
{
    assert_int_equal(package_add(is->package, text_of(checksum), text_of(value)), 0);
}

/* Decides from what the package holds. */
static bool decide_it(struct case_of_decide *is)
{
    struct package_question question;
    struct package_facts facts = {.greatest = package_greatest(is->package)};

    decide_ask(&is->job, &question);
    if (question.checksum.bytes)
        (void)package_find(is->package, question.checksum, &facts.smallest, &facts.largest);
    facts.is_held = question.value.bytes && package_holds(is->package, question.value.bytes);
    return decide(&is->job, &facts, NULL);
}

static void check_answer(struct case_of_decide *is, const char *value, bool needs_row)
{
    assert_int_equal(decide_it(is), needs_row);
    assert_int_equal(is->job.result, 0);
    assert_string_equal(is->job.value, value);
}

static void new_content_gets_the_next_revision_and_needs_a_row(void **state)
{
    struct case_of_decide *is = *state;
    struct row row;

    add(is, "other", "4");
    check_answer(is, "5", true);
    decide_row(&is->job, &row);
    assert_text_is(row.version, "v");
    assert_text_is(row.pkgarch, "a");
    assert_text_is(row.checksum, "c");
    assert_text_is(row.value, "5");
}

static void known_content_with_the_greatest_value_needs_no_row(void **state)
{
    struct case_of_decide *is = *state;

    add(is, "other", "4");
    add(is, "c", "5");
    check_answer(is, "5", false);
}

static void without_history_content_keeps_its_largest_value(void **state)
{
    struct case_of_decide *is = *state;

    add(is, "c", "2");
    add(is, "c", "7");
    check_answer(is, "7", false);
}

static void with_history_content_keeps_its_smallest_value(void **state)
{
    struct case_of_decide *is = *state;

    is->request.history = true;
    add(is, "c", "2");
    add(is, "c", "7");
    add(is, "other", "9");
    check_answer(is, "2", false);
}

static void content_of_the_upstream_gets_its_value_and_needs_a_row(void **state)
{
    struct case_of_decide *is = *state;

    is->job.upstream = UPSTREAM_ASKED;
    is->job.umax = "6";
    is->job.uval = "6";
    check_answer(is, "6", true);
}

static void with_history_an_older_value_of_the_upstream_is_given_unless_other_content_holds_it(
    void **state)
{
    struct case_of_decide *is = *state;

    is->request.history = true;
    is->job.upstream = UPSTREAM_ASKED;
    is->job.umax = "6";
    is->job.uval = "6";
    add(is, "other", "9");
    check_answer(is, "6", true);
    job_reset(&is->job);
    add(is, "other", "6");
    check_answer(is, "10", true);
}

static void new_content_without_an_answer_of_the_upstream_is_refused_with_the_reason(void **state)
{
    struct case_of_decide *is = *state;

    is->job.upstream = UPSTREAM_UNKNOWN;
    is->job.upstream_reason = "it is asleep";
    assert_false(decide_it(is));
    assert_int_equal(is->job.result, ERROR_UPSTREAM);
    assert_null(is->job.value);
    assert_says(&is->job.error, "it is asleep");
}

static void known_content_is_answered_without_the_upstream(void **state)
{
    struct case_of_decide *is = *state;

    is->job.upstream = UPSTREAM_UNKNOWN;
    is->job.upstream_reason = "it is asleep";
    is->request.history = true;
    add(is, "c", "3");
    check_answer(is, "3", false);
}

static void import(struct case_of_decide *is, const char *value)
{
    is->request.kind = REQUEST_IMPORT_ONE;
    is->request.value = text_of(value);
}

static void an_import_of_a_missing_row_needs_that_row(void **state)
{
    struct case_of_decide *is = *state;
    struct row row;

    import(is, "8");
    assert_true(decide_it(is));
    add(is, "other", "8");
    assert_true(decide_it(is));
    add(is, "c", "9");
    assert_true(decide_it(is));
    decide_row(&is->job, &row);
    assert_text_is(row.checksum, "c");
    assert_text_is(row.value, "8");
}

static void an_import_of_the_smallest_or_largest_value_needs_no_row(void **state)
{
    struct case_of_decide *is = *state;

    add(is, "c", "2");
    add(is, "c", "8");
    import(is, "8");
    assert_false(decide_it(is));
    import(is, "2");
    assert_false(decide_it(is));
    assert_int_equal(is->job.result, 0);
}

static void a_decision_can_be_taken_back_and_made_again(void **state)
{
    struct case_of_decide *is = *state;

    check_answer(is, "0", true);
    job_reset(&is->job);
    assert_null(is->job.value);
    add(is, "other", "0");
    check_answer(is, "1", true);
}

static void a_long_value_is_taken_from_the_budget_and_given_back(void **state)
{
    struct case_of_decide *is = *state;
    struct budget budget = {.limit = 4000};
    char longer[1500];

    memset(longer, '1', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    is->job.budget = &budget;
    add(is, "c", longer);
    check_answer(is, longer, false);
    assert_int_equal(is->job.budgeted, 2 * strlen(longer));
    job_reset(&is->job);
    assert_int_equal(is->job.budgeted, 0);
    budget.limit = 100;
    assert_false(decide_it(is));
    assert_int_equal(is->job.result, ERROR_MEMORY);
    assert_null(is->job.value);
}

static void an_older_value_of_the_upstream_is_not_given_up_to_a_floor(void **state)
{
    struct case_of_decide *is = *state;

    is->request.history = true;
    is->job.upstream = UPSTREAM_ASKED;
    is->job.umax = is->job.uval = "6";
    add(is, "other", "9");
    add(is, "floor:5", "5");
    check_answer(is, "6", true);
    job_reset(&is->job);
    add(is, "floor:6", "6");
    check_answer(is, "10", true);
    job_reset(&is->job);
    add(is, "floor:8", "8");
    check_answer(is, "10", true);
}

static void content_keeps_its_value_although_a_floor_is_above(void **state)
{
    struct case_of_decide *is = *state;

    is->request.history = true;
    add(is, "c", "2");
    add(is, "floor:7", "7");
    check_answer(is, "2", false);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, create, destroy)
    const struct CMUnitTest tests[] = {
        TEST(new_content_gets_the_next_revision_and_needs_a_row),
        TEST(known_content_with_the_greatest_value_needs_no_row),
        TEST(without_history_content_keeps_its_largest_value),
        TEST(with_history_content_keeps_its_smallest_value),
        TEST(content_of_the_upstream_gets_its_value_and_needs_a_row),
        TEST(with_history_an_older_value_of_the_upstream_is_given_unless_other_content_holds_it),
        TEST(an_older_value_of_the_upstream_is_not_given_up_to_a_floor),
        TEST(content_keeps_its_value_although_a_floor_is_above),
        TEST(new_content_without_an_answer_of_the_upstream_is_refused_with_the_reason),
        TEST(known_content_is_answered_without_the_upstream),
        TEST(an_import_of_a_missing_row_needs_that_row),
        TEST(an_import_of_the_smallest_or_largest_value_needs_no_row),
        TEST(a_decision_can_be_taken_back_and_made_again),
        TEST(a_long_value_is_taken_from_the_budget_and_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

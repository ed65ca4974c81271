/* SPDX-License-Identifier: MIT */
/* Batches: what the store learns of the jobs of a transaction. */
#include "exec/job.h"

#include "unit.h"

#include <stdlib.h>

static const struct outage none; /* and no patience */

static struct request request_of(enum request_kind kind)
{
    return (struct request){
        .kind = kind, .version = text_of("v"), .pkgarch = text_of("a"), .checksum = text_of("c")};
}

/* The description of one job. */
static struct store_item describe(struct job *job)
{
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct store_batch batch;
    struct store_item item;

    STAILQ_INSERT_TAIL(&jobs, job, entry);
    batch = job_batch(&jobs, &none);
    assert_null(batch.describe(batch.first, &item));
    return item;
}

static void the_jobs_of_a_list_are_described_in_their_order(void **state)
{
    struct request requests[3];
    struct job jobs[3] = {{.request = NULL}};
    struct job_list list = STAILQ_HEAD_INITIALIZER(list);
    struct store_batch batch = job_batch(&list, &none);
    struct store_item item;
    const void *at;
    static const char *const versions[] = {"first", "second", "third"};

    (void)state;
    assert_null(batch.first);
    for (size_t i = 0; i < COUNT(jobs); i++) {
        requests[i] = request_of(REQUEST_GET_PR);
        requests[i].version = text_of(versions[i]);
        jobs[i].request = &requests[i];
        jobs[i].arrived_ms = 10 + i;
        STAILQ_INSERT_TAIL(&list, &jobs[i], entry);
    }
    batch = job_batch(&list, &none);
    assert_int_equal(batch.until_ms, 10);
    at = batch.first;
    for (size_t i = 0; i < COUNT(jobs); i++) {
        at = batch.describe(at, &item);
        assert_text_is(item.version, versions[i]);
    }
    assert_null(at);
}

static void get_pr_asks_for_one_value_of_its_checksum_and_may_add(void **state)
{
    struct request request = request_of(REQUEST_GET_PR);
    struct job job = {.request = &request};
    struct store_item item = describe(&job);

    (void)state;
    assert_text_is(item.pkgarch, "a");
    assert_text_is(item.checksum, "c");
    assert_true(item.wants_largest && !item.wants_smallest && item.may_add);
    assert_null(item.value.bytes);
    request.history = true;
    item = describe(&job);
    assert_true(item.wants_smallest && !item.wants_largest && item.may_add);
}

static void the_upstreams_value_is_asked_for_with_history(void **state)
{
    struct request request = request_of(REQUEST_GET_PR);
    struct job job = {.request = &request, .uval = "7"};

    (void)state;
    assert_null(describe(&job).value.bytes);
    request.history = true;
    assert_text_is(describe(&job).value, "7");
}

static void import_one_asks_for_both_values_and_may_add(void **state)
{
    const struct request request = request_of(REQUEST_IMPORT_ONE);
    struct job job = {.request = &request};
    const struct store_item item = describe(&job);

    (void)state;
    assert_true(item.wants_smallest && item.wants_largest && item.may_add);
}

static void look_ups_add_nothing_and_ask_for_a_checksum_only_if_they_have_one(void **state)
{
    struct request request = request_of(REQUEST_MAX_PACKAGE_PR);
    struct job job = {.request = &request};

    (void)state;
    assert_null(describe(&job).checksum.bytes);
    assert_false(describe(&job).may_add);
    request.kind = REQUEST_TEST_PACKAGE;
    assert_null(describe(&job).checksum.bytes);
    request.kind = REQUEST_TEST_PR;
    assert_text_is(describe(&job).checksum, "c");
    assert_false(describe(&job).may_add);
    request.checksum = (struct text){.bytes = NULL};
    assert_non_null(describe(&job).checksum.bytes);
}

/* A store that can't hold the text "bad". */
static int check_texts(
    struct store *store, const struct text *texts, size_t count, struct error *error)
{
    (void)store;
    for (size_t i = 0; i < count; i++) {
        if (text_is(texts[i], "bad"))
            return error_set(error, ERROR_INPUT, "text %zu is bad", i);
    }
    return 0;
}

static void a_request_that_the_database_cannot_hold_is_refused(void **state)
{
    static const struct store_ops picky_ops = {.check = check_texts};
    static const struct store_ops ops = {.check = NULL};
    struct store picky = {.ops = &picky_ops};
    struct store store = {.ops = &ops};
    struct request request = request_of(REQUEST_GET_PR);
    struct job job = {.request = &request};

    (void)state;
    assert_int_equal(job_check(&picky, &job), 0);
    request.checksum = text_of("bad");
    assert_int_equal(job_check(&picky, &job), ERROR_INPUT);
    assert_int_equal(job.result, ERROR_INPUT);
    assert_says(&job.error, "text 2 is bad");
    assert_int_equal(job_check(&store, &job), 0);
    assert_int_equal(job.result, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_jobs_of_a_list_are_described_in_their_order),
        cmocka_unit_test(get_pr_asks_for_one_value_of_its_checksum_and_may_add),
        cmocka_unit_test(the_upstreams_value_is_asked_for_with_history),
        cmocka_unit_test(import_one_asks_for_both_values_and_may_add),
        cmocka_unit_test(look_ups_add_nothing_and_ask_for_a_checksum_only_if_they_have_one),
        cmocka_unit_test(a_request_that_the_database_cannot_hold_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Jobs that wait for a lock: their order, and what waits behind them. */
#include "exec/lock_queue.h"

#include "unit.h"

#include <stdlib.h>

static const int one, two; /* clients */

static struct request request_for(const char *version)
{
    return (struct request){
        .kind = REQUEST_GET_PR, .version = text_of(version), .pkgarch = text_of("all")};
}

static bool is_behind(struct lock_queue *queue, const struct request *request, const void *client)
{
    struct job job = {.request = request, .client = client};
    bool behind = false;

    assert_int_equal(lock_queue_is_behind(queue, &job, &behind), 0);
    return behind;
}

static int create(void **state)
{
    struct lock_queue *queue = malloc(sizeof *queue);

    if (!queue)
        return -1;
    lock_queue_init(queue);
    *state = queue;
    return 0;
}

static int destroy(void **state)
{
    lock_queue_deinit(*state);
    free(*state);
    return 0;
}

static void only_the_same_client_waits_behind_its_job_for_a_package(void **state)
{
    const struct request v = request_for("v");
    const struct request w = request_for("w");
    struct job job = {.request = &v, .client = &one};

    assert_false(is_behind(*state, &v, &one));
    assert_int_equal(lock_queue_add(*state, &job), 0);
    assert_true(is_behind(*state, &v, &one));
    assert_false(is_behind(*state, &v, &two));
    assert_false(is_behind(*state, &w, &one));
}

static void version_and_pkgarch_are_kept_apart(void **state)
{
    struct request request = request_for("ab");
    struct job job = {.request = &request, .client = &one};
    struct request shifted = request_for("a");

    request.pkgarch = text_of("c");
    shifted.pkgarch = text_of("bc");
    assert_int_equal(lock_queue_add(*state, &job), 0);
    assert_false(is_behind(*state, &shifted, &one));
}

static void jobs_keep_their_order_and_lose_their_answers(void **state)
{
    struct lock_queue *queue = *state;
    const struct request v = request_for("v");
    struct job first = {.request = &v, .client = &one, .value = strdup("5"), .result = -1};
    struct job second = {.request = &v, .client = &one};

    assert_int_equal(lock_queue_add(queue, &first), 0);
    assert_int_equal(lock_queue_add(queue, &second), 0);
    assert_ptr_equal(STAILQ_FIRST(&queue->jobs), &first);
    assert_ptr_equal(STAILQ_NEXT(&first, entry), &second);
    assert_null(first.value);
    assert_int_equal(first.result, 0);
}

static void packages_are_remembered_until_the_queue_is_empty(void **state)
{
    struct lock_queue *queue = *state;
    const struct request v = request_for("v");
    const struct request w = request_for("w");
    struct job of_v = {.request = &v, .client = &one};
    struct job of_w = {.request = &w, .client = &one};

    assert_int_equal(lock_queue_add(queue, &of_v), 0);
    assert_int_equal(lock_queue_add(queue, &of_w), 0);
    STAILQ_REMOVE_HEAD(&queue->jobs, entry);
    lock_queue_clear_if_empty(queue);
    assert_true(is_behind(queue, &v, &one));
    STAILQ_REMOVE_HEAD(&queue->jobs, entry);
    lock_queue_clear_if_empty(queue);
    assert_false(is_behind(queue, &v, &one));
    assert_false(is_behind(queue, &w, &one));
}

static void a_package_is_forgotten_with_the_last_job_that_waits_for_it(void **state)
{
    struct lock_queue *queue = *state;
    const struct request v = request_for("v");
    const struct request w = request_for("w");
    struct job first = {.request = &v, .client = &one};
    struct job second = {.request = &v, .client = &one};
    struct job other = {.request = &w, .client = &one};
    struct job_list done = STAILQ_HEAD_INITIALIZER(done);

    assert_int_equal(lock_queue_add(queue, &first), 0);
    assert_int_equal(lock_queue_add(queue, &second), 0);
    assert_int_equal(lock_queue_add(queue, &other), 0);
    STAILQ_REMOVE_HEAD(&queue->jobs, entry);
    STAILQ_INSERT_TAIL(&done, &first, entry);
    lock_queue_forget(queue, &done);
    assert_true(is_behind(queue, &v, &one));
    STAILQ_REMOVE_HEAD(&queue->jobs, entry);
    STAILQ_INIT(&done);
    STAILQ_INSERT_TAIL(&done, &second, entry);
    lock_queue_forget(queue, &done);
    assert_false(is_behind(queue, &v, &one));
    assert_true(is_behind(queue, &w, &one));
}

static void jobs_that_are_put_back_have_no_answer(void **state)
{
    struct lock_queue *queue = *state;
    const struct request v = request_for("v");
    struct job job = {.request = &v, .value = strdup("5")};
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);

    STAILQ_INSERT_TAIL(&jobs, &job, entry);
    lock_queue_put_back(queue, &jobs);
    assert_true(STAILQ_EMPTY(&jobs));
    assert_ptr_equal(STAILQ_FIRST(&queue->jobs), &job);
    assert_null(job.value);
    assert_int_equal(job.result, 0);
}

static void jobs_that_are_taken_out_stand_before_those_that_arrive(void **state)
{
    struct lock_queue *queue = *state;
    const struct request v = request_for("v");
    struct job first = {.request = &v, .client = &one};
    struct job second = {.request = &v, .client = &one};
    struct job_list arrived = STAILQ_HEAD_INITIALIZER(arrived);

    assert_int_equal(lock_queue_add(queue, &first), 0);
    STAILQ_INSERT_TAIL(&arrived, &second, entry);
    lock_queue_take_all(queue, &arrived);
    assert_true(STAILQ_EMPTY(&queue->jobs));
    assert_false(is_behind(queue, &v, &one));
    assert_ptr_equal(STAILQ_FIRST(&arrived), &first);
    assert_ptr_equal(STAILQ_NEXT(&first, entry), &second);
    assert_null(STAILQ_NEXT(&second, entry));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, create, destroy)
    const struct CMUnitTest tests[] = {
        TEST(only_the_same_client_waits_behind_its_job_for_a_package),
        TEST(version_and_pkgarch_are_kept_apart),
        TEST(jobs_keep_their_order_and_lose_their_answers),
        TEST(packages_are_remembered_until_the_queue_is_empty),
        TEST(a_package_is_forgotten_with_the_last_job_that_waits_for_it),
        TEST(jobs_that_are_put_back_have_no_answer),
        TEST(jobs_that_are_taken_out_stand_before_those_that_arrive),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Jobs that wait because something is away: which get their error, and what the outage counts. */
#include "exec/retry.h"

#include "unit.h"

#include <stdlib.h>

#define PATIENCE_MS 90000

static const struct error locked = {"it is locked"};

static struct outage make(void)
{
    struct outage outage;

    outage_init(&outage, "Requests", PATIENCE_MS, NULL);
    return outage;
}

static struct job_list *list_of(struct job *jobs, size_t n)
{
    static struct job_list list;

    STAILQ_INIT(&list);
    for (size_t i = 0; i < n; i++)
        STAILQ_INSERT_TAIL(&list, &jobs[i], entry);
    return &list;
}

static void a_failed_try_takes_the_answer_and_begins_an_outage(void **state)
{
    struct outage outage = make();
    struct job job = {.value = strdup("5"), .result = -1};

    (void)state;
    retry_note(&outage, list_of(&job, 1), &locked);
    assert_null(job.value);
    assert_int_equal(job.result, 0);
    assert_says(&job.error, "it is locked");
    assert_true(outage_is_on(&outage));
}

static void a_job_is_counted_once_in_each_outage(void **state)
{
    struct outage outage = make();
    struct job jobs[2] = {{.arrived_ms = 1}, {.arrived_ms = 1}};

    (void)state;
    retry_note(&outage, list_of(jobs, 1), &locked);
    retry_note(&outage, list_of(jobs, 2), &locked);
    assert_int_equal(outage.n_waited, 2);
    assert_true(retry_any_waited(&outage, list_of(jobs, 2)));
    retry_end(&outage);
    assert_false(retry_any_waited(&outage, list_of(jobs, 2)));
}

static void only_jobs_whose_patience_has_ended_expire_wherever_they_stand(void **state)
{
    struct outage outage = make();
    const uint64_t now_ms = clock_ms();
    struct job jobs[3] = {
        {.arrived_ms = now_ms}, {.arrived_ms = now_ms - PATIENCE_MS}, {.arrived_ms = now_ms}};
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    struct job_list *list = list_of(jobs, 3);

    (void)state;
    retry_note(&outage, list, &locked);
    retry_expire(&outage, list, &finished);
    assert_ptr_equal(STAILQ_FIRST(&finished), &jobs[1]);
    assert_null(STAILQ_NEXT(&jobs[1], entry));
    assert_int_equal(jobs[1].result, ERROR_LOCKED);
    assert_int_equal(outage.n_failed, 1);
    assert_ptr_equal(STAILQ_FIRST(list), &jobs[0]);
    assert_ptr_equal(STAILQ_NEXT(&jobs[0], entry), &jobs[2]);
    assert_null(STAILQ_NEXT(&jobs[2], entry));
}

static void in_an_old_outage_the_error_says_how_long_it_has_lasted(void **state)
{
    struct outage outage = make();
    struct job job = {.arrived_ms = clock_ms() - OUTAGE_LATE_MS};
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    struct job_list *list = list_of(&job, 1);

    (void)state;
    retry_note(&outage, list, &locked);
    outage.began_ms = job.counted_ms = clock_ms() - PATIENCE_MS;
    retry_expire(&outage, list, &finished);
    assert_ptr_equal(STAILQ_FIRST(&finished), &job);
    assert_says(&job.error, "it is locked; this has lasted for 90 s");
}

static void a_cancelled_job_waits_only_while_the_outage_is_young(void **state)
{
    struct outage outage = make();
    struct job job = {.arrived_ms = clock_ms(), .is_cancelled = true};
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    struct job_list *list = list_of(&job, 1);

    (void)state;
    retry_note(&outage, list, &locked);
    retry_expire(&outage, list, &finished);
    assert_true(STAILQ_EMPTY(&finished));
    outage.is_reported = true;
    retry_expire(&outage, list, &finished);
    assert_ptr_equal(STAILQ_FIRST(&finished), &job);
    assert_says(&job.error, "the client has ended its input");
    assert_int_equal(outage.n_failed, 1);
}

static void giving_up_ends_all_jobs_with_their_reasons(void **state)
{
    const struct outage outage = {.reason = "the outage's reason"};
    struct job jobs[2] = {{.error = {"reason one"}}, {.error = {""}}};
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    struct job_list *list = list_of(jobs, 2);

    (void)state;
    retry_give_up(&outage, list, &finished);
    assert_true(STAILQ_EMPTY(list));
    assert_ptr_equal(STAILQ_FIRST(&finished), &jobs[0]);
    assert_int_equal(jobs[0].result, ERROR_LOCKED);
    assert_says(&jobs[0].error, "the server is stopping");
    assert_says(&jobs[0].error, "reason one");
    assert_int_equal(jobs[1].result, ERROR_LOCKED);
    assert_says(&jobs[1].error, "the outage's reason");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_try_takes_the_answer_and_begins_an_outage),
        cmocka_unit_test(a_job_is_counted_once_in_each_outage),
        cmocka_unit_test(only_jobs_whose_patience_has_ended_expire_wherever_they_stand),
        cmocka_unit_test(in_an_old_outage_the_error_says_how_long_it_has_lasted),
        cmocka_unit_test(a_cancelled_job_waits_only_while_the_outage_is_young),
        cmocka_unit_test(giving_up_ends_all_jobs_with_their_reasons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

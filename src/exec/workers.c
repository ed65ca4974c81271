/* SPDX-License-Identifier: MIT */
/*   fresh ──hand_over──→ queue ──take──→ (the thread) ──hand_back──→ finished ──take_finished──→
 *    loop                 mutex                                       mutex */
#include "exec/workers.h"

#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define WATCH_MS 1000 /* how long a worker is watched after it last lent its queue */

/* ---- the threads' side ---- */

/* Waits for work; until: the end of the wait on the monotonic clock, or NULL. Returns false if it
 * has passed. The mutex is held. */
static bool worker_wait_for_work(struct worker *worker, const struct timespec *until)
{
    int code = 0;

    while (
        code == 0 && STAILQ_EMPTY(&worker->queue) && !worker->woken && !worker->workers->stopping) {
        worker->idle = true;
        code = until ? pthread_cond_timedwait(&worker->arrived, &worker->workers->mutex, until)
                     : pthread_cond_wait(&worker->arrived, &worker->workers->mutex);
    }
    worker->idle = false;
    return code != ETIMEDOUT;
}

static bool worker_take_until(
    struct worker *worker, struct job_list *jobs, const struct timespec *until)
{
    struct workers *workers = worker->workers;
    bool taken;

    (void)pthread_mutex_lock(&workers->mutex);
    taken = !worker_wait_for_work(worker, until);
    STAILQ_CONCAT(jobs, &worker->queue);
    taken = (taken && !workers->stopping) || worker->woken || !STAILQ_EMPTY(jobs);
    worker->woken = false;
    (void)pthread_mutex_unlock(&workers->mutex);
    return taken;
}

bool worker_take(struct worker *worker, struct job_list *jobs)
{
    return worker_take_until(worker, jobs, NULL);
}

bool worker_take_within(struct worker *worker, struct job_list *jobs, unsigned wait_ms)
{
    const uint64_t until_ms = clock_ms() + wait_ms;
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000 * 1000000)};

    return worker_take_until(worker, jobs, &until);
}

void worker_take_more(struct worker *worker, struct job_list *jobs)
{
    struct workers *workers = worker->workers;

    (void)pthread_mutex_lock(&workers->mutex);
    STAILQ_CONCAT(jobs, &worker->queue);
    (void)pthread_mutex_unlock(&workers->mutex);
}

void worker_wait(struct worker *worker, uint64_t until_ms, struct job_list *jobs)
{
    struct workers *workers = worker->workers;
    const struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int timed_out = 0;

    (void)pthread_mutex_lock(&workers->mutex);
    worker->dozes = true;
    while (timed_out == 0 && !worker->woken && !workers->stopping &&
           !(jobs && !STAILQ_EMPTY(&worker->queue)))
        timed_out = pthread_cond_timedwait(&worker->arrived, &workers->mutex, &until);
    worker->dozes = worker->woken = false;
    if (jobs)
        STAILQ_CONCAT(jobs, &worker->queue);
    (void)pthread_mutex_unlock(&workers->mutex);
}

void worker_wake(struct worker *worker)
{
    (void)pthread_mutex_lock(&worker->workers->mutex);
    worker->woken = true;
    (void)pthread_mutex_unlock(&worker->workers->mutex);
    (void)pthread_cond_signal(&worker->arrived);
}

void workers_hand_back(struct workers *workers, struct job_list *jobs)
{
    bool wake;

    if (STAILQ_EMPTY(jobs))
        return;
    (void)pthread_mutex_lock(&workers->mutex);
    wake = STAILQ_EMPTY(&workers->finished);
    STAILQ_CONCAT(&workers->finished, jobs);
    (void)pthread_mutex_unlock(&workers->mutex);
    if (wake)
        workers->wake(workers->context);
}

/* ---- lending ---- */

void worker_lend(struct worker *worker, unsigned after_ms)
{
    struct workers *workers = worker->workers;
    struct worker *helper = worker->helper;
    bool wake;

    (void)pthread_mutex_lock(&workers->mutex);
    worker->lent_ms = clock_ms();
    worker->lends_ms = worker->lent_ms + after_ms;
    wake = !worker->is_watched;
    if (wake)
        worker->is_watched = helper->woken = true;
    (void)pthread_mutex_unlock(&workers->mutex);
    if (wake)
        (void)pthread_cond_signal(&helper->arrived);
}

void worker_reclaim(struct worker *worker)
{
    struct workers *workers = worker->workers;

    (void)pthread_mutex_lock(&workers->mutex);
    worker->lends_ms = 0;
    worker->is_slow = false;
    while (worker->is_borrowed)
        (void)pthread_cond_wait(&worker->arrived, &workers->mutex);
    (void)pthread_mutex_unlock(&workers->mutex);
}

size_t worker_take_lent(struct worker *worker, struct job_list *jobs, size_t least)
{
    struct workers *workers = worker->workers;
    size_t n = 0;

    (void)pthread_mutex_lock(&workers->mutex);
    if (!worker->is_borrowed)
        n = job_count(&worker->queue);
    if (n >= least)
        STAILQ_CONCAT(jobs, &worker->queue);
    (void)pthread_mutex_unlock(&workers->mutex);
    return n;
}

bool worker_borrow(struct worker *worker, struct job_list *jobs)
{
    struct workers *workers = worker->workers;
    uint64_t now_ms;
    bool is_watched;

    (void)pthread_mutex_lock(&workers->mutex);
    now_ms = clock_ms();
    worker->is_slow = worker->lends_ms > 0 && now_ms >= worker->lends_ms && !workers->stopping;
    worker->is_borrowed = worker->is_slow && !STAILQ_EMPTY(&worker->queue);
    if (worker->is_borrowed)
        STAILQ_CONCAT(jobs, &worker->queue);
    is_watched = worker->is_watched =
        !workers->stopping && (worker->lends_ms > 0 || now_ms - worker->lent_ms < WATCH_MS);
    (void)pthread_mutex_unlock(&workers->mutex);
    return is_watched;
}

void worker_return(struct worker *worker, struct job_list *jobs)
{
    struct workers *workers = worker->workers;

    (void)pthread_mutex_lock(&workers->mutex);
    STAILQ_CONCAT(jobs, &worker->queue);
    STAILQ_CONCAT(&worker->queue, jobs);
    worker->is_borrowed = false;
    (void)pthread_mutex_unlock(&workers->mutex);
    (void)pthread_cond_signal(&worker->arrived);
}

/* ---- the loop's side ---- */

bool worker_is_idle(struct worker *worker)
{
    bool idle;

    (void)pthread_mutex_lock(&worker->workers->mutex);
    idle = worker->idle && STAILQ_EMPTY(&worker->queue) && !worker->woken;
    (void)pthread_mutex_unlock(&worker->workers->mutex);
    return idle;
}

void worker_hand_over(struct worker *worker, bool must_wake)
{
    struct workers *workers = worker->workers;
    struct worker *helper = NULL;
    bool sleeps;

    if (STAILQ_EMPTY(&worker->fresh) && !must_wake)
        return;
    (void)pthread_mutex_lock(&workers->mutex);
    worker->woken = worker->woken || must_wake;
    STAILQ_CONCAT(&worker->queue, &worker->fresh);
    sleeps = worker->idle || worker->dozes;
    if (worker->is_slow) {
        helper = worker->helper;
        helper->woken = true;
    }
    (void)pthread_mutex_unlock(&workers->mutex);
    /* without the mutex, which the thread needs now */
    if (sleeps)
        (void)pthread_cond_signal(&worker->arrived);
    if (helper)
        (void)pthread_cond_signal(&helper->arrived);
}

void workers_take_finished(struct workers *workers, struct job_list *jobs)
{
    (void)pthread_mutex_lock(&workers->mutex);
    STAILQ_CONCAT(jobs, &workers->finished);
    (void)pthread_mutex_unlock(&workers->mutex);
}

/* ---- start and end ---- */

void workers_init(struct workers *workers, struct worker *each, size_t n_each,
    void (*wake)(void *context), void *context)
{
    pthread_condattr_t monotonic;

    *workers = (struct workers){.each = each, .n_each = n_each, .wake = wake, .context = context};
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&workers->mutex, NULL);
    STAILQ_INIT(&workers->finished);
    for (size_t i = 0; i < n_each; i++) {
        each[i].workers = workers;
        (void)pthread_cond_init(&each[i].arrived, &monotonic);
        STAILQ_INIT(&each[i].fresh);
        STAILQ_INIT(&each[i].queue);
    }
    (void)pthread_condattr_destroy(&monotonic);
}

int worker_start(struct worker *worker, void *(*run)(void *), void *argument, struct error *error)
{
    int result = thread_start(&worker->thread, run, argument, "the database", error);

    worker->started = result == 0;
    return result;
}

void workers_stop(struct workers *workers)
{
    for (size_t i = 0; i < workers->n_each; i++)
        worker_hand_over(&workers->each[i], false);
    (void)pthread_mutex_lock(&workers->mutex);
    workers->stopping = true;
    for (size_t i = 0; i < workers->n_each; i++)
        (void)pthread_cond_signal(&workers->each[i].arrived);
    (void)pthread_mutex_unlock(&workers->mutex);
    for (size_t i = 0; i < workers->n_each; i++) {
        if (workers->each[i].started)
            (void)pthread_join(workers->each[i].thread, NULL);
    }
}

void workers_destroy(struct workers *workers)
{
    for (size_t i = 0; i < workers->n_each; i++)
        (void)pthread_cond_destroy(&workers->each[i].arrived);
    (void)pthread_mutex_destroy(&workers->mutex);
}

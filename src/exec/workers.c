#include "exec/workers.h"

#include <string.h>

/* ---- the threads' side ---- */

bool worker_take(struct worker *worker, struct job_list *jobs)
{
    struct workers *workers = worker->workers;
    bool taken;

    (void)pthread_mutex_lock(&workers->mutex);
    while (STAILQ_EMPTY(&worker->queue) && !worker->woken && !workers->stopping) {
        worker->idle = true;
        (void)pthread_cond_wait(&worker->arrived, &workers->mutex);
    }
    worker->idle = false;
    STAILQ_CONCAT(jobs, &worker->queue);
    taken = worker->woken || !STAILQ_EMPTY(jobs);
    worker->woken = false;
    (void)pthread_mutex_unlock(&workers->mutex);
    return taken;
}

void worker_take_more(struct worker *worker, struct job_list *jobs)
{
    struct workers *workers = worker->workers;

    (void)pthread_mutex_lock(&workers->mutex);
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
    bool idle;

    if (STAILQ_EMPTY(&worker->fresh) && !must_wake)
        return;
    (void)pthread_mutex_lock(&workers->mutex);
    worker->woken = worker->woken || must_wake;
    STAILQ_CONCAT(&worker->queue, &worker->fresh);
    idle = worker->idle;
    (void)pthread_mutex_unlock(&workers->mutex);
    if (idle)
        (void)pthread_cond_signal(&worker->arrived); /* it can have the mutex at once */
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
    *workers = (struct workers){.each = each, .n_each = n_each, .wake = wake, .context = context};
    (void)pthread_mutex_init(&workers->mutex, NULL);
    STAILQ_INIT(&workers->finished);
    for (size_t i = 0; i < n_each; i++) {
        each[i].workers = workers;
        (void)pthread_cond_init(&each[i].arrived, NULL);
        STAILQ_INIT(&each[i].fresh);
        STAILQ_INIT(&each[i].queue);
    }
}

int worker_start(struct worker *worker, void *(*run)(void *), void *argument, struct error *error)
{
    int code = pthread_create(&worker->thread, NULL, run, argument);

    worker->started = code == 0;
    return code == 0 ? 0
                     : error_set(error, ERROR_SYSTEM, "can't start a thread: %s", strerror(code));
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

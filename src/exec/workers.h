/* Threads with a queue each: jobs go from the loop to a thread, and come back finished.
 *
 * What a job is about is not known here. One mutex guards all queues; it is held only to
 * move lists. A thread that finds its queue empty sleeps on its condition. */
#ifndef PRSERVD_WORKERS_H
#define PRSERVD_WORKERS_H

#include "base/error.h"
#include "exec/job.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct workers;

struct worker {
    struct workers *workers;
    pthread_t thread;
    bool started;
    struct job_list fresh; /* the loop's: not handed over yet */
    pthread_cond_t arrived;
    /* guarded by the mutex */
    struct job_list queue;
    bool woken; /* there is something to do besides the queue */
    bool idle;  /* it sleeps, and the loop may use what is its */
};

struct workers {
    struct worker *each; /* borrowed */
    size_t n_each;
    void (*wake)(void *context); /* any thread: something is finished */
    void *context;
    pthread_mutex_t mutex; /* guards what follows */
    bool stopping;
    struct job_list finished;
};

void workers_init(struct workers *workers, struct worker *each, size_t n_each,
    void (*wake)(void *context), void *context);

/* run gets the argument. Fails with ERROR_SYSTEM. */
ERROR_MUST_CHECK int worker_start(
    struct worker *worker, void *(*run)(void *), void *argument, struct error *error);

/* Hands over all that is fresh, lets the threads finish what they have, and ends them. */
void workers_stop(struct workers *workers);

/* When they have stopped. */
void workers_destroy(struct workers *workers);

/* ---- the threads' side ---- */

/* Waits until there is something to do, and takes all jobs. False: there is nothing, and
 * the workers stop. */
bool worker_take(struct worker *worker, struct job_list *jobs);

/* Takes what is there, without waiting. */
void worker_take_more(struct worker *worker, struct job_list *jobs);

/* Any thread: it has something to do besides its queue. */
void worker_wake(struct worker *worker);

/* The jobs are done; the list is empty then. */
void workers_hand_back(struct workers *workers, struct job_list *jobs);

/* ---- the loop's side ---- */

/* It sleeps and has nothing to do. If only the loop wakes it, it goes on sleeping, and the
 * loop may use what is the thread's meanwhile. */
bool worker_is_idle(struct worker *worker);

/* Gives the thread what is fresh; wakes it for that, or if it must. */
void worker_hand_over(struct worker *worker, bool must_wake);

/* Appends what has been handed back. */
void workers_take_finished(struct workers *workers, struct job_list *jobs);

#endif

/* SPDX-License-Identifier: MIT */
/* Threads with a queue each: jobs go from the event loop to a thread, and come back finished.
 *
 * Independent of what the jobs are about. One mutex guards all queues; it is held only to move
 * lists. A thread that finds its queue empty sleeps on its condition variable.
 *
 * A worker that is about to wait (for a commit, for a lock) lends its queue meanwhile:
 *
 *     the worker's thread      lend ─────── waits ───────────────────────────→ reclaim, goes on
 *     the helper's thread          └─ after a while ─→ borrow ──works──→ return ─┘ waits for this
 *
 * The helper does what it can do of the jobs, and returns the others in their order. So no job
 * overtakes an earlier one. */
#ifndef PRSERVD_WORKERS_H
#define PRSERVD_WORKERS_H

#include "base/error.h"
#include "exec/job.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct workers;

struct worker {
    struct workers *workers;
    pthread_t thread;
    bool started;
    struct job_list fresh; /* the loop's: jobs that are not handed over yet */
    pthread_cond_t arrived;
    /* guarded by the mutex */
    struct job_list queue;
    bool woken; /* there is work besides the queue */
    bool idle;  /* the thread sleeps, and the loop may use what belongs to it */
    bool dozes; /* the thread sleeps, but keeps what belongs to it */
    /* lending; guarded by the mutex */
    struct worker *helper; /* NULL: none */
    uint64_t lends_ms;     /* from when on the queue may be borrowed (clock_ms); 0: it may not */
    uint64_t lent_ms;      /* when it last began to lend */
    bool is_watched;       /* the helper looks at it again and again */
    bool is_slow;          /* it has lent for so long that the helper works for it */
    bool is_borrowed;      /* the helper has jobs of the queue */
};

struct workers {
    struct worker *each; /* borrowed */
    size_t n_each;
    void (*wake)(void *context); /* called on any thread when something is finished */
    void *context;
    pthread_mutex_t mutex; /* guards what follows */
    bool stopping;
    struct job_list finished;
};

void workers_init(struct workers *workers, struct worker *each, size_t n_each,
    void (*wake)(void *context), void *context);

/* Starts the thread: run(argument). Fails with ERROR_SYSTEM. */
ERROR_MUST_CHECK int worker_start(
    struct worker *worker, void *(*run)(void *), void *argument, struct error *error);

/* Hands over all fresh jobs, lets the threads finish their queues, and ends them. */
void workers_stop(struct workers *workers);

/* Frees the resources, after workers_stop. */
void workers_destroy(struct workers *workers);

/* ---- the threads' side ---- */

/* Waits until there is something to do, and takes all jobs. Returns false if there is nothing left
 * and the workers stop. */
bool worker_take(struct worker *worker, struct job_list *jobs);

/* The same, but waits no longer than some milliseconds: jobs may be empty then. */
bool worker_take_within(struct worker *worker, struct job_list *jobs, unsigned wait_ms);

/* Takes the jobs in the queue, without waiting. */
void worker_take_more(struct worker *worker, struct job_list *jobs);

/* Waits until until_ms (clock_ms), or until the worker is woken or stopped; with jobs also until
 * there is a job, and takes the jobs in the queue. Ends the waking. */
void worker_wait(struct worker *worker, uint64_t until_ms, struct job_list *jobs);

/* Lends the queue to the helper, after after_ms, until worker_reclaim, which waits for jobs that
 * are borrowed. */
void worker_lend(struct worker *worker, unsigned after_ms);
void worker_reclaim(struct worker *worker);

/* Takes the jobs in the queue while it is lent, if there are at least so many, and the helper has
 * none, which would come first. Returns how many are there. */
size_t worker_take_lent(struct worker *worker, struct job_list *jobs, size_t least);

/* By the helper: takes the jobs in the queue if the worker lends it. Then they have to be returned.
 * Returns false if the worker has not lent for a while or stops: it need not be watched until it
 * wakes the helper. */
bool worker_borrow(struct worker *worker, struct job_list *jobs);

/* Returns jobs that were borrowed, to the front of the queue. */
void worker_return(struct worker *worker, struct job_list *jobs);

/* Tells a thread that there is work besides its queue. Any thread. */
void worker_wake(struct worker *worker);

/* Takes finished jobs over; the list is empty then. */
void workers_hand_back(struct workers *workers, struct job_list *jobs);

/* ---- the loop's side ---- */

/* Returns whether a thread sleeps and has nothing to do. If only the loop wakes it, it goes on
 * sleeping, and the loop may use what belongs to the thread. */
bool worker_is_idle(struct worker *worker);

/* Gives a thread its fresh jobs, and wakes it if there are any, or if it must be woken anyway. */
void worker_hand_over(struct worker *worker, bool must_wake);

/* Appends the jobs that have been handed back. */
void workers_take_finished(struct workers *workers, struct job_list *jobs);

#endif

/* SPDX-License-Identifier: MIT */
/* The queue of jobs that wait for a lock which another process or server holds.
 *
 * Keeps each client's jobs for one package in their order. Belongs to the writer; one thread at a
 * time. */
#ifndef PRSERVD_LOCK_QUEUE_H
#define PRSERVD_LOCK_QUEUE_H

#include "base/buffer.h"
#include "base/map.h"
#include "exec/job.h"

struct lock_queue {
    struct job_list jobs;
    struct map busy;   /* the packages that jobs wait for, each with the job's client */
    struct buffer key; /* scratch for a key of busy */
};

void lock_queue_init(struct lock_queue *lock_queue);

/* Forgets the packages. The jobs belong to the caller. */
void lock_queue_deinit(struct lock_queue *lock_queue);

/* Finds out whether an earlier job of the same client for the same package waits, or may still
 * wait. Then this job has to wait, too. Fails with ERROR_MEMORY (job->error). */
ERROR_MUST_CHECK int lock_queue_is_behind(
    struct lock_queue *lock_queue, struct job *job, bool *is_behind);

/* Appends a job, undecided. After an error (ERROR_MEMORY, job->error) it is not in the queue. */
ERROR_MUST_CHECK int lock_queue_add(struct lock_queue *lock_queue, struct job *job);

/* Appends jobs that were taken out, undecided, to be tried again. */
void lock_queue_put_back(struct lock_queue *lock_queue, struct job_list *jobs);

/* Moves all jobs to the front of a list, and forgets the packages. */
void lock_queue_take_all(struct lock_queue *lock_queue, struct job_list *jobs);

/* Forgets what these jobs have waited for. They were taken out, and are done. */
void lock_queue_forget(struct lock_queue *lock_queue, const struct job_list *jobs);

/* Forgets the packages if no job is left. */
void lock_queue_clear_if_empty(struct lock_queue *lock_queue);

#endif

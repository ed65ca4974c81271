/* SPDX-License-Identifier: MIT */
/* A list of jobs, and a hash map of the packages that they wait for, each with its client. */
#include "exec/lock_queue.h"

#include <stdlib.h>

struct lock_queue_package {
    struct map_entry entry;
    size_t n_jobs; /* that wait for it, of one client */
};

void lock_queue_init(struct lock_queue *lock_queue)
{
    *lock_queue = (struct lock_queue){.busy = MAP_EMPTY};
    STAILQ_INIT(&lock_queue->jobs);
}

static void lock_queue_clear(struct lock_queue *lock_queue)
{
    map_clear(&lock_queue->busy, free);
}

void lock_queue_deinit(struct lock_queue *lock_queue)
{
    lock_queue_clear(lock_queue);
    buffer_free(&lock_queue->key);
}

void lock_queue_clear_if_empty(struct lock_queue *lock_queue)
{
    if (STAILQ_EMPTY(&lock_queue->jobs))
        lock_queue_clear(lock_queue);
}

/* Builds the key of a job's package and client. Returns false when memory ran out. */
static bool lock_queue_make_key(struct lock_queue *lock_queue, const struct job *job)
{
    buffer_set_pair(&lock_queue->key, job->request->version, job->request->pkgarch);
    buffer_append(&lock_queue->key, (const char *)&job->client, sizeof job->client);
    return !buffer_failed(&lock_queue->key);
}

int lock_queue_is_behind(struct lock_queue *lock_queue, struct job *job, bool *is_behind)
{
    *is_behind = false;
    if (!lock_queue_make_key(lock_queue, job))
        return error_set_memory(&job->error);
    *is_behind = map_find(&lock_queue->busy, buffer_text(&lock_queue->key)) != NULL;
    return 0;
}

int lock_queue_add(struct lock_queue *lock_queue, struct job *job)
{
    struct lock_queue_package *package = NULL;

    job_reset(job);
    if (lock_queue_make_key(lock_queue, job))
        package =
            map_find_or_add(&lock_queue->busy, buffer_text(&lock_queue->key), sizeof *package);
    if (!package)
        return error_set_memory(&job->error);
    package->n_jobs++;
    STAILQ_INSERT_TAIL(&lock_queue->jobs, job, entry);
    return 0;
}

void lock_queue_put_back(struct lock_queue *lock_queue, struct job_list *jobs)
{
    struct job *job;

    STAILQ_FOREACH (job, jobs, entry)
        job_reset(job);
    STAILQ_CONCAT(&lock_queue->jobs, jobs);
}

/* Without memory for its key, a job is not forgotten: others wait behind it longer than they must.
 */
void lock_queue_forget(struct lock_queue *lock_queue, const struct job_list *jobs)
{
    struct lock_queue_package *package;
    const struct job *job;

    STAILQ_FOREACH (job, jobs, entry) {
        if (!lock_queue_make_key(lock_queue, job))
            continue;
        package = map_find(&lock_queue->busy, buffer_text(&lock_queue->key));
        if (!package || --package->n_jobs > 0)
            continue;
        map_remove(&lock_queue->busy, &package->entry);
        free(package);
    }
}

void lock_queue_take_all(struct lock_queue *lock_queue, struct job_list *jobs)
{
    struct job_list all = STAILQ_HEAD_INITIALIZER(all);

    STAILQ_CONCAT(&all, &lock_queue->jobs);
    STAILQ_CONCAT(&all, jobs);
    STAILQ_CONCAT(jobs, &all);
    lock_queue_clear(lock_queue);
}

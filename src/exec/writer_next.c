/* SPDX-License-Identifier: MIT */
/* The next transaction of a writer, which can begin with the commit of the one under way
 * (store_commit_and_begin): which jobs it gets.
 *
 * Jobs whose packages are in the transaction under way wait for the one after: so nobody keeps a
 * package locked from one transaction to the next, and other servers get their turn. If these are
 * more than a quarter, all wait for one transaction, which takes less time than two. */
#include "exec/writer.h"
#include "exec/writer_state.h"

#include <time.h>

#define DELAY_SLICES 8 /* of a wait for more jobs */

/* Otherwise all clients would get their answers at once, and nothing would be there to begin the
 * next transaction with. */
size_t writer_split(const struct writer *writer)
{
    const size_t least = writer->take ? store_least_next(writer->store) : 0;
    const size_t n = job_count(&writer->lock_queue.jobs);

    if (writer->n_begun > 0)
        return writer->n_begun;
    return least > 0 && n >= 2 * least && !writer->next_shares ? n / 2 : n;
}

/* Waits for the clients that were answered last, who ask again soon, if that pays. */
static void writer_wait_for_arrivals(struct writer *writer)
{
    const size_t n_waiting = job_count(&writer->lock_queue.jobs);
    struct job_list none = STAILQ_HEAD_INITIALIZER(none);
    struct timespec slice = {.tv_sec = 0};
    size_t n_enough;

    slice.tv_nsec =
        (long)store_batch_delay_us(writer->store, 0, 0, &n_enough) * 1000 / DELAY_SLICES;
    for (int i = 0; slice.tv_nsec > 0 && i < DELAY_SLICES; i++) {
        if (n_waiting + writer->take(writer->take_context, &none, SIZE_MAX) >= n_enough)
            return;
        (void)nanosleep(&slice, NULL);
    }
}

/* Takes the jobs that have arrived during this store pass, if with those that wait there are enough
 * for a transaction. The answerer looks at later ones: it must not miss that these wait. */
static void writer_take_arrivals(struct writer *writer, size_t least, struct job_list *finished)
{
    const size_t n_waiting = job_count(&writer->lock_queue.jobs);
    struct job_list arrived = STAILQ_HEAD_INITIALIZER(arrived);

    (void)pthread_mutex_lock(&writer->mutex);
    (void)writer->take(writer->take_context, &arrived, n_waiting < least ? least - n_waiting : 1);
    writer_queue_all(writer, &arrived, finished, false);
    (void)pthread_mutex_unlock(&writer->mutex);
}

/* Moves the jobs whose packages the transaction under way has locked behind the others. Returns the
 * number of the others. */
static size_t writer_put_shared_last(struct writer *writer)
{
    struct job_list *jobs = &writer->lock_queue.jobs;
    struct job_list others = STAILQ_HEAD_INITIALIZER(others);
    struct job_list shared = STAILQ_HEAD_INITIALIZER(shared);
    struct job *job;
    size_t n = 0;

    while ((job = STAILQ_FIRST(jobs))) {
        const struct request *request = job->request;
        const bool is_shared = store_has_lock(writer->store, request->version, request->pkgarch);

        STAILQ_REMOVE_HEAD(jobs, entry);
        STAILQ_INSERT_TAIL(is_shared ? &shared : &others, job, entry);
        n += !is_shared;
    }
    STAILQ_CONCAT(jobs, &others);
    STAILQ_CONCAT(jobs, &shared);
    return n;
}

size_t writer_gather_next(struct writer *writer, struct job_list *finished)
{
    const size_t least = writer->take ? store_least_next(writer->store) : 0;
    size_t n;

    if (least == 0 || outage_is_on(&writer->outage))
        return 0;
    if (!writer->next_shares)
        writer_wait_for_arrivals(writer);
    writer_take_arrivals(writer, least, finished);
    n = writer_put_shared_last(writer);
    writer->next_shares = n * 4 < job_count(&writer->lock_queue.jobs) * 3;
    return n >= least && !writer->next_shares ? n : 0;
}

struct store_batch writer_next_batch(const struct writer *writer, size_t n)
{
    struct store_batch batch = job_batch(&writer->lock_queue.jobs, &writer->outage);
    const struct job *end = STAILQ_FIRST(&writer->lock_queue.jobs);

    for (; n > 0; n--)
        end = STAILQ_NEXT(end, entry);
    batch.end = end;
    return batch;
}

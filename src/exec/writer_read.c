/* SPDX-License-Identifier: MIT */
/* The writer's read pass: decides on a snapshot. What needs a new row, or facts that only a scan of
 * a large package finds, goes to the lock queue. */
#include "base/clock.h"
#include "exec/decide.h"
#include "exec/retry.h"
#include "exec/writer.h"
#include "exec/writer_state.h"

#define READ_AGAIN_MS 500
#define LOOP_MS 5    /* the longest read pass on the event loop, */
#define CLOCK_JOBS 8 /* as the clock says after so many jobs, or one with a long value */

/* Leaves a job to the store pass. A job that can't be stored, or queued, is finished. */
static void writer_queue(struct writer *writer, struct job *job, struct job_list *finished)
{
    job->result = job_check(writer->store, job);
    if (job->result == 0)
        job->result = lock_queue_add(&writer->lock_queue, job);
    if (job->result != 0)
        STAILQ_INSERT_TAIL(finished, job, entry);
}

/* Guesses whether a job is about new content: then it has to wait for the lock, and a read pass
 * would not answer it. */
static bool writer_is_probably_new(struct writer *writer, const struct job *job)
{
    const struct request *request = job->request;
    const struct package *package = NULL;
    const char *smallest;
    const char *largest;

    if (request->kind != REQUEST_MAX_PACKAGE_PR && job->upstream != UPSTREAM_UNKNOWN &&
        !writer->is_slow)
        package = package_cache_peek(writer->cache, request->version, request->pkgarch);
    return package && !package_find(package, request->checksum, &smallest, &largest);
}

void writer_queue_all(
    struct writer *writer, struct job_list *arrived, struct job_list *finished, bool only_new)
{
    struct job *job;

    while ((job = STAILQ_FIRST(arrived)) && (!only_new || writer_is_probably_new(writer, job))) {
        STAILQ_REMOVE_HEAD(arrived, entry);
        writer_queue(writer, job, finished);
    }
}

/* Answers a job, or leaves it to the store pass. Returns false if that would take waiting, and
 * waiting is not allowed. */
static bool writer_read_one(
    struct writer *writer, struct job *job, struct job_list *finished, enum store_blocking blocking)
{
    const struct request *request = job->request;
    bool must_wait = false;
    struct package_question question;
    struct package_facts facts;
    int result = job_check(writer->store, job);

    if (rollback_refuses_look_up(&writer->store->rollback, job, writer->log)) {
        STAILQ_INSERT_TAIL(finished, job, entry);
        return true;
    }
    if (result == 0 && request->kind != REQUEST_MAX_PACKAGE_PR) /* which never waits its turn */
        result = lock_queue_is_behind(&writer->lock_queue, job, &must_wait);
    if (result == 0 && !must_wait) {
        decide_ask(job, &question);
        result = package_cache_ask(writer->cache, &question, &facts, &job->error);
    }
    if (result == ERROR_LOCKED && blocking == STORE_NONBLOCK)
        return false;
    must_wait = must_wait || result == ERROR_LOCKED || result == PACKAGE_IS_SCANNED;
    job->result = must_wait ? 0 : result;
    if (result == 0 && !must_wait)
        must_wait = decide(job, &facts, writer->log);
    if (must_wait)
        writer_queue(writer, job, finished);
    else
        STAILQ_INSERT_TAIL(finished, job, entry);
    return true;
}

/* On the event loop, the rest is left to the thread after some milliseconds. */
static void writer_read_all(struct writer *writer, struct job_list *arrived,
    struct job_list *finished, enum store_blocking blocking)
{
    const uint64_t until_ms = blocking == STORE_NONBLOCK ? clock_ms() + LOOP_MS : UINT64_MAX;
    struct job *job;

    for (unsigned n = 1; (job = STAILQ_FIRST(arrived)); n++) {
        STAILQ_REMOVE_HEAD(arrived, entry);
        if (!writer_read_one(writer, job, finished, blocking)) {
            STAILQ_INSERT_HEAD(arrived, job, entry); /* keeps the order */
            return;
        }
        if ((n % CLOCK_JOBS == 0 || job->budgeted > 0) && clock_ms() >= until_ms)
            return;
    }
}

/* Takes the jobs that wait out of the lock queue now and then, to be read again. */
static void writer_read_again(struct writer *writer, struct job_list *arrived)
{
    const uint64_t now_ms = clock_ms();

    if (now_ms < writer->next_read_ms)
        return;
    writer->next_read_ms = now_ms + READ_AGAIN_MS;
    lock_queue_take_all(&writer->lock_queue, arrived);
}

void writer_read_pass(struct writer *writer, struct job_list *arrived, struct job_list *finished,
    enum store_blocking blocking)
{
    struct store_batch batch;
    struct error error;
    int result;

    if (writer->n_begun > 0) { /* nothing else can be read meanwhile */
        writer_queue_all(writer, arrived, finished, false);
        return;
    }
    if (blocking == STORE_BLOCK && outage_is_on(&writer->outage))
        writer_read_again(writer, arrived);
    else
        writer_queue_all(writer, arrived, finished, true);
    if (STAILQ_EMPTY(arrived))
        return;
    batch = job_batch(arrived, &writer->outage);
    result = store_begin_read(writer->store, &batch, blocking, &error);
    if (result == 0)
        result = package_cache_refresh(writer->cache, blocking, &error);
    if (result == 0)
        writer_read_all(writer, arrived, finished, blocking);
    else if (result == ERROR_LOCKED && blocking == STORE_BLOCK)
        writer_queue_all(writer, arrived, finished, false); /* the store pass tries again */
    else if (blocking == STORE_BLOCK)
        job_fail_all(arrived, finished, result, &error);
    store_rollback(writer->store);
    package_cache_evict(writer->cache);
}

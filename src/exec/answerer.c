/* SPDX-License-Identifier: MIT */
/* A job that needs a new row is marked, so that it is not read again while it waits for the writer.
 * Those of the same client and package behind it are left to the writer, too. */
#include "exec/answerer.h"

#include "base/clock.h"
#include "exec/decide.h"
#include "exec/lock_queue.h"
#include "exec/package_cache.h"
#include "exec/rollback.h"

#include <stdlib.h>

#define SLICE_MS 20   /* the longest time before finished answers go out */
#define ANSWER_MS 500 /* the longest time for a question to the database, or about so */
#define CACHE_BYTES ((size_t)32 * 1024 * 1024)

struct answerer {
    struct store *store;
    struct package_cache *cache;
    struct writer *writer;
    struct log *log;
    struct store_rollback rollback; /* as the writer knows it; during answerer_work */
    struct outage none;             /* the writer's outage counts, not one of the answerer */
    struct lock_queue passed;       /* the jobs that are left to the writer; during answerer_work */
};

int answerer_create(struct answerer **created, const struct store_options *options,
    struct invalid_rows *invalid_rows, struct writer *writer, struct error *error)
{
    struct answerer *answerer = calloc(1, sizeof *answerer);
    int result;

    *created = NULL;
    if (!answerer)
        return error_set_memory(error);
    answerer->writer = writer;
    answerer->log = options->log;
    outage_init(&answerer->none, "", options->patience_ms, NULL);
    lock_queue_init(&answerer->passed);
    result = store_open(&answerer->store, options, STORE_ANSWERER, error);
    if (result == 0)
        answerer->cache = package_cache_create(answerer->store, CACHE_BYTES, invalid_rows);
    if (result == 0 && !answerer->cache)
        result = error_set_memory(error);
    if (result != 0) {
        answerer_free(answerer);
        return result;
    }
    *created = answerer;
    return 0;
}

void answerer_free(struct answerer *answerer)
{
    if (!answerer)
        return;
    lock_queue_deinit(&answerer->passed);
    package_cache_free(answerer->cache);
    store_close(answerer->store);
    free(answerer);
}

/* Marks the jobs that have to wait for the writer; returns whether there are others. Before the
 * snapshot: once the writer is done with an earlier job of the client, the snapshot has to show its
 * row. */
static bool answerer_mark(struct answerer *answerer, struct job_list *jobs)
{
    bool any = false;
    struct job *job;

    STAILQ_FOREACH (job, jobs, entry) {
        if (job->request->kind != REQUEST_MAX_PACKAGE_PR && !job->is_passed)
            job->is_passed = writer_is_behind(answerer->writer, job);
        any = any || !job->is_passed;
    }
    return any;
}

/* Finds out whether a job can be answered, and answers it. Any failure leaves it to the writer. */
static bool answerer_answer(struct answerer *answerer, struct job *job)
{
    const struct request *request = job->request;
    struct package_question question;
    struct package_facts facts;
    bool is_behind = false;

    if (job->is_passed)
        return false;
    if (request->kind != REQUEST_MAX_PACKAGE_PR &&
        (lock_queue_is_behind(&answerer->passed, job, &is_behind) != 0 || is_behind))
        return false;
    if (job_check(answerer->store, job) != 0 ||
        rollback_refuses_look_up(&answerer->rollback, job, answerer->log))
        return true; /* it has its error */
    decide_ask(job, &question);
    if (package_cache_ask(answerer->cache, &question, &facts, &job->error) != 0)
        return false;
    job->is_passed = decide(job, &facts, answerer->log);
    return !job->is_passed;
}

static void answerer_answer_all(
    struct answerer *answerer, struct job_list *arrived, struct job_list *finished)
{
    const uint64_t until_ms = clock_ms() + SLICE_MS;
    struct job *job;

    while ((job = STAILQ_FIRST(arrived)) && clock_ms() < until_ms) {
        bool is_answered = answerer_answer(answerer, job);

        STAILQ_REMOVE_HEAD(arrived, entry);
        if (!is_answered) {
            job->result = lock_queue_add(&answerer->passed, job);
            is_answered = job->result != 0;
        }
        if (is_answered)
            STAILQ_INSERT_TAIL(finished, job, entry);
    }
    lock_queue_take_all(&answerer->passed, arrived);
}

void answerer_work(struct answerer *answerer, struct job_list *arrived, struct job_list *finished)
{
    struct store_batch batch;
    struct error error;
    int result;

    if (!answerer_mark(answerer, arrived))
        return;
    writer_find_rollback(answerer->writer, &answerer->rollback);
    batch = job_batch(arrived, &answerer->none);
    batch.until_ms = clock_ms() + ANSWER_MS;
    result = store_begin_read(answerer->store, &batch, STORE_BLOCK, &error);
    if (result == 0)
        result = package_cache_refresh(answerer->cache, STORE_BLOCK, &error);
    if (result == 0) {
        answerer_answer_all(answerer, arrived, finished);
        (void)!package_cache_scan(answerer->cache, &error); /* the writer meets the same error */
    }
    store_rollback(answerer->store);
    package_cache_evict(answerer->cache);
}

void answerer_prepare(struct answerer *answerer)
{
    struct error ignored;

    if (store_begin_read(answerer->store, NULL, STORE_BLOCK, &ignored) == 0)
        store_rollback(answerer->store);
}

void answerer_rest(struct answerer *answerer)
{
    package_cache_clear(answerer->cache);
}

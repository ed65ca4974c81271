/* SPDX-License-Identifier: MIT */
/*   arrived ──read pass──→ finished            needs no new row
 *              │
 *              └─→ lock queue ──store pass──→ finished      stored and committed
 *                    ↑    │
 *                    └────┘ the lock is held elsewhere, or the database is unavailable: try again
 *
 * The read pass decides on a snapshot. Once a client's request for a package is in the lock queue,
 * its later ones for that package go there too, because they must see its effect. A store pass
 * waits for the lock for a moment only; then new arrivals get their read pass, so that known
 * content is answered whoever holds the lock. While a store pass takes longer, the answerer does
 * the read pass. The commit of a store pass may begin the transaction of the next one
 * (writer_next.c); until that ends, arrivals go to the lock queue at once.
 *
 * An error in a transaction is the error of each request in it: nothing was stored, and the package
 * cache, which may hold rows that were not stored, is cleared. After ERROR_LOCKED the requests are
 * decided again, from what the database holds then, until their patience ends (retry.h). While
 * they wait, they get another read pass now and then: their content may be known by now, or may
 * always have been, but could not be read. */
#include "exec/writer.h"

#include "base/clock.h"
#include "exec/retry.h"
#include "exec/writer_state.h"

#include <stdlib.h>

#define CHECK_MS 500   /* between two checks of the mark */
#define LEND_MS 5      /* a store pass that takes longer gets the answerer's help */
#define LEND_NEW_MS 50 /* the same while most content is new: the answerer can answer little */
#define CACHE_BYTES ((size_t)64 * 1024 * 1024)

void writer_publish(struct writer *writer)
{
    (void)pthread_mutex_lock(&writer->mutex);
    writer->found = writer->store->rollback;
    (void)pthread_mutex_unlock(&writer->mutex);
    metric_set(&writer->readiness.is_rolled_back, writer->store->rollback.is_rolled_back);
}

int writer_create(struct writer **created, const struct store_options *options,
    struct invalid_rows *invalid_rows, struct error *error)
{
    struct writer *writer = calloc(1, sizeof *writer);
    int result;

    *created = NULL;
    if (!writer)
        return error_set_memory(error);
    writer->log = options->log;
    outage_init(
        &writer->outage, "Requests that need a new revision", options->patience_ms, options->log);
    commit_watch_init(&writer->watch, store_kind_of(options->file) == STORE_SQLITE, options->log);
    lock_queue_init(&writer->lock_queue);
    (void)pthread_mutex_init(&writer->mutex, NULL);
    readiness_init(&writer->readiness, &writer->watch);
    result = store_open(&writer->store, options, STORE_WRITER, error);
    if (result == 0)
        writer->cache = package_cache_create(writer->store, CACHE_BYTES, invalid_rows);
    if (result == 0 && writer->cache)
        writer->rollback = rollback_create(writer->store, writer->cache, writer->log);
    if (result == 0 && !writer->rollback)
        result = error_set_memory(error);
    if (result != 0) {
        writer_free(writer);
        return result;
    }
    writer_publish(writer);
    *created = writer;
    return 0;
}

void writer_free(struct writer *writer)
{
    if (!writer)
        return;
    lock_queue_deinit(&writer->lock_queue);
    rollback_free(writer->rollback);
    package_cache_free(writer->cache);
    store_close(writer->store);
    readiness_deinit(&writer->readiness);
    (void)pthread_mutex_destroy(&writer->mutex);
    free(writer);
}

void writer_set_source(struct writer *writer, writer_take_fn take, void *context)
{
    writer->take = take;
    writer->take_context = context;
}

/* ---- between the passes ---- */

/* Finds out whether the database is rolled back, or still is: another server may have ended that.
 */
static void writer_follow_rollback(struct writer *writer)
{
    struct error ignored;

    if (!writer->store->rollback.is_rolled_back && !writer->store->checks_cheaply)
        return;
    if (store_check_mark(writer->store, &ignored) == 0 && rollback_must_restore(writer->rollback))
        (void)!rollback_restore(writer->rollback, &ignored);
    writer_publish(writer);
}

void writer_tick(struct writer *writer)
{
    if (clock_ms() < writer->check_ms || !STAILQ_EMPTY(&writer->lock_queue.jobs))
        return;
    readiness_try(&writer->readiness, writer->store, WRITER_LOCK_SLICE_MS);
    writer->check_ms = clock_ms() + CHECK_MS;
    writer_follow_rollback(writer);
}

uint64_t writer_next_try_ms(const struct writer *writer)
{
    return STAILQ_EMPTY(&writer->lock_queue.jobs) ? 0 : writer->next_try_ms;
}

uint64_t writer_delay_us(const struct writer *writer, size_t n_arrived, size_t *n_enough)
{
    *n_enough = 0;
    if (writer->n_begun > 0)
        return 0;
    return store_batch_delay_us(
        writer->store, job_count(&writer->lock_queue.jobs), n_arrived, n_enough);
}

unsigned writer_lends_after_ms(const struct writer *writer)
{
    return store_least_next(writer->store) > 0 ? LEND_NEW_MS : LEND_MS;
}

bool writer_has_untried(const struct writer *writer)
{
    return writer->has_untried;
}

bool writer_has_waiting(const struct writer *writer)
{
    return !STAILQ_EMPTY(&writer->lock_queue.jobs);
}

bool writer_wants_review(struct writer *writer)
{
    return store_wants_review(writer->store);
}

void writer_give_up(struct writer *writer, struct job_list *finished)
{
    if (writer->n_begun > 0)
        store_rollback(writer->store);
    writer->n_begun = 0;
    retry_give_up(&writer->outage, &writer->lock_queue.jobs, finished);
    lock_queue_clear_if_empty(&writer->lock_queue);
}

bool writer_is_behind(struct writer *writer, struct job *job)
{
    bool is_behind = false;
    int result;

    (void)pthread_mutex_lock(&writer->mutex);
    result = lock_queue_is_behind(&writer->lock_queue, job, &is_behind);
    (void)pthread_mutex_unlock(&writer->mutex);
    return result != 0 || is_behind;
}

void writer_find_rollback(struct writer *writer, struct store_rollback *found)
{
    (void)pthread_mutex_lock(&writer->mutex);
    *found = writer->found;
    (void)pthread_mutex_unlock(&writer->mutex);
}

bool writer_wants_mark_file(const struct writer *writer)
{
    return store_wants_mark_file(writer->store);
}

void writer_write_mark_file(struct writer *writer)
{
    store_write_mark_file(writer->store);
}

struct readiness *writer_readiness(struct writer *writer)
{
    return &writer->readiness;
}

void writer_stats(struct writer *writer, struct batch_stats *stats)
{
    (void)pthread_mutex_lock(&writer->mutex);
    *stats = writer->stats;
    (void)pthread_mutex_unlock(&writer->mutex);
}

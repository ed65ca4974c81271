/* SPDX-License-Identifier: MIT */
/* The writer's store pass: decides what waits in the lock queue and stores it, in one transaction,
 * and scans the large packages that it needs for that. */
#include "base/clock.h"
#include "exec/decide.h"
#include "exec/retry.h"
#include "exec/writer.h"
#include "exec/writer_state.h"

#define COMMIT_AGAIN_MS 50      /* the least pause after a commit that failed: a full disk */
#define MAX_COMMIT_AGAIN_MS 500 /* the longest; between them, as long as the try took */
#define SLOW_MS 20              /* a store pass that takes longer: guessing wrong costs much */

/* Decides one job and adds its row. An error here fails the transaction; a job that can't be
 * decided has an error of its own, and the transaction goes on. Returns PACKAGE_IS_SCANNED if the
 * job has to wait for that. */
static int writer_decide_one(struct writer *writer, struct job *job, struct error *error)
{
    struct package_question question;
    struct package_facts facts;
    struct row row;
    int result;

    job->is_stored = false;
    if (rollback_accepts(writer->rollback, job) ||
        rollback_refuses_look_up(&writer->store->rollback, job, writer->log))
        return 0;
    decide_ask(job, &question);
    result = package_cache_ask(writer->cache, &question, &facts, error);
    if (result != 0)
        return result;
    if (!decide(job, &facts, writer->log) ||
        rollback_refuses(&writer->store->rollback, job, writer->log))
        return 0;
    decide_row(job, &row);
    job->is_return = facts.smallest || facts.largest;
    job->is_stored = true;
    rollback_note(writer->rollback, &row);
    if (package_cache_add(writer->cache, row.checksum, row.value) != 0)
        return error_set_memory(error);
    writer->n_added++;
    writer->n_assigned += job->request->kind == REQUEST_GET_PR;
    return store_add(writer->store, &row, error);
}

/* Returns whether a job waits for the scan of its package. Those behind it wait, too. */
static bool writer_waits_for_scan(struct writer *writer, const struct job *job)
{
    return package_cache_is_scanning(writer->cache, job->request->version, job->request->pkgarch);
}

/* Takes the jobs that wait for a scan out of the queue: a store pass could not decide them. */
static void writer_set_aside(struct writer *writer, struct job_list *scanned)
{
    struct job_list kept = STAILQ_HEAD_INITIALIZER(kept);
    struct job *job;

    if (!package_cache_has_scans(writer->cache) || writer->n_begun > 0)
        return;
    while ((job = STAILQ_FIRST(&writer->lock_queue.jobs))) {
        STAILQ_REMOVE_HEAD(&writer->lock_queue.jobs, entry);
        STAILQ_INSERT_TAIL(writer_waits_for_scan(writer, job) ? scanned : &kept, job, entry);
    }
    STAILQ_CONCAT(&writer->lock_queue.jobs, &kept);
}

/* The jobs of a store pass, sorted by how it ended for them. */
struct store_pass {
    struct job_list waiting; /* not decided yet */
    struct job_list decided;
    struct job_list held;    /* another server has the lock of their packages */
    struct job_list scanned; /* their packages are being scanned */
};

/* Decides a job, unless its lock is held elsewhere or its package is scanned, and moves it to one
 * of the lists. */
static int writer_take_one(
    struct writer *writer, struct job *job, struct store_pass *pass, struct error *error)
{
    const struct request *request = job->request;
    bool has_lock = request->kind == REQUEST_MAX_PACKAGE_PR ||
                    store_has_lock(writer->store, request->version, request->pkgarch);
    int result = PACKAGE_IS_SCANNED;

    if (!has_lock) {
        STAILQ_INSERT_TAIL(&pass->held, job, entry);
        return 0;
    }
    if (!writer_waits_for_scan(writer, job))
        result = writer_decide_one(writer, job, error);
    if (result == PACKAGE_IS_SCANNED) {
        job_reset(job);
        (void)error_set(
            &job->error, ERROR_LOCKED, "its package has many rows, which are being read");
        STAILQ_INSERT_TAIL(&pass->scanned, job, entry);
        return 0;
    }
    writer->n_decided++;
    STAILQ_INSERT_TAIL(&pass->decided, job, entry);
    return result;
}

/* Takes the jobs of the next transaction out of the queue. */
static void writer_take_waiting(struct writer *writer, struct store_pass *pass)
{
    struct job *job;

    for (size_t n = writer_split(writer); n > 0; n--) {
        job = STAILQ_FIRST(&writer->lock_queue.jobs);
        STAILQ_REMOVE_HEAD(&writer->lock_queue.jobs, entry);
        STAILQ_INSERT_TAIL(&pass->waiting, job, entry);
    }
    writer->n_begun = 0;
}

/* Decides the jobs, up to an error, which is the error of all of them. */
static int writer_take_all(struct writer *writer, struct store_pass *pass, struct error *error)
{
    struct job *job;
    int result = package_cache_refresh(writer->cache, STORE_BLOCK, error);

    while (result == 0 && (job = STAILQ_FIRST(&pass->waiting))) {
        STAILQ_REMOVE_HEAD(&pass->waiting, entry);
        result = writer_take_one(writer, job, pass, error);
    }
    return result;
}

/* Commits, and begins the next transaction if there are jobs for it. Those of this one that go on
 * waiting come first. */
static int writer_commit(struct writer *writer, const struct store_pass *pass,
    struct job_list *finished, struct error *error)
{
    const bool has_others = !STAILQ_EMPTY(&pass->held) || !STAILQ_EMPTY(&pass->scanned);
    const size_t n_next = has_others ? 0 : writer_gather_next(writer, finished);
    const struct store_batch next = writer_next_batch(writer, n_next);
    uint64_t before_us = clock_us();
    uint64_t took_us;
    int result;

    commit_watch_begin(&writer->watch);
    result = n_next > 0 ? store_commit_and_begin(writer->store, &next, error)
                        : store_commit(writer->store, error);
    writer->n_begun = result == 0 ? n_next : 0;
    commit_watch_end(&writer->watch, result == 0 ? NULL : error->text);
    rollback_end(writer->rollback, result == 0);
    if (result != 0)
        return result;
    took_us = clock_us() - before_us;
    readiness_count_commit(
        &writer->readiness, took_us, writer->n_decided, writer->n_added, writer->n_assigned);
    (void)pthread_mutex_lock(&writer->mutex);
    batch_stats_add(&writer->stats, writer->n_decided, writer->n_added, took_us);
    (void)pthread_mutex_unlock(&writer->mutex);
    return 0;
}

/* Begins a transaction for what is waiting. If the database turns out to be rolled back, adds lost
 * rows first. */
static int writer_begin(struct writer *writer, const struct store_pass *pass, struct error *error)
{
    const struct store_batch batch = job_batch(&pass->waiting, &writer->outage);
    int result = store_begin_write(writer->store, &batch, WRITER_LOCK_SLICE_MS, error);

    if (result != 0 || !rollback_must_restore(writer->rollback))
        return result;
    store_rollback(writer->store);
    result = rollback_restore(writer->rollback, error);
    return result == 0 ? store_begin_write(writer->store, &batch, WRITER_LOCK_SLICE_MS, error)
                       : result;
}

/* Decides and stores what is waiting, in one transaction. After an error, jobs may be waiting. */
static int writer_transact(
    struct writer *writer, struct store_pass *pass, struct job_list *finished, struct error *error)
{
    int result = writer_begin(writer, pass, error);

    writer->has_lock = result == 0;
    if (result != 0)
        return result;
    writer->n_decided = writer->n_added = writer->n_assigned = 0;
    result = writer_take_all(writer, pass, error);
    if (result == 0)
        result = writer_commit(writer, pass, finished, error);
    if (result != 0) {
        store_rollback(writer->store);
        rollback_end(writer->rollback, false);
        package_cache_clear(writer->cache);
    }
    return result;
}

/* Chooses when to try again what failed. Whatever failed after the lock was taken takes work, and
 * keeps others from the lock. */
static void writer_pause(struct writer *writer, uint64_t began_ms)
{
    uint64_t pause_ms = clock_ms() - began_ms;

    if (pause_ms < COMMIT_AGAIN_MS)
        pause_ms = COMMIT_AGAIN_MS;
    if (pause_ms > MAX_COMMIT_AGAIN_MS)
        pause_ms = MAX_COMMIT_AGAIN_MS;
    writer->next_try_ms = writer->has_lock ? clock_ms() + pause_ms : retry_next_ms(began_ms);
}

/* Ends or continues the outage, after a store pass. What decides is whether jobs that have waited
 * come to their answers, so that packages which one server after the other holds are not an
 * outage. */
static void writer_note_success(struct writer *writer, struct store_pass *pass)
{
    static const struct error is_held = {"another server holds the package in the database"};

    if (STAILQ_EMPTY(&pass->held) || retry_any_waited(&writer->outage, &pass->decided))
        retry_end(&writer->outage);
    if (!STAILQ_EMPTY(&pass->held))
        retry_note(&writer->outage, &pass->held, &is_held);
}

/* Puts the jobs of a store pass that go on waiting back into the queue, before younger ones, and
 * moves the others to ended. */
static void writer_put_back(struct writer *writer, struct store_pass *pass, int result,
    const struct error *error, struct job_list *ended)
{
    struct lock_queue *queue = &writer->lock_queue;
    struct job_list younger = STAILQ_HEAD_INITIALIZER(younger);

    STAILQ_CONCAT(&younger, &queue->jobs);
    lock_queue_put_back(queue, &pass->held);
    if (result == ERROR_LOCKED) {
        lock_queue_put_back(queue, &pass->decided);
        retry_note(&writer->outage, &queue->jobs, error);
    }
    lock_queue_put_back(queue, &pass->scanned);
    retry_expire(&writer->outage, &queue->jobs, ended);
    if (result == 0)
        STAILQ_CONCAT(ended, &pass->decided);
    else
        job_fail_all(&pass->decided, ended, result, error);
    writer->has_untried = result == 0 && !STAILQ_EMPTY(&younger);
    STAILQ_CONCAT(&queue->jobs, &younger);
}

/* Settles the jobs of a store pass, on which the answerer may look meanwhile. */
static void writer_settle(struct writer *writer, struct store_pass *pass, int result,
    const struct error *error, struct job_list *finished)
{
    struct job_list ended = STAILQ_HEAD_INITIALIZER(ended);

    (void)pthread_mutex_lock(&writer->mutex);
    writer_put_back(writer, pass, result, error, &ended);
    if (STAILQ_EMPTY(&writer->lock_queue.jobs))
        lock_queue_clear_if_empty(&writer->lock_queue);
    else
        lock_queue_forget(&writer->lock_queue, &ended);
    (void)pthread_mutex_unlock(&writer->mutex);
    STAILQ_CONCAT(finished, &ended);
}

bool writer_store_pass(struct writer *writer, struct job_list *finished)
{
    struct store_pass pass = {.waiting = STAILQ_HEAD_INITIALIZER(pass.waiting),
        .decided = STAILQ_HEAD_INITIALIZER(pass.decided),
        .held = STAILQ_HEAD_INITIALIZER(pass.held),
        .scanned = STAILQ_HEAD_INITIALIZER(pass.scanned)};
    const uint64_t began_ms = clock_ms();
    struct error error;
    int result;

    if (began_ms < writer->next_try_ms)
        return false;
    writer_set_aside(writer, &pass.scanned);
    if (STAILQ_EMPTY(&writer->lock_queue.jobs)) {
        STAILQ_CONCAT(&writer->lock_queue.jobs, &pass.scanned);
        return false;
    }
    writer_take_waiting(writer, &pass);
    result = writer_transact(writer, &pass, finished, &error);
    writer->is_slow = clock_ms() - began_ms >= SLOW_MS;
    readiness_note_pass(&writer->readiness, result, writer->has_lock, writer->n_added > 0, &error);
    STAILQ_CONCAT(&pass.decided, &pass.waiting);
    if (result == 0)
        writer_note_success(writer, &pass);
    writer_settle(writer, &pass, result, &error, finished);
    writer->next_try_ms = 0;
    if (result == ERROR_LOCKED && writer_has_waiting(writer))
        writer_pause(writer, began_ms);
    package_cache_evict(writer->cache);
    writer_publish(writer);
    return store_wants_checkpoint(writer->store);
}

/* ---- scans of large packages ---- */

/* Ends the jobs that wait for scans, which have failed. */
static void writer_fail_scans(
    struct writer *writer, struct job_list *finished, int result, const struct error *error)
{
    struct job_list scanned = STAILQ_HEAD_INITIALIZER(scanned);

    writer_set_aside(writer, &scanned);
    job_fail_all(&scanned, finished, result, error);
    lock_queue_clear_if_empty(&writer->lock_queue);
}

void writer_scan(struct writer *writer, struct job_list *finished)
{
    struct error error;
    int result;

    if (!package_cache_has_scans(writer->cache) || STAILQ_EMPTY(&writer->lock_queue.jobs) ||
        clock_ms() < writer->next_try_ms)
        return;
    result = store_begin_read(writer->store, NULL, STORE_BLOCK, &error);
    if (result == 0)
        result = package_cache_refresh(writer->cache, STORE_BLOCK, &error);
    if (result == 0)
        result = package_cache_scan(writer->cache, &error);
    store_rollback(writer->store);
    if (result == ERROR_LOCKED)
        writer->next_try_ms = clock_ms() + RETRY_MS;
    else if (result != 0)
        writer_fail_scans(writer, finished, result, &error);
}

/* SPDX-License-Identifier: MIT */
/*              loop                          thread
 *
 *   submit → fresh ──turn──→ done
 *              │   idle thread's work, at once
 *              └──→ queue ──take──→ worked on → finished ──deliver──→ done
 *
 * While the thread of the writer or the reader is idle, the loop does its work if that needs no
 * wait, which saves two changes of thread. Only the loop wakes these two threads, so neither wakes
 * meanwhile. (Whoever works for the writer wakes the checkpointer and the answerer.)
 *
 * During a store pass the writer lends its queue: if the pass takes long, because the disk is slow
 * or a lock is held, the answerer answers what needs no new row (workers.h). */
#include "exec/executor.h"

#include "base/clock.h"
#include "base/thread.h"
#include "exec/answerer.h"
#include "exec/export.h"
#include "exec/invalid_rows.h"
#include "exec/reader.h"
#include "exec/retry.h"
#include "exec/scanner.h"
#include "exec/workers.h"
#include "exec/writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define SHUTDOWN_READ_MS 1500
#define TRY_WAIT_MS RETRY_MS /* the longest wait for a lock in one try */
#define HELP_MS 5            /* how often the answerer looks whether it can help */
#define PREPARE_MS 1000      /* how often the answerer makes sure of its connection */
#define DELAY_SLICES 8
#define LOOK_AFTER_MS 1000
#define SCAN_NICE 19 /* exports and counts leave the processors to other requests */
#define DELIVER_BYTES ((size_t)512 * 1024) /* of values and pieces, before input is read again */

enum { CHECKPOINTER = JOB_SCAN + 1, ANSWERER, WORKERS };

struct executor {
    struct store_options store_options; /* for every connection */
    struct identity identity;           /* of the database */
    uint64_t n_taken_over;              /* rows of older tables, at the start */
    struct invalid_rows *invalid_rows;
    struct writer *writer;     /* NULL: read-only */
    struct answerer *answerer; /* likewise */
    struct reader *reader;
    struct scanner scanner;
    struct store *checkpointer;   /* NULL: read-only */
    atomic_bool wants_checkpoint; /* what the checkpointer was woken for */
    atomic_bool wants_review;     /* likewise */
    atomic_bool shutting_down;
    atomic_ullong read_deadline_ms; /* when reading ends; UINT64_MAX: never */

    struct workers workers;
    struct worker each[WORKERS]; /* by job kind, the checkpointer and the answerer */
    struct job_list delivered;   /* jobs that are done, and not called back yet; the loop's */
};

/* ---- the threads ---- */

/* Returns whether the server is stopping and the time for reading has ended. */
static bool executor_has_no_time(const struct executor *executor)
{
    return clock_ms() >= atomic_load(&executor->read_deadline_ms);
}

static void executor_refuse(struct job_list *jobs, struct job_list *finished)
{
    static const struct error is_stopping = {
        "the server is stopping; the request was not carried out"};

    job_fail_all(jobs, finished, ERROR_LOCKED, &is_stopping);
}

/* Takes the jobs that have arrived, and those that come within the delay that the writer asks for.
 */
static void executor_gather(struct executor *executor, struct worker *worker, struct job_list *jobs)
{
    const uint64_t next_try_ms = writer_next_try_ms(executor->writer);
    struct timespec slice = {.tv_sec = 0};
    uint64_t delay_us;
    size_t n_enough;

    worker_take_more(worker, jobs);
    if (STAILQ_EMPTY(jobs) && clock_ms() < next_try_ms)
        worker_wait(worker, next_try_ms, jobs);
    delay_us = writer_delay_us(executor->writer, job_count(jobs), &n_enough);
    slice.tv_nsec = (long)(delay_us * 1000 / DELAY_SLICES);
    for (int i = 0; delay_us > 0 && i < DELAY_SLICES && job_count(jobs) < n_enough; i++) {
        (void)nanosleep(&slice, NULL);
        worker_take_more(worker, jobs);
    }
}

/* Wakes the checkpointer for what the writer's last pass wants of it. */
static void executor_wake_checkpointer(struct executor *executor, bool wants_checkpoint)
{
    const bool wants_review = writer_wants_review(executor->writer);

    if (!wants_checkpoint && !wants_review && !writer_wants_mark_file(executor->writer))
        return;
    if (wants_checkpoint)
        atomic_store(&executor->wants_checkpoint, true);
    if (wants_review)
        atomic_store(&executor->wants_review, true);
    worker_wake(&executor->each[CHECKPOINTER]);
}

/* Stores what waits. What the read pass has answered goes out first. When the server stops, each
 * job is tried once, unless one fails. Returns whether the checkpointer should run now. */
static bool executor_store(
    struct executor *executor, struct worker *worker, struct job_list *finished)
{
    bool wants_checkpoint = false;
    bool is_stopping;

    if (!writer_has_waiting(executor->writer))
        return false;
    workers_hand_back(&executor->workers, finished);
    worker_lend(worker, writer_lends_after_ms(executor->writer));
    do {
        wants_checkpoint = writer_store_pass(executor->writer, finished) || wants_checkpoint;
        workers_hand_back(&executor->workers, finished);
        is_stopping = atomic_load(&executor->shutting_down);
    } while (is_stopping && writer_has_untried(executor->writer));
    if (is_stopping)
        writer_give_up(executor->writer, finished);
    workers_hand_back(&executor->workers, finished);
    worker_reclaim(worker);
    return wants_checkpoint;
}

/* As writer_take_fn. */
static size_t executor_take(void *context, struct job_list *arrived, size_t least)
{
    struct executor *executor = context;

    return worker_take_lent(&executor->each[JOB_DECIDE], arrived, least);
}

static void *executor_run_writer(void *argument)
{
    struct executor *executor = argument;
    struct worker *worker = &executor->each[JOB_DECIDE];
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    bool wants_checkpoint;

    while (worker_take(worker, &jobs)) {
        writer_tick(executor->writer);
        do {
            writer_read_pass(executor->writer, &jobs, &finished, STORE_BLOCK);
            wants_checkpoint = executor_store(executor, worker, &finished);
            writer_scan(executor->writer, &finished);
            workers_hand_back(&executor->workers, &finished);
            executor_wake_checkpointer(executor, wants_checkpoint);
            executor_gather(executor, worker, &jobs);
        } while (!STAILQ_EMPTY(&jobs) || writer_has_waiting(executor->writer));
    }
    return NULL;
}

/* Looks at the writer again and again, and does what it can of its work while it waits. */
static void *executor_run_answerer(void *argument)
{
    struct executor *executor = argument;
    struct worker *worker = &executor->each[ANSWERER];
    struct worker *decide = &executor->each[JOB_DECIDE];
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    while (worker_take(worker, &jobs)) {
        uint64_t prepare_ms = 0;

        while (worker_borrow(decide, &jobs)) {
            if (!STAILQ_EMPTY(&jobs)) {
                answerer_work(executor->answerer, &jobs, &finished);
                workers_hand_back(&executor->workers, &finished);
                worker_return(decide, &jobs);
            } else if (clock_ms() >= prepare_ms) {
                answerer_prepare(executor->answerer);
                prepare_ms = clock_ms() + PREPARE_MS;
            }
            worker_wait(worker, clock_ms() + HELP_MS, NULL);
        }
        answerer_rest(executor->answerer);
    }
    return NULL;
}

static void *executor_run_checkpointer(void *argument)
{
    struct executor *executor = argument;
    struct worker *worker = &executor->each[CHECKPOINTER];
    struct job_list none = STAILQ_HEAD_INITIALIZER(none);
    struct error error;

    while (worker_take_within(worker, &none, LOOK_AFTER_MS)) {
        int result;

        writer_write_mark_file(executor->writer);
        if (atomic_load(&executor->shutting_down))
            continue;
        result = atomic_exchange(&executor->wants_checkpoint, false)
                     ? store_checkpoint(executor->checkpointer, &error)
                     : store_look_after(executor->checkpointer, &error);
        if (result != 0)
            log_often(executor->store_options.log, LOG_ERROR, "%s", error.text);
        if (atomic_exchange(&executor->wants_review, false) &&
            store_review(executor->checkpointer, &error) != 0)
            log_often(executor->store_options.log, LOG_ERROR, "%s", error.text);
    }
    return NULL;
}

static void *executor_run_reader(void *argument)
{
    struct executor *executor = argument;
    struct worker *worker = &executor->each[JOB_LOOK];
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    while (worker_take(worker, &jobs)) {
        while (!STAILQ_EMPTY(&jobs) || reader_has_jobs(executor->reader)) {
            reader_work(executor->reader, &jobs, &finished, STORE_BLOCK);
            if (executor_has_no_time(executor)) {
                reader_take_back(executor->reader, &jobs);
                executor_refuse(&jobs, &finished);
            } else if (atomic_load(&executor->shutting_down)) {
                reader_give_up(executor->reader, &jobs, &finished);
            }
            workers_hand_back(&executor->workers, &finished);
            if (!STAILQ_EMPTY(&jobs) && clock_ms() < reader_next_try_ms(executor->reader))
                worker_wait(worker, reader_next_try_ms(executor->reader), NULL);
            worker_take_more(worker, &jobs);
        }
    }
    return NULL;
}

static void *executor_run_scanner(void *argument)
{
    struct executor *executor = argument;
    struct scanner *scanner = &executor->scanner;
    struct worker *worker = &executor->each[JOB_SCAN];
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    thread_lower_priority(SCAN_NICE);
    while (worker_take(worker, &jobs)) {
        do {
            bool has_more;

            scanner_take(scanner, &jobs, &finished);
            workers_hand_back(&executor->workers, &finished);
            has_more = !executor_has_no_time(executor) && scanner_work(scanner, &finished);
            if (executor_has_no_time(executor) ||
                (!has_more && atomic_load(&executor->shutting_down)))
                scanner_give_up(scanner, &finished);
            workers_hand_back(&executor->workers, &finished);
            if (!scanner_has_jobs(scanner) && !atomic_load(&executor->shutting_down))
                scanner_refresh_count(scanner);
            if (!has_more && scanner_has_jobs(scanner))
                worker_wait(worker, scanner_next_try_ms(scanner), &jobs);
            else
                worker_take_more(worker, &jobs);
        } while (!STAILQ_EMPTY(&jobs) || scanner_has_jobs(scanner));
    }
    return NULL;
}

/* ---- the loop's side ---- */

void executor_submit(struct executor *executor, struct job *job)
{
    STAILQ_INSERT_TAIL(&executor->each[job->kind].fresh, job, entry);
}

/* Calls back for jobs until their answers are longer than most_bytes: whoever is called back writes
 * them. Returns whether there are more. */
static bool executor_call_done(struct executor *executor, size_t most_bytes)
{
    size_t bytes = 0;
    struct job *job;

    while (bytes <= most_bytes && (job = STAILQ_FIRST(&executor->delivered))) {
        STAILQ_REMOVE_HEAD(&executor->delivered, entry);
        bytes += job->budgeted + job->piece.length;
        job->done(job, job->context);
    }
    return !STAILQ_EMPTY(&executor->delivered);
}

void executor_deliver(struct executor *executor)
{
    workers_take_finished(&executor->workers, &executor->delivered);
    (void)executor_call_done(executor, DELIVER_BYTES); /* executor_turn goes on */
}

bool executor_turn(struct executor *executor)
{
    struct worker *look = &executor->each[JOB_LOOK];
    struct worker *decide = &executor->each[JOB_DECIDE];
    struct job_list *finished = &executor->delivered;
    bool stores = false;
    bool more;

    if (!STAILQ_EMPTY(&look->fresh) && worker_is_idle(look))
        reader_work(executor->reader, &look->fresh, finished, STORE_NONBLOCK);
    if (!STAILQ_EMPTY(&decide->fresh) && worker_is_idle(decide)) {
        writer_read_pass(executor->writer, &decide->fresh, finished, STORE_NONBLOCK);
        stores = writer_has_waiting(executor->writer);
        executor_wake_checkpointer(executor, false);
    }
    worker_hand_over(look, false);
    worker_hand_over(decide, stores);
    worker_hand_over(&executor->each[JOB_SCAN], false);
    more = !STAILQ_EMPTY(finished);
    (void)executor_call_done(executor, DELIVER_BYTES);
    return more;
}

void executor_end_export(struct executor *executor, struct job *job)
{
    (void)executor;
    export_free(job->scan);
    job->scan = NULL;
    report_free(job->report);
    job->report = NULL;
}

void executor_tick(struct executor *executor)
{
    if (!executor->writer)
        return;
    commit_watch_check(writer_readiness(executor->writer)->watch);
    if (writer_wants_mark_file(executor->writer))
        worker_wake(&executor->each[CHECKPOINTER]);
    if (!atomic_load(&executor->shutting_down))
        worker_hand_over(&executor->each[JOB_DECIDE], true);
}

void executor_find_rollback(struct executor *executor, struct store_rollback *found)
{
    *found = (struct store_rollback){.is_rolled_back = false};
    if (executor->writer)
        writer_find_rollback(executor->writer, found);
}

struct readiness *executor_readiness(const struct executor *executor)
{
    return executor->writer ? writer_readiness(executor->writer) : NULL;
}

struct row_count *executor_row_count(struct executor *executor)
{
    return &executor->scanner.count;
}

const struct store_options *executor_store_options(const struct executor *executor)
{
    return &executor->store_options;
}

void executor_batch_stats(struct executor *executor, struct batch_stats *stats)
{
    *stats = (struct batch_stats){.count = 0};
    if (executor->writer)
        writer_stats(executor->writer, stats);
}

uint64_t executor_taken_over(const struct executor *executor)
{
    return executor->n_taken_over;
}

void executor_cancel(struct executor *executor, struct job *job)
{
    (void)executor;
    atomic_store(&job->is_cancelled, true);
}

const char *executor_instance(const struct executor *executor)
{
    return identity_instance(&executor->identity);
}

bool executor_is_stale(const struct executor *executor)
{
    return store_is_stale(&executor->store_options);
}

void executor_begin_shutdown(struct executor *executor)
{
    atomic_store(&executor->read_deadline_ms, clock_ms() + SHUTDOWN_READ_MS);
    atomic_store(&executor->shutting_down, true);
    worker_wake(&executor->each[JOB_LOOK]); /* if they pause between two tries */
    worker_wake(&executor->each[JOB_DECIDE]);
    worker_wake(&executor->each[JOB_SCAN]);
}

/* ---- start and end ---- */

static int executor_open_stores(struct executor *executor, struct error *error)
{
    const struct store_options *options = &executor->store_options;
    int result = 0;

    if (!options->read_only)
        result = writer_create(&executor->writer, options, executor->invalid_rows, error);
    if (result == 0 && !options->read_only)
        result = answerer_create(
            &executor->answerer, options, executor->invalid_rows, executor->writer, error);
    if (result == 0 && !options->read_only)
        result = store_open(&executor->checkpointer, options, STORE_CHECKPOINTER, error);
    if (result == 0)
        result = reader_create(
            &executor->reader, options, executor->invalid_rows, executor->writer, error);
    return result;
}

static int executor_start_threads(struct executor *executor, struct error *error)
{
    int result = worker_start(&executor->each[JOB_LOOK], executor_run_reader, executor, error);

    if (result == 0)
        result = worker_start(&executor->each[JOB_SCAN], executor_run_scanner, executor, error);
    if (result == 0 && executor->writer)
        result = worker_start(&executor->each[ANSWERER], executor_run_answerer, executor, error);
    if (executor->writer)
        writer_set_source(executor->writer, executor_take, executor);
    if (result == 0 && executor->writer)
        result = worker_start(&executor->each[JOB_DECIDE], executor_run_writer, executor, error);
    if (result == 0 && executor->writer)
        result =
            worker_start(&executor->each[CHECKPOINTER], executor_run_checkpointer, executor, error);
    return result;
}

int executor_create(struct executor **created, const struct store_options *options,
    void (*wake)(void *context), void *context, struct error *error)
{
    struct executor *executor = calloc(1, sizeof *executor);
    int result;

    *created = NULL;
    if (!executor)
        return error_set_memory(error);
    STAILQ_INIT(&executor->delivered);
    executor->store_options = *options;
    atomic_store(&executor->read_deadline_ms, UINT64_MAX);
    executor->store_options.is_startup = executor->store_options.serves = true;
    executor->store_options.wait_ms = TRY_WAIT_MS;
    executor->store_options.identity = &executor->identity;
    executor->store_options.n_taken_over = &executor->n_taken_over;
    executor->store_options.shutting_down = &executor->shutting_down;
    executor->store_options.read_deadline_ms = &executor->read_deadline_ms;
    workers_init(&executor->workers, executor->each, WORKERS, wake, context);
    executor->each[JOB_DECIDE].helper = &executor->each[ANSWERER];
    executor->invalid_rows = invalid_rows_create(options->log);
    scanner_init(&executor->scanner, &executor->store_options, executor->invalid_rows);
    result =
        executor->invalid_rows ? executor_open_stores(executor, error) : error_set_memory(error);
    executor->store_options.is_startup = false;
    scanner_set_writer(&executor->scanner, executor->writer);
    if (result == 0)
        result = executor_start_threads(executor, error);
    if (result != 0) {
        executor_free(executor);
        return result;
    }
    *created = executor;
    return 0;
}

void executor_free(struct executor *executor)
{
    if (!executor)
        return;
    workers_stop(&executor->workers);
    workers_take_finished(&executor->workers, &executor->delivered);
    (void)executor_call_done(executor, SIZE_MAX);
    scanner_deinit(&executor->scanner);
    reader_free(executor->reader);
    store_close(executor->checkpointer);
    answerer_free(executor->answerer);
    writer_free(executor->writer);
    invalid_rows_free(executor->invalid_rows);
    workers_destroy(&executor->workers);
    free(executor);
}

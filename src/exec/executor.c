/*              loop                          thread
 *
 *   submit → fresh ──turn──→ done
 *              │   idle thread's work, at once
 *              └──→ queue ──take──→ worked on → finished ──deliver──→ done
 *
 * While a thread sleeps, the loop uses what is the thread's, writer or looker, for what can
 * be done at once: that saves two changes of thread. Only the loop wakes these two, so
 * neither of them wakes meanwhile. (The keeper is woken by the writer's thread.) */
#include "exec/executor.h"

#include "base/clock.h"
#include "exec/export.h"
#include "exec/looker.h"
#include "exec/odd_rows.h"
#include "exec/workers.h"
#include "exec/writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define HURRY_MS 1500
#define SCAN_BEGIN_MS 6000 /* one that has not begun by then won't */
#define GRACE_SLICES 8

enum { KEEPER = JOB_SCAN + 1, WORKERS };

struct executor {
    struct executor_options options;
    struct store_options store_options;
    struct odd_rows *odd_rows;
    struct writer *writer; /* NULL: read-only */
    struct looker *looker;
    struct store *keeper; /* NULL: read-only */
    atomic_bool hurry;
    atomic_ullong give_up_ms; /* from then on what reads is refused; at first: never */

    struct workers workers;
    struct worker each[WORKERS]; /* by job kind, and the keeper */
    pthread_mutex_t ended_mutex;
    struct export *ended; /* guarded by it: exports that won't go on */
};

/* ---- the threads ---- */

/* While stopping, long queues can't be worked off. */
static bool has_no_time(const struct executor *executor)
{
    return clock_ms() >= atomic_load(&executor->give_up_ms);
}

static void refuse(struct job_list *jobs, struct job_list *finished)
{
    struct job *job;

    STAILQ_FOREACH (job, jobs, link)
        job->result = error_set(
            &job->error, ERROR_LOCKED, "the server is stopping; the request was not carried out");
    STAILQ_CONCAT(finished, jobs);
}

/* Takes what has arrived; where transactions take long, also what comes soon. */
static void gather(struct executor *executor, struct worker *worker, struct job_list *jobs)
{
    struct timespec slice = {.tv_sec = 0};
    uint64_t grace_us;
    size_t n_wanted;

    worker_take_more(worker, jobs);
    grace_us = writer_grace_us(executor->writer, job_count(jobs), &n_wanted);
    slice.tv_nsec = (long)(grace_us * 1000 / GRACE_SLICES);
    for (int i = 0; grace_us > 0 && i < GRACE_SLICES && job_count(jobs) < n_wanted; i++) {
        (void)nanosleep(&slice, NULL);
        worker_take_more(worker, jobs);
    }
}

static void *write_jobs(void *argument)
{
    struct executor *executor = argument;
    struct worker *worker = &executor->each[JOB_DECIDE];
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    while (worker_take(worker, &jobs)) {
        do {
            writer_look(executor->writer, &jobs, &finished, STORE_WAITS);
            writer_store(executor->writer, &finished);
            if (atomic_load(&executor->hurry))
                writer_give_up(executor->writer, &finished);
            workers_hand_back(&executor->workers, &finished);
            if (writer_is_untidy(executor->writer))
                worker_wake(&executor->each[KEEPER]);
            gather(executor, worker, &jobs);
        } while (!STAILQ_EMPTY(&jobs) || writer_has_waiting(executor->writer));
    }
    return NULL;
}

static void *keep_tidy(void *argument)
{
    struct executor *executor = argument;
    struct worker *worker = &executor->each[KEEPER];
    struct job_list none = STAILQ_HEAD_INITIALIZER(none);
    struct error error;

    while (worker_take(worker, &none)) {
        if (!atomic_load(&executor->hurry) && store_tidy(executor->keeper, &error) != 0)
            log_often(executor->options.log, LOG_ERROR, "%s", error.text);
    }
    return NULL;
}

static void *look_jobs(void *argument)
{
    struct executor *executor = argument;
    struct worker *worker = &executor->each[JOB_LOOK];
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    while (worker_take(worker, &jobs)) {
        while (!STAILQ_EMPTY(&jobs)) {
            looker_work(executor->looker, &jobs, &finished, STORE_WAITS);
            if (has_no_time(executor))
                refuse(&jobs, &finished);
            workers_hand_back(&executor->workers, &finished);
        }
    }
    return NULL;
}

/* For get-stats. */
static int count_rows(const struct executor *executor, struct job *job)
{
    struct store *store;
    int result = store_open(&store, &executor->store_options, STORE_READER, &job->error);

    if (result != 0)
        return result;
    result = store_begin_read(store, STORE_WAITS, &job->error);
    if (result == 0)
        result = store_count(store, &job->rows, &job->error);
    store_close(store);
    return result;
}

/* Closing a connection to the database can take long. */
static void free_ended(struct executor *executor)
{
    struct export *ended;

    (void)pthread_mutex_lock(&executor->ended_mutex);
    ended = executor->ended;
    executor->ended = NULL;
    (void)pthread_mutex_unlock(&executor->ended_mutex);
    export_free_all(&ended);
}

static void *scan_jobs(void *argument)
{
    struct executor *executor = argument;
    struct worker *worker = &executor->each[JOB_SCAN];
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    while (worker_take(worker, &jobs)) {
        struct job *job;

        free_ended(executor);
        if (has_no_time(executor))
            refuse(&jobs, &finished);
        while ((job = STAILQ_FIRST(&jobs))) {
            STAILQ_REMOVE_HEAD(&jobs, link);
            if (!job->export && clock_ms() - job->submitted_ms >= SCAN_BEGIN_MS)
                job->result = error_set(&job->error, ERROR_LOCKED,
                    "it could not begin in time: the database is away, or busy with others");
            else if (job->request->kind == REQUEST_EXPORT)
                export_work(job, &executor->store_options, executor->odd_rows);
            else
                job->result = count_rows(executor, job);
            STAILQ_INSERT_TAIL(&finished, job, link);
            workers_hand_back(&executor->workers, &finished);
        }
        workers_hand_back(&executor->workers, &finished);
    }
    return NULL;
}

/* ---- the loop's side ---- */

void executor_submit(struct executor *executor, struct job *job)
{
    job->submitted_ms = clock_ms();
    STAILQ_INSERT_TAIL(&executor->each[job->kind].fresh, job, link);
}

static void call_done(struct job_list *finished)
{
    struct job *job;

    while ((job = STAILQ_FIRST(finished))) {
        STAILQ_REMOVE_HEAD(finished, link);
        job->done(job, job->context);
    }
}

void executor_deliver(struct executor *executor)
{
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    workers_take_finished(&executor->workers, &finished);
    call_done(&finished);
}

bool executor_turn(struct executor *executor)
{
    struct worker *look = &executor->each[JOB_LOOK];
    struct worker *decide = &executor->each[JOB_DECIDE];
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    bool stores = false;
    bool more;

    if (!STAILQ_EMPTY(&look->fresh) && worker_is_idle(look))
        looker_work(executor->looker, &look->fresh, &finished, STORE_AT_ONCE);
    if (!STAILQ_EMPTY(&decide->fresh) && worker_is_idle(decide)) {
        writer_look(executor->writer, &decide->fresh, &finished, STORE_AT_ONCE);
        stores = writer_has_waiting(executor->writer);
    }
    worker_hand_over(look, false);
    worker_hand_over(decide, stores);
    worker_hand_over(&executor->each[JOB_SCAN], false);
    more = !STAILQ_EMPTY(&finished);
    call_done(&finished);
    return more;
}

void executor_end_export(struct executor *executor, struct job *job)
{
    if (!job->export)
        return;
    (void)pthread_mutex_lock(&executor->ended_mutex);
    export_put(&executor->ended, job->export);
    (void)pthread_mutex_unlock(&executor->ended_mutex);
    job->export = NULL;
    worker_wake(&executor->each[JOB_SCAN]);
}

void executor_batch_stats(struct executor *executor, struct batch_stats *stats)
{
    if (executor->writer)
        writer_stats(executor->writer, stats);
    else
        *stats = (struct batch_stats){.count = 0};
}

void executor_hurry(struct executor *executor)
{
    atomic_store(&executor->give_up_ms, clock_ms() + HURRY_MS);
    atomic_store(&executor->hurry, true);
}

/* ---- start and end ---- */

static int open_stores(struct executor *executor, struct error *error)
{
    struct store *store;
    int result;

    if (!executor->options.read_only) {
        result = store_open(&store, &executor->store_options, STORE_WRITER, error);
        if (result == 0)
            result = writer_create(
                &executor->writer, store, executor->odd_rows, executor->options.log, error);
        if (result == 0)
            result = store_open(&executor->keeper, &executor->store_options, STORE_KEEPER, error);
        if (result != 0)
            return result;
    }
    result = store_open(&store, &executor->store_options, STORE_READER, error);
    if (result != 0)
        return result;
    result = store_begin_read(store, STORE_WAITS, error); /* can it be read at all? */
    if (result != 0) {
        store_close(store);
        return result;
    }
    store_rollback(store);
    return looker_create(
        &executor->looker, store, executor->odd_rows, executor->options.log, error);
}

static int start_threads(struct executor *executor, struct error *error)
{
    int result = worker_start(&executor->each[JOB_LOOK], look_jobs, executor, error);

    if (result == 0)
        result = worker_start(&executor->each[JOB_SCAN], scan_jobs, executor, error);
    if (result == 0 && executor->writer)
        result = worker_start(&executor->each[JOB_DECIDE], write_jobs, executor, error);
    if (result == 0 && executor->writer)
        result = worker_start(&executor->each[KEEPER], keep_tidy, executor, error);
    return result;
}

int executor_create(
    struct executor **result, const struct executor_options *options, struct error *error)
{
    struct executor *executor = calloc(1, sizeof *executor);
    int code;

    *result = NULL;
    if (!executor)
        return error_set_memory(error);
    executor->options = *options;
    atomic_store(&executor->give_up_ms, UINT64_MAX);
    executor->store_options = (struct store_options){
        .file = options->file,
        .file_read = options->file_read,
        .read_only = options->read_only,
        .sync = options->sync,
        .tidy_at_pages = options->tidy_at_pages,
        .log = options->log,
        .hurry = &executor->hurry,
        .give_up_ms = &executor->give_up_ms,
    };
    (void)pthread_mutex_init(&executor->ended_mutex, NULL);
    workers_init(&executor->workers, executor->each, WORKERS, options->wake, options->context);
    executor->odd_rows = odd_rows_create(options->log);
    executor->store_options.starts = true;
    code = executor->odd_rows ? open_stores(executor, error) : error_set_memory(error);
    executor->store_options.starts = false;
    if (code == 0)
        code = start_threads(executor, error);
    if (code != 0) {
        executor_free(executor);
        return code;
    }
    *result = executor;
    return 0;
}

void executor_free(struct executor *executor)
{
    if (!executor)
        return;
    workers_stop(&executor->workers);
    executor_deliver(executor);
    export_free_all(&executor->ended);
    looker_free(executor->looker);
    store_close(executor->keeper);
    writer_free(executor->writer);
    odd_rows_free(executor->odd_rows);
    workers_destroy(&executor->workers);
    (void)pthread_mutex_destroy(&executor->ended_mutex);
    free(executor);
}

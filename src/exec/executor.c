/*              loop                          thread
 *
 *   submit → fresh ──turn──→ done
 *              │   idle thread's work, at once
 *              └──→ queue ──take──→ worked on → finished ──deliver──→ done
 *
 * Each thread has a queue of its own; all of them, and the list of what is finished,
 * are guarded by one mutex, which is held only to move lists. A thread that finds its
 * queue empty sleeps on its condition. While it does, the loop uses what is the
 * thread's, writer or looker, for what can be done at once: that saves two changes of
 * thread. Only the loop wakes these two, so neither of them wakes meanwhile. (The keeper
 * is woken by the writer's thread.) */
#include "exec/executor.h"

#include "base/clock.h"
#include "exec/export.h"
#include "exec/looker.h"
#include "exec/odd_rows.h"
#include "exec/writer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HURRY_MS 1500
#define SCAN_BEGIN_MS 6000 /* one that has not begun by then won't */
#define GRACE_SLICES 8

enum { KEEPER = JOB_SCAN + 1, WORKERS };

struct worker {
    struct executor *executor;
    pthread_t thread;
    bool started;
    struct job_list fresh; /* the loop's: submitted in this turn */
    pthread_cond_t arrived;
    /* guarded by the executor's mutex */
    struct job_list queue;
    bool woken; /* there is something to do besides the queue */
    bool idle;  /* it sleeps, and the loop may use what is its */
};

struct executor {
    struct executor_options options;
    struct store_options store_options;
    struct odd_rows *odd_rows;
    struct writer *writer; /* NULL: read-only */
    struct looker *looker;
    struct store *keeper; /* NULL: read-only */
    atomic_bool hurry;
    atomic_ullong give_up_ms; /* from then on what reads is refused; at first: never */

    pthread_mutex_t mutex; /* guards what follows */
    bool stopping;
    struct worker workers[WORKERS]; /* by job kind, and the keeper */
    struct job_list finished;
    struct export *ended; /* exports that won't go on */
};

/* ---- the threads ---- */

/* Waits until there is something to do, and takes all jobs. False: there is nothing, and
 * the executor stops. */
static bool take(struct worker *worker, struct job_list *jobs)
{
    struct executor *executor = worker->executor;
    bool taken;

    (void)pthread_mutex_lock(&executor->mutex);
    while (STAILQ_EMPTY(&worker->queue) && !worker->woken && !executor->stopping) {
        worker->idle = true;
        (void)pthread_cond_wait(&worker->arrived, &executor->mutex);
    }
    worker->idle = false;
    STAILQ_CONCAT(jobs, &worker->queue);
    taken = worker->woken || !STAILQ_EMPTY(jobs);
    worker->woken = false;
    (void)pthread_mutex_unlock(&executor->mutex);
    return taken;
}

/* Takes what is there, without waiting. */
static void take_more(struct worker *worker, struct job_list *jobs)
{
    struct executor *executor = worker->executor;

    (void)pthread_mutex_lock(&executor->mutex);
    STAILQ_CONCAT(jobs, &worker->queue);
    (void)pthread_mutex_unlock(&executor->mutex);
}

static void hand_back(struct executor *executor, struct job_list *jobs)
{
    bool wake;

    if (STAILQ_EMPTY(jobs))
        return;
    (void)pthread_mutex_lock(&executor->mutex);
    wake = STAILQ_EMPTY(&executor->finished);
    STAILQ_CONCAT(&executor->finished, jobs);
    (void)pthread_mutex_unlock(&executor->mutex);
    if (wake)
        executor->options.wake(executor->options.context);
}

/* Any thread. */
static void wake_up(struct worker *worker)
{
    (void)pthread_mutex_lock(&worker->executor->mutex);
    worker->woken = true;
    (void)pthread_mutex_unlock(&worker->executor->mutex);
    (void)pthread_cond_signal(&worker->arrived);
}

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
static void gather(struct worker *worker, struct job_list *jobs)
{
    size_t n_more;
    const uint64_t grace_us = writer_grace_us(worker->executor->writer, &n_more);
    const struct timespec slice = {.tv_nsec = (long)(grace_us * 1000 / GRACE_SLICES)};

    take_more(worker, jobs);
    n_more += job_count(jobs);
    for (int i = 0; grace_us > 0 && n_more > 1 && i < GRACE_SLICES; i++) {
        if (job_count(jobs) >= n_more)
            return;
        (void)nanosleep(&slice, NULL);
        take_more(worker, jobs);
    }
}

static void *write_jobs(void *argument)
{
    struct worker *worker = argument;
    struct executor *executor = worker->executor;
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    while (take(worker, &jobs)) {
        do {
            writer_look(executor->writer, &jobs, &finished, STORE_WAITS);
            writer_store(executor->writer, &finished);
            if (atomic_load(&executor->hurry))
                writer_give_up(executor->writer, &finished);
            hand_back(executor, &finished);
            if (writer_is_untidy(executor->writer))
                wake_up(&executor->workers[KEEPER]);
            gather(worker, &jobs);
        } while (!STAILQ_EMPTY(&jobs) || writer_has_waiting(executor->writer));
    }
    return NULL;
}

static void *keep_tidy(void *argument)
{
    struct worker *worker = argument;
    struct executor *executor = worker->executor;
    struct job_list none = STAILQ_HEAD_INITIALIZER(none);
    struct error error;

    while (take(worker, &none)) {
        if (!atomic_load(&executor->hurry) && store_tidy(executor->keeper, &error) != 0)
            log_often(executor->options.log, LOG_ERROR, "%s", error.text);
    }
    return NULL;
}

static void *look_jobs(void *argument)
{
    struct worker *worker = argument;
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    while (take(worker, &jobs)) {
        while (!STAILQ_EMPTY(&jobs)) {
            looker_work(worker->executor->looker, &jobs, &finished, STORE_WAITS);
            if (has_no_time(worker->executor))
                refuse(&jobs, &finished);
            hand_back(worker->executor, &finished);
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

    (void)pthread_mutex_lock(&executor->mutex);
    ended = executor->ended;
    executor->ended = NULL;
    (void)pthread_mutex_unlock(&executor->mutex);
    export_free_all(&ended);
}

static void *scan_jobs(void *argument)
{
    struct worker *worker = argument;
    struct executor *executor = worker->executor;
    struct job_list jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    while (take(worker, &jobs)) {
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
            hand_back(executor, &finished);
        }
        hand_back(executor, &finished);
    }
    return NULL;
}

/* ---- the loop's side ---- */

void executor_submit(struct executor *executor, struct job *job)
{
    job->submitted_ms = clock_ms();
    STAILQ_INSERT_TAIL(&executor->workers[job->kind].fresh, job, link);
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

    (void)pthread_mutex_lock(&executor->mutex);
    STAILQ_CONCAT(&finished, &executor->finished);
    (void)pthread_mutex_unlock(&executor->mutex);
    call_done(&finished);
}

static bool is_idle(struct worker *worker)
{
    bool idle;

    (void)pthread_mutex_lock(&worker->executor->mutex);
    idle = worker->idle && STAILQ_EMPTY(&worker->queue) && !worker->woken;
    (void)pthread_mutex_unlock(&worker->executor->mutex);
    return idle;
}

/* Gives the thread what is left of its fresh jobs; wakes it for those, or if it must. */
static void hand_over(struct worker *worker, bool must_wake)
{
    struct executor *executor = worker->executor;
    bool idle;

    if (STAILQ_EMPTY(&worker->fresh) && !must_wake)
        return;
    (void)pthread_mutex_lock(&executor->mutex);
    worker->woken = worker->woken || must_wake;
    STAILQ_CONCAT(&worker->queue, &worker->fresh);
    idle = worker->idle;
    (void)pthread_mutex_unlock(&executor->mutex);
    if (idle)
        (void)pthread_cond_signal(&worker->arrived); /* it can have the mutex at once */
}

bool executor_turn(struct executor *executor)
{
    struct worker *look = &executor->workers[JOB_LOOK];
    struct worker *decide = &executor->workers[JOB_DECIDE];
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    bool stores = false;
    bool more;

    if (!STAILQ_EMPTY(&look->fresh) && is_idle(look))
        looker_work(executor->looker, &look->fresh, &finished, STORE_AT_ONCE);
    if (!STAILQ_EMPTY(&decide->fresh) && is_idle(decide)) {
        writer_look(executor->writer, &decide->fresh, &finished, STORE_AT_ONCE);
        stores = writer_has_waiting(executor->writer);
    }
    hand_over(look, false);
    hand_over(decide, stores);
    hand_over(&executor->workers[JOB_SCAN], false);
    more = !STAILQ_EMPTY(&finished);
    call_done(&finished);
    return more;
}

void executor_end_export(struct executor *executor, struct job *job)
{
    struct worker *scan = &executor->workers[JOB_SCAN];

    if (!job->export)
        return;
    (void)pthread_mutex_lock(&executor->mutex);
    export_put(&executor->ended, job->export);
    (void)pthread_mutex_unlock(&executor->mutex);
    job->export = NULL;
    wake_up(scan);
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

static int start_thread(
    struct executor *executor, int kind, void *(*run)(void *), struct error *error)
{
    struct worker *worker = &executor->workers[kind];
    int code = pthread_create(&worker->thread, NULL, run, worker);

    worker->started = code == 0;
    return code == 0 ? 0
                     : error_set(error, ERROR_SYSTEM, "can't start a thread: %s", strerror(code));
}

static int start_threads(struct executor *executor, struct error *error)
{
    int result = start_thread(executor, JOB_LOOK, look_jobs, error);

    if (result == 0)
        result = start_thread(executor, JOB_SCAN, scan_jobs, error);
    if (result == 0 && executor->writer)
        result = start_thread(executor, JOB_DECIDE, write_jobs, error);
    if (result == 0 && executor->writer)
        result = start_thread(executor, KEEPER, keep_tidy, error);
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
    (void)pthread_mutex_init(&executor->mutex, NULL);
    STAILQ_INIT(&executor->finished);
    for (int kind = 0; kind < WORKERS; kind++) {
        executor->workers[kind].executor = executor;
        (void)pthread_cond_init(&executor->workers[kind].arrived, NULL);
        STAILQ_INIT(&executor->workers[kind].fresh);
        STAILQ_INIT(&executor->workers[kind].queue);
    }
    executor->odd_rows = odd_rows_create(options->log);
    code = executor->odd_rows ? open_stores(executor, error) : error_set_memory(error);
    if (code == 0)
        code = start_threads(executor, error);
    if (code != 0) {
        executor_free(executor);
        return code;
    }
    *result = executor;
    return 0;
}

static void stop_threads(struct executor *executor)
{
    for (int kind = 0; kind < WORKERS; kind++)
        hand_over(&executor->workers[kind], false);
    (void)pthread_mutex_lock(&executor->mutex);
    executor->stopping = true;
    for (int kind = 0; kind < WORKERS; kind++)
        (void)pthread_cond_signal(&executor->workers[kind].arrived);
    (void)pthread_mutex_unlock(&executor->mutex);
    for (int kind = 0; kind < WORKERS; kind++) {
        if (executor->workers[kind].started)
            (void)pthread_join(executor->workers[kind].thread, NULL);
        (void)pthread_cond_destroy(&executor->workers[kind].arrived);
    }
}

void executor_free(struct executor *executor)
{
    if (!executor)
        return;
    stop_threads(executor);
    executor_deliver(executor);
    export_free_all(&executor->ended);
    looker_free(executor->looker);
    store_close(executor->keeper);
    writer_free(executor->writer);
    odd_rows_free(executor->odd_rows);
    (void)pthread_mutex_destroy(&executor->mutex);
    free(executor);
}

/* SPDX-License-Identifier: MIT */
/* The first look-up in a package walks the few rows that it is about. Further ones, and what needs
 * a whole package, get it from a package cache of the reader's own. */
#include "exec/reader.h"

#include "base/clock.h"
#include "exec/decide.h"
#include "exec/long_reads.h"
#include "exec/package_cache.h"
#include "exec/retry.h"
#include "exec/rollback.h"
#include "revision/revision.h"

#include <stdlib.h>

#define SLICE_MS 20 /* the longest time before finished answers go out */
#define LOOP_MS 5   /* the same on the event loop; then the thread goes on */
#define CACHE_BYTES ((size_t)32 * 1024 * 1024)

struct reader {
    struct store *store;
    struct package_cache
        *cache; /* for get-pr and max-package-pr, and for test-pr that is asked again */
    struct job_list scanned;      /* jobs whose packages are being scanned; during reader_work */
    struct long_reads long_reads; /* used while the store is not: store_pause */
    struct outage long_outage;    /* of the long reads alone */
    struct invalid_rows *invalid_rows;
    struct log *log;
    struct outage outage;
    uint64_t next_try_ms;
    const struct store_options *options; /* borrowed */
    struct writer *writer;               /* borrowed; NULL: a read-only server, which only warns */
    struct store_rollback rollback;      /* as the writer knows it; during reader_work */
};

int reader_create(struct reader **created, const struct store_options *options,
    struct invalid_rows *invalid_rows, struct writer *writer, struct error *error)
{
    struct reader *reader = calloc(1, sizeof *reader);
    int result;

    *created = NULL;
    if (!reader)
        return error_set_memory(error);
    STAILQ_INIT(&reader->scanned);
    long_reads_init(&reader->long_reads, options, invalid_rows);
    reader->invalid_rows = invalid_rows;
    reader->writer = writer;
    reader->log = options->log;
    outage_init(&reader->outage, "Look-ups", options->patience_ms, options->log);
    outage_init(
        &reader->long_outage, "Look-ups in large packages", options->patience_ms, options->log);
    reader->options = options;
    result = store_open(&reader->store, options, STORE_READER, error);
    if (result == 0)
        result = store_begin_read(
            reader->store, NULL, STORE_BLOCK, error); /* fails if it can't be read */
    if (result == 0) {
        store_rollback(reader->store);
        reader->cache = package_cache_create(reader->store, CACHE_BYTES, invalid_rows);
    }
    if (result == 0 && !reader->cache)
        result = error_set_memory(error);
    if (result != 0) {
        reader_free(reader);
        return result;
    }
    *created = reader;
    return 0;
}

void reader_free(struct reader *reader)
{
    if (!reader)
        return;
    long_reads_deinit(&reader->long_reads);
    package_cache_free(reader->cache);
    store_close(reader->store);
    free(reader);
}

/* ---- one job ---- */

struct search {
    struct reader *reader;
    struct job *job;
    struct large_package_count count;
    bool is_long;
};

/* Keeps the smallest value (with history) or the greatest. */
static int reader_take_extreme(void *context, const struct row *row)
{
    struct search *search = context;
    char **best = &search->job->value;
    char *copy;
    int order;

    search->is_long = large_package_count_row(&search->count, &package_cache_whole, row);
    if (search->is_long)
        return 1;
    if (!invalid_rows_check(search->reader->invalid_rows, row))
        return 0;
    order = *best ? revision_compare(row->value.bytes, *best) : 0;
    if (*best && (search->job->request->history ? order >= 0 : order <= 0))
        return 0;
    copy = strndup(row->value.bytes, row->value.length);
    if (!copy)
        return search->job->result = error_set_memory(&search->job->error);
    free(*best);
    *best = copy;
    return 0;
}

static int reader_take_any(void *context, const struct row *row)
{
    struct search *search = context;

    search->job->found = invalid_rows_check(search->reader->invalid_rows, row);
    return search->job->found;
}

/* Answers what needs facts about the package. */
static int reader_read_package(struct reader *reader, struct package_cache *cache, struct job *job)
{
    struct package_question question;
    struct package_facts facts;
    int result;

    decide_ask(job, &question);
    result = package_cache_ask(cache, &question, &facts, &job->error);
    if (result != 0)
        return result;
    if (decide(job, &facts, reader->log))
        (void)rollback_refuses(&reader->rollback, job, reader->log);
    return job->result;
}

/* Answers test-pr. A checksum with very many values is found as a part of its package is. */
static int reader_look_up(struct reader *reader, struct job *job)
{
    const struct request *request = job->request;
    struct search search = {.reader = reader, .job = job};
    int result;

    if (store_loads_all(reader->store) &&
        package_cache_is_wanted(reader->cache, request->version, request->pkgarch))
        return reader_read_package(reader, reader->cache, job);
    result = store_look_up(reader->store, request->version, request->pkgarch, request->checksum,
        reader_take_extreme, &search, &job->error);

    if (result == 0 && search.is_long) {
        job_reset(job);
        return reader_read_package(reader, reader->cache, job);
    }
    return result == 0 ? job_hold_value(job) : result;
}

static int reader_answer_kind(struct reader *reader, struct job *job)
{
    const struct request *request = job->request;
    struct search search = {.reader = reader, .job = job};

    switch (request->kind) {
    case REQUEST_GET_PR:
    case REQUEST_MAX_PACKAGE_PR:
        return reader_read_package(reader, reader->cache, job);
    case REQUEST_TEST_PR:
        return reader_look_up(reader, job);
    case REQUEST_TEST_PACKAGE:
        return store_load(reader->store, request->version, request->pkgarch, reader_take_any,
            &search, &job->error);
    default:
        return error_set(
            &job->error, ERROR_INPUT, "%s is not a look-up", request_name(request->kind));
    }
}

/* Refuses to tell a server below what may be old: its new revisions would be too small. */
static int reader_check_standby(const struct reader *reader, struct job *job)
{
    const enum request_kind kind = job->request->kind;

    if (!store_is_stale(reader->options) || !job->is_for_server ||
        (kind != REQUEST_TEST_PR && kind != REQUEST_MAX_PACKAGE_PR))
        return 0;
    return error_set(&job->error, ERROR_STORE,
        "%s: this server reads from a standby, whose revisions may be old: name a server on the "
        "primary as the upstream, or start this one with --stale-ok",
        request_name(kind));
}

/* Sets what a job's answer came to. Returns 0; PACKAGE_IS_SCANNED or ERROR_LOCKED: it has none. */
static int reader_end_job(struct job *job, int result)
{
    if (result == ERROR_LOCKED || result == PACKAGE_IS_SCANNED) {
        job_reset(job);
        return result;
    }
    job->result = result ? result : job->result;
    return 0;
}

/* Answers a job. Returns 0; PACKAGE_IS_SCANNED or ERROR_LOCKED if that takes waiting. */
static int reader_answer(struct reader *reader, struct job *job)
{
    int result = job_check(reader->store, job);

    if (result == 0 && rollback_refuses_look_up(&reader->rollback, job, reader->log))
        return 0;
    if (result == 0)
        result = reader_check_standby(reader, job);
    if (result == 0)
        result = reader_answer_kind(reader, job);
    return reader_end_job(job, result);
}

/* Answers a job of the long reads. */
static int reader_answer_long(void *context, struct package_cache *cache, struct job *job)
{
    return reader_end_job(job, reader_read_package(context, cache, job));
}

/* ---- all jobs ---- */

/* Puts away a job that waits for the scan of its package. */
static void reader_put_scanned(struct reader *reader, struct job *job, enum store_blocking blocking)
{
    const struct request *request = job->request;

    if (blocking == STORE_BLOCK &&
        package_cache_is_restless(reader->cache, request->version, request->pkgarch))
        long_reads_add(&reader->long_reads, job);
    else
        STAILQ_INSERT_TAIL(&reader->scanned, job, entry);
}

/* Answers jobs until the slice of time has ended. Fails if the next one would have to wait; the
 * error is in it. */
static int reader_answer_all(struct reader *reader, struct job_list *arrived,
    struct job_list *finished, enum store_blocking blocking)
{
    uint64_t until_ms = clock_ms() + (blocking == STORE_NONBLOCK ? LOOP_MS : SLICE_MS);
    struct job *job;

    while ((job = STAILQ_FIRST(arrived))) {
        const int result = reader_answer(reader, job);

        if (result == ERROR_LOCKED)
            return result;
        STAILQ_REMOVE_HEAD(arrived, entry);
        if (result == 0)
            STAILQ_INSERT_TAIL(finished, job, entry);
        else
            reader_put_scanned(reader, job, blocking);
        if (clock_ms() >= until_ms)
            break;
    }
    return 0;
}

/* Lets jobs wait, or ends them with an error. */
static void reader_fail_jobs(struct outage *outage, struct job_list *arrived,
    struct job_list *finished, int result, const struct error *error)
{
    if (result == ERROR_LOCKED) {
        retry_note(outage, arrived, error);
        retry_expire(outage, arrived, finished);
        return;
    }
    job_fail_all(arrived, finished, result, error);
}

/* Scans a piece of a large package for which jobs wait, and puts those back. The error of a scan is
 * theirs; after ERROR_LOCKED they go on waiting. */
static void reader_scan(struct reader *reader, struct job_list *arrived, struct job_list *finished)
{
    struct error error;
    int result;

    if (STAILQ_EMPTY(&reader->scanned))
        return;
    result = package_cache_scan(reader->cache, &error);
    if (result != 0 && result != ERROR_LOCKED)
        job_fail_all(&reader->scanned, finished, result, &error);
    STAILQ_CONCAT(arrived, &reader->scanned);
}

/* Goes on with the long reads. If they fail, their jobs arrive again, or have their error. */
static void reader_read_long(
    struct reader *reader, struct job_list *arrived, struct job_list *finished)
{
    struct job_list failed = STAILQ_HEAD_INITIALIZER(failed);
    struct error error;
    const int result =
        long_reads_work(&reader->long_reads, finished, reader_answer_long, reader, &error);

    if (result == 0) {
        retry_end(&reader->long_outage);
        return;
    }
    reader->next_try_ms = retry_next_ms(clock_ms());
    long_reads_take_all(&reader->long_reads, &failed);
    reader_fail_jobs(&reader->long_outage, &failed, finished, result, &error);
    STAILQ_CONCAT(arrived, &failed);
}

bool reader_has_jobs(const struct reader *reader)
{
    return long_reads_any(&reader->long_reads);
}

void reader_take_back(struct reader *reader, struct job_list *arrived)
{
    long_reads_take_all(&reader->long_reads, arrived);
}

void reader_work(struct reader *reader, struct job_list *arrived, struct job_list *finished,
    enum store_blocking blocking)
{
    const struct store_batch batch = job_batch(arrived, &reader->outage);
    const uint64_t began_ms = clock_ms();
    struct error error;
    int result = store_begin_read(reader->store, &batch, blocking, &error);

    if (result == 0)
        result = package_cache_refresh(reader->cache, STORE_NONBLOCK, &error);
    if (reader->writer)
        writer_find_rollback(reader->writer, &reader->rollback);
    if (result == 0) {
        retry_end(&reader->outage);
        result = reader_answer_all(reader, arrived, finished, blocking);
        if (result != 0)
            error = STAILQ_FIRST(arrived)->error;
        if (result == 0 && blocking == STORE_BLOCK)
            reader_scan(reader, arrived, finished);
        STAILQ_CONCAT(arrived, &reader->scanned);
    }
    store_rollback(reader->store);
    package_cache_evict(reader->cache);
    if (result != 0 && blocking == STORE_BLOCK) {
        reader->next_try_ms = retry_next_ms(began_ms);
        long_reads_take_all(&reader->long_reads, arrived);
        reader_fail_jobs(&reader->outage, arrived, finished, result, &error);
    }
    if (result == 0 && blocking == STORE_BLOCK)
        reader_read_long(reader, arrived, finished);
}

void reader_give_up(struct reader *reader, struct job_list *arrived, struct job_list *finished)
{
    struct outage *outage = outage_is_on(&reader->outage) ? &reader->outage : &reader->long_outage;

    if (outage_is_on(outage))
        retry_give_up(outage, arrived, finished);
}

uint64_t reader_next_try_ms(const struct reader *reader)
{
    return reader->next_try_ms;
}

/* SPDX-License-Identifier: MIT */
#include "exec/long_reads.h"

#include "store/scan.h"

#define CACHE_BYTES ((size_t)4 * 1024 * 1024) /* large packages are kept as some answers */

void long_reads_init(struct long_reads *reads, const struct store_options *options,
    struct invalid_rows *invalid_rows)
{
    *reads = (struct long_reads){.options = options, .invalid_rows = invalid_rows};
    STAILQ_INIT(&reads->waiting);
    STAILQ_INIT(&reads->reading);
}

void long_reads_deinit(struct long_reads *reads)
{
    package_cache_free(reads->cache);
    store_close(reads->store);
}

void long_reads_add(struct long_reads *reads, struct job *job)
{
    STAILQ_INSERT_TAIL(&reads->waiting, job, entry);
}

static int long_reads_open(struct long_reads *reads, struct error *error)
{
    int result = reads->store ? 0 : store_open(&reads->store, reads->options, STORE_READER, error);

    if (result != 0 || reads->cache)
        return result;
    reads->cache = package_cache_create(reads->store, CACHE_BYTES, reads->invalid_rows);
    return reads->cache ? 0 : error_set_memory(error);
}

/* Begins a snapshot for the jobs that wait. */
static int long_reads_begin(struct long_reads *reads, struct error *error)
{
    int result = long_reads_open(reads, error);

    if (result == 0)
        result = store_begin_read(reads->store, NULL, STORE_BLOCK, error);
    if (result == 0)
        result = package_cache_refresh(reads->cache, STORE_NONBLOCK, error);
    if (result == 0)
        STAILQ_CONCAT(&reads->reading, &reads->waiting);
    return result;
}

static void long_reads_end(struct long_reads *reads)
{
    if (reads->store)
        store_rollback(reads->store);
    if (reads->cache)
        package_cache_evict(reads->cache);
}

/* Asks once for each job; those whose package is still being scanned stay. */
static int long_reads_answer(struct long_reads *reads, struct job_list *finished,
    long_reads_answer_fn answer, void *context, struct error *error)
{
    struct job_list asked = STAILQ_HEAD_INITIALIZER(asked);
    struct job *job;
    int result = 0;

    STAILQ_CONCAT(&asked, &reads->reading);
    while (result != ERROR_LOCKED && (job = STAILQ_FIRST(&asked))) {
        result = answer(context, reads->cache, job);
        if (result == ERROR_LOCKED) {
            *error = job->error;
            break;
        }
        STAILQ_REMOVE_HEAD(&asked, entry);
        STAILQ_INSERT_TAIL(result == 0 ? finished : &reads->reading, job, entry);
    }
    STAILQ_CONCAT(&reads->reading, &asked);
    return result == ERROR_LOCKED ? result : 0;
}

/* Goes on with the snapshot. If that is not possible any more, or there is none, begins another
 * one. */
static int long_reads_resume(struct long_reads *reads, struct error *error)
{
    if (!STAILQ_EMPTY(&reads->reading) && store_resume(reads->store, error) == 0)
        return 0;
    long_reads_end(reads);
    STAILQ_CONCAT(&reads->reading, &reads->waiting);
    STAILQ_CONCAT(&reads->waiting, &reads->reading);
    return long_reads_begin(reads, error);
}

int long_reads_work(struct long_reads *reads, struct job_list *finished,
    long_reads_answer_fn answer, void *context, struct error *error)
{
    int result;

    if (!long_reads_any(reads))
        return 0;
    result = long_reads_resume(reads, error);
    if (result == 0)
        result = long_reads_answer(reads, finished, answer, context, error);
    if (result == 0 && !STAILQ_EMPTY(&reads->reading))
        result = package_cache_scan(reads->cache, error);
    if (result != 0 || STAILQ_EMPTY(&reads->reading))
        long_reads_end(reads);
    else
        store_pause(reads->store);
    return result;
}

void long_reads_take_all(struct long_reads *reads, struct job_list *jobs)
{
    STAILQ_CONCAT(jobs, &reads->reading);
    STAILQ_CONCAT(jobs, &reads->waiting);
    long_reads_end(reads);
}

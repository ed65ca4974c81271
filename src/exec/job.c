/* SPDX-License-Identifier: MIT */
/* The parts of a job that writer, reader and session share: its value, its request as the
 * store sees it. Jobs are described one by one while the store walks a list: nothing is copied for
 * a store that does not walk it. */
#include "exec/job.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

#define FREE_BYTES 1024 /* only made-up revisions are longer than half of this */

size_t job_count(const struct job_list *jobs)
{
    const struct job *job;
    size_t n = 0;

    STAILQ_FOREACH (job, jobs, entry)
        n++;
    return n;
}

int job_hold_value(struct job *job)
{
    /* The answer is built in a buffer that doubles. */
    size_t bytes = job->value ? 2 * strlen(job->value) : 0;

    job_release_budget(job);
    if (!job->budget || bytes <= FREE_BYTES)
        return 0;
    if (budget_try(job->budget, bytes)) {
        job->budgeted = bytes;
        return 0;
    }
    free(job->value);
    job->value = NULL;
    return job->result = error_set(&job->error, ERROR_MEMORY,
               "the memory for requests and answers (%zu bytes) is used up, and this answer "
               "needs %zu; ask again later",
               job->budget->limit, bytes);
}

int job_set_value(struct job *job, const char *value)
{
    job->value = value ? strdup(value) : NULL;
    if (value && !job->value)
        return job->result = error_set_memory(&job->error);
    return job->result = job_hold_value(job);
}

void job_release_budget(struct job *job)
{
    if (job->budgeted > 0)
        budget_give(job->budget, job->budgeted);
    job->budgeted = 0;
}

void job_reset(struct job *job)
{
    job_release_budget(job);
    free(job->value);
    job->value = NULL;
    job->result = 0;
    job->is_logged = false;
    job->is_stored = job->is_return = false;
}

void job_fail_all(
    struct job_list *jobs, struct job_list *finished, int result, const struct error *error)
{
    struct job *job;

    STAILQ_FOREACH (job, jobs, entry) {
        job_reset(job);
        job->result = result;
        job->error = *error;
    }
    STAILQ_CONCAT(finished, jobs);
}

/* A greatest value and a test-package ask about the package alone. */
static struct text job_checksum(const struct request *request)
{
    if (request->kind == REQUEST_MAX_PACKAGE_PR || request->kind == REQUEST_TEST_PACKAGE)
        return (struct text){.bytes = NULL};
    return text_not_null(request->checksum);
}

static const void *job_describe(const void *at, struct store_item *item)
{
    const struct job *job = at;
    const struct request *request = job->request;
    const bool is_import = request->kind == REQUEST_IMPORT_ONE;

    *item = (struct store_item){
        .version = request->version,
        .pkgarch = request->pkgarch,
        .checksum = job_checksum(request),
        .wants_smallest = is_import || request->history,
        .wants_largest = is_import || !request->history,
        .value = job->uval && request->history ? text_of(job->uval) : (struct text){.bytes = NULL},
        .may_add = is_import || request->kind == REQUEST_GET_PR,
    };
    return STAILQ_NEXT(job, entry);
}

struct store_batch job_batch(const struct job_list *jobs, const struct outage *outage)
{
    struct store_batch batch = {
        .first = STAILQ_FIRST(jobs),
        .describe = job_describe,
        .until_ms = clock_ms() + STORE_TRY_MS,
    };
    const struct job *job;

    STAILQ_FOREACH (job, jobs, entry) {
        const uint64_t deadline_ms = outage_deadline_ms(outage, job->arrived_ms);

        batch.until_ms = deadline_ms < batch.until_ms ? deadline_ms : batch.until_ms;
    }
    return batch;
}

int job_check(struct store *store, struct job *job)
{
    const struct request *request = job->request;
    const struct text texts[] = {request->version, request->pkgarch, request->checksum};

    return job->result = store_check(store, texts, sizeof texts / sizeof *texts, &job->error);
}

#include "exec/job.h"

#include <stdlib.h>
#include <string.h>

#define FREE_BYTES 1024 /* revisions are shorter, but for those that somebody made up */

size_t job_count(const struct job_list *jobs)
{
    const struct job *job;
    size_t n = 0;

    STAILQ_FOREACH (job, jobs, link)
        n++;
    return n;
}

int job_hold_value(struct job *job)
{
    /* The answer is made of it in a buffer that doubles. */
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

void job_release_budget(struct job *job)
{
    if (job->budgeted > 0)
        budget_give(job->budget, job->budgeted);
    job->budgeted = 0;
}

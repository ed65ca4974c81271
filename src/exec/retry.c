/* SPDX-License-Identifier: MIT */
/* An outage that the log does not have yet may be over in a moment: until then no job is dropped.
 */
#include "exec/retry.h"

void retry_note(struct outage *outage, struct job_list *jobs, const struct error *error)
{
    const uint64_t now_ms = clock_ms();
    struct job *job;

    outage_continue(outage, now_ms, error->text); /* which may begin */
    STAILQ_FOREACH (job, jobs, entry) {
        job_reset(job);
        job->error = *error;
        if (job->counted_ms == outage->began_ms)
            continue;
        job->counted_ms = outage->began_ms;
        outage_add_waiting(outage, 1);
    }
}

/* Ends a job if it is not tried again. Returns whether that is so. */
static bool retry_end_job(struct outage *outage, struct job *job, uint64_t now_ms)
{
    if (now_ms >= outage_deadline_ms(outage, job->arrived_ms)) {
        job->result = outage_fail(outage, now_ms, ERROR_LOCKED, &job->error);
        job->is_logged = outage->is_reported;
        return true;
    }
    if (outage->is_reported && atomic_load(&job->is_cancelled)) {
        const struct error reason = job->error;

        outage_add_failed(outage, 1);
        job->is_logged = true;
        job->result = error_set(&job->error, ERROR_LOCKED,
            "the client has ended its input, so that its request no longer waits: %s", reason.text);
        return true;
    }
    return false;
}

void retry_expire(struct outage *outage, struct job_list *jobs, struct job_list *finished)
{
    const uint64_t now_ms = clock_ms();
    struct job_list kept = STAILQ_HEAD_INITIALIZER(kept);
    struct job *job;

    while ((job = STAILQ_FIRST(jobs))) {
        STAILQ_REMOVE_HEAD(jobs, entry);
        if (retry_end_job(outage, job, now_ms))
            STAILQ_INSERT_TAIL(finished, job, entry);
        else
            STAILQ_INSERT_TAIL(&kept, job, entry);
    }
    STAILQ_CONCAT(jobs, &kept);
}

void retry_give_up(const struct outage *outage, struct job_list *jobs, struct job_list *finished)
{
    struct job *job;

    STAILQ_FOREACH (job, jobs, entry) {
        const struct error last = job->error; /* of the last try; empty: there was none */
        const char *reason = last.text[0] != '\0' ? last.text : outage->reason;

        job->result =
            error_set(&job->error, ERROR_LOCKED, "the server is stopping and no longer waits%s%s",
                reason[0] != '\0' ? ": " : "", reason);
    }
    STAILQ_CONCAT(finished, jobs);
}

bool retry_any_waited(const struct outage *outage, const struct job_list *jobs)
{
    const struct job *job;

    if (!outage_is_on(outage))
        return false;
    STAILQ_FOREACH (job, jobs, entry) {
        if (job->counted_ms == outage->began_ms)
            return true;
    }
    return false;
}

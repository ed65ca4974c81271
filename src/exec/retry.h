/* SPDX-License-Identifier: MIT */
/* Jobs that wait because something is away (base/outage.h): which are tried again, and which get
 * their error now. Used by the writer, the reader and the scanner; each has an outage of its own.
 * One thread at a time. */
#ifndef PRSERVD_RETRY_H
#define PRSERVD_RETRY_H

#include "base/clock.h"
#include "base/outage.h"
#include "exec/job.h"

#include <stdbool.h>
#include <stdint.h>

#define RETRY_MS 20 /* from the begin of a try to the next, if it did not take longer */

/* Notes that a try of these jobs has failed with this error: forgets their answers, counts them as
 * waiting, and continues the outage. */
void retry_note(struct outage *outage, struct job_list *jobs, const struct error *error);

/* Moves to finished, with an error, the jobs that are not tried again: their patience has ended, or
 * their clients are gone. Call it after retry_note. */
void retry_expire(struct outage *outage, struct job_list *jobs, struct job_list *finished);

/* Moves all jobs to finished, with an error, because the server is stopping. */
void retry_give_up(const struct outage *outage, struct job_list *jobs, struct job_list *finished);

/* Returns whether one of the jobs has waited in this outage. */
bool retry_any_waited(const struct outage *outage, const struct job_list *jobs);

/* Ends the outage, if there is one. */
static inline void retry_end(struct outage *outage)
{
    if (outage_is_on(outage))
        outage_end(outage, clock_ms());
}

/* Returns when to try again after a try that began at began_ms. */
static inline uint64_t retry_next_ms(uint64_t began_ms)
{
    return began_ms + RETRY_MS;
}

#endif

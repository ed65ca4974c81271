/* SPDX-License-Identifier: MIT */
/* A report of the audit log (audit/report.h) as a job that makes its answer in pieces. Used by the
 * export thread. */
#ifndef PRSERVD_REPORT_JOB_H
#define PRSERVD_REPORT_JOB_H

#include "audit/report.h"
#include "exec/job.h"

#include <stdbool.h>

/* Makes the next piece of a job's answer: sets piece and more. The report of the job begins with
 * the first piece; the source is that of all reports. *is_away: the database is away, and the same
 * piece can be tried again. After any other error the report is over. */
ERROR_MUST_CHECK int report_job_make_piece(
    struct job *job, struct report_source *source, bool *is_away);

#endif

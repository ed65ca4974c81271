/* SPDX-License-Identifier: MIT */
#include "exec/report_job.h"

#include <limits.h>

#define MOST_SINCE_S (INT64_MAX / 1000000)

static unsigned report_job_limit(const struct request *request)
{
    int64_t limit = request->limit;

    if (limit < 0)
        limit = request->kind == REQUEST_GET_LOG ? REPORT_LOG_LIMIT : REPORT_CHURN_LIMIT;
    return limit < UINT_MAX ? (unsigned)limit : 0;
}

static int64_t report_job_since_us(const struct request *request)
{
    if (request->since <= 0)
        return 0;
    return request->since < MOST_SINCE_S ? request->since * 1000000 : INT64_MAX;
}

static struct report_query report_job_query(const struct job *job)
{
    const struct request *request = job->request;
    const bool is_log = request->kind == REQUEST_GET_LOG;
    struct report_query query = {
        .kind = is_log                             ? REPORT_LOG
                : request->kind == REQUEST_GET_WHY ? REPORT_WHY
                                                   : REPORT_CHURN,
        .version = request->version,
        .pkgarch = request->pkgarch,
        .since_us = report_job_since_us(request),
        .after = request->after,
        .limit = report_job_limit(request),
        .shows_peers = job->shows_peers,
    };

    if (is_log && query.version.length == 0)
        query.version.bytes = query.pkgarch.bytes = NULL;
    else if (is_log && query.pkgarch.length == 0)
        query.pkgarch.bytes = NULL;
    return query;
}

int report_job_make_piece(struct job *job, struct report_source *source, bool *is_away)
{
    const struct report_query query = report_job_query(job);
    const bool can_go_on = query.kind == REPORT_LOG; /* after each record */
    int result = 0;

    job->more = false;
    if (!job->report)
        result = report_begin(&job->report, source, &query, &job->error);
    if (result == 0)
        result = report_work(job->report, &job->piece, &job->more, &job->error);
    if (result == ERROR_LOCKED && can_go_on && job->piece.length > 0) {
        job->more = true;
        return 0;
    }
    *is_away = result == ERROR_LOCKED && job->piece.length == 0;
    return result;
}

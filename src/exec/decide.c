/* SPDX-License-Identifier: MIT */
/* The facts come from the package (package_facts.h) and from the job (the upstream's answers). */
#include "exec/decide.h"

#include <string.h>

static int decide_refuse(struct job *job)
{
    job->is_logged = job->is_upstream_logged;
    return error_set(&job->error, ERROR_UPSTREAM,
        "get-pr: %s; a new revision can't be given without knowing the upstream's",
        job->upstream_reason ? job->upstream_reason : "the upstream can't be asked");
}

static void decide_warn(const struct job *job, struct log *log)
{
    const struct request *request = job->request;

    log_often(log, LOG_WARNING,
        "%s; content that was published here before keeps revision %s: %.*s, %.*s",
        job->upstream_reason, job->value, (int)request->version.length, request->version.bytes,
        (int)request->pkgarch.length, request->pkgarch.bytes);
}

void decide_ask(const struct job *job, struct package_question *question)
{
    const struct request *request = job->request;
    const bool is_get = request->kind == REQUEST_GET_PR;

    *question = (struct package_question){
        .version = request->version,
        .pkgarch = request->pkgarch,
        .wants_greatest = is_get || request->kind == REQUEST_MAX_PACKAGE_PR,
        .smallest_is_enough = is_get && request->history,
    };
    if (request->kind != REQUEST_MAX_PACKAGE_PR)
        question->checksum = text_not_null(request->checksum);
    if (is_get && request->history && job->uval)
        question->value = text_of(job->uval);
}

static bool decide_get_pr(struct job *job, const struct package_facts *package, struct log *log)
{
    struct allocate_facts facts = {
        .lmax = package->greatest,
        .lval = job->request->history ? package->smallest : package->largest,
        .umax = job->umax,
        .uval = job->uval,
        .uval_held = package->is_held,
        .history = job->request->history,
        .upstream = job->upstream,
    };

    switch (allocate_revision(&facts, &job->value)) {
    case ALLOCATE_NEEDS_UPSTREAM:
        job->result = decide_refuse(job);
        return false;
    case ALLOCATE_NO_MEMORY:
        job->result = error_set_memory(&job->error);
        return false;
    case ALLOCATE_OK:
        break;
    }
    if (job_hold_value(job) != 0)
        return false;
    if (facts.upstream == UPSTREAM_UNKNOWN && !facts.history)
        decide_warn(job, log);
    return !facts.lval || strcmp(job->value, facts.lval) != 0;
}

static bool decide_import(const struct job *job, const struct package_facts *facts)
{
    const struct text value = job->request->value;

    return !facts->smallest ||
           (!text_is(value, facts->smallest) && !text_is(value, facts->largest));
}

bool decide(struct job *job, const struct package_facts *facts, struct log *log)
{
    job->result = 0;
    switch (job->request->kind) {
    case REQUEST_MAX_PACKAGE_PR:
        (void)job_set_value(job, facts->greatest);
        return false;
    case REQUEST_TEST_PR:
        (void)job_set_value(job, job->request->history ? facts->smallest : facts->largest);
        return false;
    case REQUEST_IMPORT_ONE:
        return decide_import(job, facts);
    default:
        return decide_get_pr(job, facts, log);
    }
}

void decide_row(const struct job *job, struct row *row)
{
    const struct request *request = job->request;

    *row = (struct row){
        .version = request->version,
        .pkgarch = request->pkgarch,
        .checksum = request->checksum,
        .value = request->kind == REQUEST_IMPORT_ONE ? request->value : text_of(job->value),
    };
}

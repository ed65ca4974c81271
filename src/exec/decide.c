#include "exec/decide.h"

#include "store/store.h"

#include <stdlib.h>
#include <string.h>

static int refuse(struct job *job)
{
    return error_set(&job->error, ERROR_UPSTREAM,
        "get-pr: %s; a new revision can't be given without knowing the upstream's",
        job->upstream_reason ? job->upstream_reason : "the upstream can't be asked");
}

static void warn(const struct job *job, struct log *log)
{
    const struct request *request = job->request;

    log_often(log, LOG_WARNING,
        "%s; content that was published here before keeps revision %s: %.*s, %.*s",
        job->upstream_reason, job->value, (int)request->version.length, request->version.bytes,
        (int)request->pkgarch.length, request->pkgarch.bytes);
}

static bool decide_get_pr(struct job *job, const struct package *package, struct log *log)
{
    const char *smallest;
    const char *largest;
    struct allocate_facts facts = {
        .lmax = package_greatest(package),
        .umax = job->umax,
        .uval = job->uval,
        .history = job->request->history,
        .upstream = job->upstream,
    };

    (void)package_find(package, job->request->checksum, &smallest, &largest);
    facts.lval = facts.history ? smallest : largest;
    facts.uval_held = facts.uval && package_holds(package, facts.uval);
    switch (allocate_revision(&facts, &job->value)) {
    case ALLOCATE_NEEDS_UPSTREAM:
        job->result = refuse(job);
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
        warn(job, log);
    return !facts.lval || strcmp(job->value, facts.lval) != 0;
}

static bool decide_import(const struct job *job, const struct package *package)
{
    const struct text value = job->request->value;
    const char *smallest;
    const char *largest;

    return !package_find(package, job->request->checksum, &smallest, &largest) ||
           (!text_is(value, smallest) && !text_is(value, largest));
}

bool decide(struct job *job, const struct package *package, struct log *log)
{
    job->result = 0;
    if (job->request->kind == REQUEST_IMPORT_ONE)
        return decide_import(job, package);
    return decide_get_pr(job, package, log);
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

void decide_again(struct job *job)
{
    job_release_budget(job);
    free(job->value);
    job->value = NULL;
    job->result = 0;
}

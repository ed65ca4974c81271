/* One thing to do with the database, from the loop to a thread and back.
 *
 * The loop fills a job and submits it (executor_submit); from then on it belongs to
 * the executor, until its done callback is called on the loop's thread. */
#ifndef PRSERVD_JOB_H
#define PRSERVD_JOB_H

#include "base/budget.h"
#include "base/buffer.h"
#include "base/error.h"
#include "revision/allocate.h"
#include "wire/request.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum job_kind {
    JOB_LOOK,   /* test-pr, test-package; where nothing may be stored the others too */
    JOB_DECIDE, /* what wants a whole package: get-pr, import-one, max-package-pr */
    JOB_SCAN,   /* what goes through all rows: a piece of an export, a count */
};

struct export;

struct job {
    enum job_kind kind;
    const struct request *request; /* borrowed until done */
    const void *client;            /* whose it is: only jobs of one client are in order */
    struct budget *budget;         /* borrowed; NULL: memory is not counted */

    /* get-pr: what the upstream said. The strings are borrowed until done. */
    enum upstream_knowledge upstream;
    const char *umax;
    const char *uval;
    const char *upstream_reason; /* UPSTREAM_UNKNOWN: why */

    /* what came of it */
    int result;         /* 0 or an error code; then error says why */
    struct error error; /* for the client */
    char *value;        /* get-pr, test-pr, max-package-pr: the job owner's (free); NULL: none */
    size_t budgeted;    /* what it takes of the budget, if it is long */
    bool found;         /* test-package */
    uint64_t rows;      /* get-stats: in the database */

    /* exports */
    struct export *export; /* between two pieces; executor_end_export gives it back */
    struct buffer piece;   /* the next piece of the answer; the owner empties it */
    bool more;             /* submit the job again for the next piece */

    void (*done)(struct job *job, void *context); /* on the loop's thread */
    void *context;

    uint64_t submitted_ms; /* monotonic; set by the executor */
    STAILQ_ENTRY(job) link;
};

STAILQ_HEAD(job_list, job);

size_t job_count(const struct job_list *jobs);

/* The value was set: takes a long one from the budget. Without room for it there it is
 * freed, and the job's result an error, which is returned. Any thread. */
ERROR_MUST_CHECK int job_hold_value(struct job *job);

/* Gives back what the value takes of the budget; the value may live on. */
void job_release_budget(struct job *job);

#endif

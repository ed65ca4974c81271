/* SPDX-License-Identifier: MIT */
/* One request's work for the database, from the event loop to a thread and back.
 *
 * The event loop fills a job and submits it (executor_submit); from then on it belongs to the
 * executor, until its done callback is called on the loop's thread. */
#ifndef PRSERVD_JOB_H
#define PRSERVD_JOB_H

#include "base/budget.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/outage.h"
#include "revision/allocate.h"
#include "store/store.h"
#include "wire/request.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum job_kind {
    JOB_LOOK,   /* test-pr, test-package; on a read-only server also get-pr and max-package-pr */
    JOB_DECIDE, /* get-pr, import-one, max-package-pr: needs a whole package */
    JOB_SCAN,   /* a piece of an export, or a count */
};

struct export_scan;

struct job {
    enum job_kind kind;
    bool is_for_server;            /* for a server below, which must not get old revisions */
    bool is_passed;                /* the answerer leaves it to the writer */
    atomic_bool is_cancelled;      /* its client is gone: it does not wait for what is away */
    const struct request *request; /* borrowed until done */
    const void *client;            /* its owner; only the jobs of one client are in order */
    struct budget *budget;         /* borrowed; NULL: memory is not counted */

    /* get-pr: the answers of the upstream. The strings are borrowed until done. */
    enum upstream_knowledge upstream;
    bool is_upstream_logged; /* the log counts upstream_reason in an outage */
    const char *umax;
    const char *uval;
    const char *upstream_reason; /* the reason for UPSTREAM_UNKNOWN */

    /* the answer */
    int result;         /* 0, or an error code; then error has the text */
    struct error error; /* for the client */
    bool is_logged;     /* the log has the error, or counts it in an outage */
    bool is_stored;     /* a row was added for it */
    bool is_return;     /* with is_stored: its checksum had another value before */
    bool found;         /* test-package */
    bool rows_estimated;
    char *value;     /* get-pr, test-pr, max-package-pr: the job owner's (free); NULL: none */
    size_t budgeted; /* the part of the budget that a long value takes */
    uint64_t rows;   /* get-stats: in the database */

    /* exports and reports */
    bool shows_peers;         /* a report of the audit log has them */
    bool more;                /* submit the job again for the next piece */
    bool is_long;             /* the next piece takes reading a long package, which takes long */
    struct report *report;    /* what is kept between two pieces; executor_end_export frees it */
    struct export_scan *scan; /* likewise, of an export */
    size_t piece_bytes;       /* the most that the next piece may have: the owner has taken it from
                                 the budget */
    struct buffer piece;      /* the next piece of the answer; the owner empties it. May be empty */
    size_t wanted_bytes;      /* the next piece needs this much, for a long row; 0: it does not */

    void (*done)(struct job *job, void *context); /* on the loop's thread */
    void *context;

    uint64_t arrived_ms; /* when the request arrived (clock_ms): its patience begins */
    uint64_t counted_ms; /* begin of the outage that last counted it as waiting */
    STAILQ_ENTRY(job) entry;
};

STAILQ_HEAD(job_list, job);

/* Counts the jobs of a list, by walking it. */
size_t job_count(const struct job_list *jobs);

/* Takes a long value from the budget, after it was set. If the budget has no room, frees the value,
 * sets the job's result and error, and returns the result. Any thread. */
ERROR_MUST_CHECK int job_hold_value(struct job *job);

/* Sets the value to a copy of a string (NULL: none), as job_hold_value does. Sets and returns the
 * job's result. */
int job_set_value(struct job *job, const char *value);

/* Gives back what the value takes of the budget; the value may live on. */
void job_release_budget(struct job *job);

/* Forgets the answer, so that the job can be decided again. */
void job_reset(struct job *job);

/* Moves all jobs of a list to finished, with an error. */
void job_fail_all(
    struct job_list *jobs, struct job_list *finished, int result, const struct error *error);

/* Returns a list of jobs as a batch of the store, which has to be done when the first of them has
 * waited long enough in this outage. Borrows the jobs until the transaction has begun, and their
 * requests until it ends. */
struct store_batch job_batch(const struct job_list *jobs, const struct outage *outage);

/* Checks whether the database can hold the texts of a job's request. If not, sets the job's result
 * and error, and returns the result. */
ERROR_MUST_CHECK int job_check(struct store *store, struct job *job);

#endif

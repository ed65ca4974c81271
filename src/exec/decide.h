/* SPDX-License-Identifier: MIT */
/* Decides a request from the facts about its package: applies the rules (allocate.h). */
#ifndef PRSERVD_DECIDE_H
#define PRSERVD_DECIDE_H

#include "base/log.h"
#include "exec/job.h"
#include "exec/package_facts.h"
#include "store/store.h"

/* Sets question to what has to be known of the package to decide a job. Its texts are the request's
 * and the job's. */
void decide_ask(const struct job *job, struct package_question *question);

/* Answers a get-pr, import-one, max-package-pr or test-pr: sets the job's result, error and value.
 * Returns true if the answer holds only once the row of decide_row has been stored. */
bool decide(struct job *job, const struct package_facts *facts, struct log *log);

/* Sets row to the row that carries the answer. Its texts are the request's and the job's. */
void decide_row(const struct job *job, struct row *row);

#endif

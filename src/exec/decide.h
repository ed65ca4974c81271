/* From a request and a package to an answer: gathers the facts, asks the rules. */
#ifndef PRSERVD_DECIDE_H
#define PRSERVD_DECIDE_H

#include "base/log.h"
#include "exec/job.h"
#include "exec/package.h"

/* Answers a get-pr or import-one: job->result, error and value are set. Returns
 * true if the answer holds only once the row (checksum, value) has been stored. */
bool decide(struct job *job, const struct package *package, struct log *log);

/* The row that carries the answer. */
struct row;
void decide_row(const struct job *job, struct row *row);

/* Forgets the answer, so that the job can be decided again. */
void decide_again(struct job *job);

#endif

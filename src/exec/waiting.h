/* Jobs that wait for the database's lock, in the order of their clients, and the packages they are
 * about. The writer's; one thread at a time. */
#ifndef PRSERVD_WAITING_H
#define PRSERVD_WAITING_H

#include "base/buffer.h"
#include "exec/job.h"

struct busy_package;

struct waiting {
    struct job_list jobs;
    struct busy_package *busy; /* packages, by client */
    struct buffer key;
};

void waiting_init(struct waiting *waiting);

/* Forgets the packages; the jobs are not its own. */
void waiting_free(struct waiting *waiting);

/* Has the client of this job an earlier one about the same package that waited, since there were
 * none? Then this one has to wait, too. */
ERROR_MUST_CHECK int waiting_is_behind(struct waiting *waiting, struct job *job, bool *is_behind);

/* Lets it wait, undecided. After an error the job is not on the list. */
ERROR_MUST_CHECK int waiting_add(struct waiting *waiting, struct job *job);

/* Lets go of the packages, if no job waits any longer. */
void waiting_tidy(struct waiting *waiting);

#endif

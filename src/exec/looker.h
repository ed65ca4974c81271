/* Answers from a snapshot: look-ups, and get-pr where nothing may be stored.
 *
 * Used by one thread at a time. */
#ifndef PRSERVD_LOOKER_H
#define PRSERVD_LOOKER_H

#include "base/error.h"
#include "base/log.h"
#include "exec/job.h"
#include "exec/odd_rows.h"
#include "store/store.h"

struct looker;

/* odd_rows and log are borrowed. Takes the store over, also when it fails. Fails
 * with ERROR_MEMORY. */
ERROR_MUST_CHECK int looker_create(struct looker **looker, struct store *store,
    struct odd_rows *odd_rows, struct log *log, struct error *error);
void looker_free(struct looker *looker);

/* Answers jobs of arrived, from one snapshot, and moves them to finished; leaves the rest
 * when it has taken long, with STORE_AT_ONCE also what can't be answered at once. */
void looker_work(struct looker *looker, struct job_list *arrived, struct job_list *finished,
    enum store_patience patience);

#endif

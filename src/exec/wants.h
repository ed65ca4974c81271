/* What jobs will ask a database that is far away (store.h), gathered before the transaction. */
#ifndef PRSERVD_WANTS_H
#define PRSERVD_WANTS_H

#include "base/error.h"
#include "exec/job.h"
#include "store/store.h"

struct wants {
    struct store_want *items;
    size_t capacity;
    struct store_wants list;
};

/* Tells the store what these jobs want. Does nothing if it is not far. Jobs that it can't hold get
 * an error and are moved to finished. Borrowed by the store until its transaction ends. */
ERROR_MUST_CHECK int wants_gather(struct wants *wants, struct store *store, struct job_list *jobs,
    struct job_list *finished, struct error *error);
void wants_free(struct wants *wants);

/* How long a job waits for a database that is locked, or away. */
unsigned wants_patience_ms(const struct store *store);

/* Has it waited so long? */
bool wants_is_over(const struct store *store, const struct job *job);

#endif

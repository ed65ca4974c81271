/* Brings all rows of one database to another, which may have some of them already. One thread. */
#ifndef PRSERV_MIGRATION_H
#define PRSERV_MIGRATION_H

#include "cli/progress.h"
#include "cli/row_batch.h"
#include "cli/row_sum.h"

#define MIGRATION_NAME_BYTES 256

struct migration_place {
    const char *file;                /* borrowed */
    char name[MIGRATION_NAME_BYTES]; /* what people are shown instead */
    struct store *store;             /* the caller opens and closes it */
    struct row_sum sum;              /* of the rows of from, as they are here */
};

struct migration {
    struct migration_place from;
    struct migration_place to;
    bool keep_going; /* rows that to can't hold are left out */

    /* What came of it. */
    uint64_t n_refused; /* were left out */
    uint64_t others;    /* in to, but not in from */
    bool knows_others;

    struct digest *digester; /* the caller's */
    struct row_batch batch;  /* row_batch_free */
    struct progress progress;
    uint64_t total; /* rows of from; 0: unknown */
    uint64_t seen;
    bool adds_first; /* nothing was left behind from here on */
};

/* A database that is away or locked is tried again for half a minute. Says on standard error what
 * goes wrong; returns an enum cli_status. What was stored stays. */
int migration_run(struct migration *migration);

#endif

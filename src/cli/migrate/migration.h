/* SPDX-License-Identifier: MIT */
/* Copies all rows of one database to another, which may already have some of them. One thread. */
#ifndef PRSERV_MIGRATION_H
#define PRSERV_MIGRATION_H

#include "cli/migrate/row_sum.h"
#include "cli/progress.h"
#include "cli/row_batch.h"

#define MIGRATION_NAME_BYTES 256

struct migration_database {
    const char *file;                /* borrowed */
    char name[MIGRATION_NAME_BYTES]; /* name for messages, without a password */
    struct store *store;             /* opened and closed by the caller */
    struct row_sum sum;              /* sum of the copied rows, as this database has them */
};

struct migration {
    struct migration_database from;
    struct migration_database to;
    bool keep_going; /* leave out rows that TO can't hold, instead of stopping */

    /* the result */
    uint64_t n_refused; /* rows left out */
    uint64_t others;    /* rows that only TO has */
    bool knows_others;  /* others is valid */

    /* used by migration_run */
    struct digest *digester;
    struct row_batch batch;
    struct progress progress;
    uint64_t total;  /* number of rows in FROM; 0: unknown */
    uint64_t seen;   /* number of rows read so far */
    bool adds_first; /* add a batch without looking for it: earlier runs did not get this far */
};

/* Copies the rows. Retries for half a minute if a database is unreachable or locked. Reports
 * failures on standard error and returns an enum cli_status; stored rows stay. */
int migration_run(struct migration *migration);

#endif

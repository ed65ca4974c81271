/* SPDX-License-Identifier: MIT */
/* Makes the pieces of all exports and reports, and knows the number of rows. A package that
 * is longer than a piece is read on a second connection, one at a time, and a little between two
 * pieces of other exports. While the database is away, exports wait, and so do those who ask for
 * the number before it is known; one try is made for all of them. Used by the export thread. */
#ifndef PRSERVD_SCANNER_H
#define PRSERVD_SCANNER_H

#include "audit/report.h"
#include "exec/invalid_rows.h"
#include "exec/job.h"
#include "exec/row_count.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct scanner {
    const struct store_options *options;
    struct invalid_rows *invalid_rows;
    struct outage outage;
    struct job_list waiting; /* for a piece or the count */
    struct job_list reading; /* long packages: the first one is being read, the others wait */
    bool is_reading;         /* a transaction of packages is open for it */
    bool is_readers_turn;
    struct row_count count;
    struct store *pieces; /* the connections; NULL while they are not open */
    struct store *packages;
    struct report_source *reports; /* NULL while it is not needed */
    uint64_t next_try_ms;
};

/* What the scanner is given is borrowed. */
void scanner_init(struct scanner *scanner, const struct store_options *options,
    struct invalid_rows *invalid_rows);

/* Sets the writer of this server (borrowed), whose rows are counted as they are stored. */
static inline void scanner_set_writer(struct scanner *scanner, struct writer *writer)
{
    scanner->count.writer = writer;
}

void scanner_deinit(struct scanner *scanner);

/* Moves the jobs from arrived to the scanner; those who ask for the number of rows when it is
 * known, to finished. */
void scanner_take(struct scanner *scanner, struct job_list *arrived, struct job_list *finished);

/* Works on one job for some milliseconds: makes a piece, reads on in a long package, or counts. If
 * that has finished the job, moves it to finished. Returns whether to call this again now; if not,
 * the database is away, or no job is left. */
bool scanner_work(struct scanner *scanner, struct job_list *finished);

/* Counts the rows again if somebody has asked for an old count. To be called after those who asked
 * have their answer. */
void scanner_refresh_count(struct scanner *scanner);

/* Returns whether the scanner has jobs. */
bool scanner_has_jobs(const struct scanner *scanner);

/* Returns when to try again (clock_ms). */
uint64_t scanner_next_try_ms(const struct scanner *scanner);

/* Ends all jobs with an error, because the server is stopping. */
void scanner_give_up(struct scanner *scanner, struct job_list *finished);

#endif

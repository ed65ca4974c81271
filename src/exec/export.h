/* An export in pieces: a scan with a snapshot and a connection of its own.
 *
 * Used by the executor's export thread; what it keeps does not grow with the rows
 * (without history: with the rows that share a package's greatest value). */
#ifndef PRSERVD_EXPORT_H
#define PRSERVD_EXPORT_H

#include "exec/job.h"
#include "exec/odd_rows.h"
#include "store/store.h"

struct export;

/* Makes the next piece of job's answer: job->piece, more, and result are set. The
 * first piece opens the scan. odd_rows is borrowed as long as the export lives. */
void export_work(struct job *job, const struct store_options *options, struct odd_rows *odd_rows);

/* Ends a scan, finished or not. NULL is allowed. Any thread, but not during export_work. */
void export_free(struct export *export);

/* A list of exports that wait to be freed: adds one. */
void export_put(struct export **list, struct export *export);

/* Frees all of them. */
void export_free_all(struct export **list);

#endif

/* SPDX-License-Identifier: MIT */
/* The audit log of a server that stores rows: who got which revision, and when (doc/audit.md).
 *
 * The event loop notes what was answered, in memory; a thread writes it about a second later. So
 * the audit log neither delays nor fails an answer. What the thread can't write in time (a lock, a
 * full disk) waits in memory; beyond a limit it is dropped and counted. A crash loses the last
 * seconds. */
#ifndef PRSERVD_AUDIT_H
#define PRSERVD_AUDIT_H

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "store/audit_store.h"

#include <stdbool.h>
#include <stdint.h>

#define AUDIT_DEFAULT_KEEP_DAYS 400

struct audit;

struct audit_options {
    const char *file;   /* the database, as in struct store_options; copied */
    unsigned keep_days; /* older records are removed */
    struct log *log;    /* borrowed */
};

/* Starts the thread. *audit is the caller's (audit_stop). Fails with ERROR_MEMORY, ERROR_SYSTEM,
 * ERROR_STORE. */
ERROR_MUST_CHECK int audit_start(
    struct audit **audit, const struct audit_options *options, struct error *error);

/* Writes what is noted, if it can be written at once, and ends the thread. NULL is allowed. */
void audit_stop(struct audit *audit);

/* ---- the loop's thread ---- */

/* Notes a row that was stored; id and time_us are ignored. */
void audit_note_revision(struct audit *audit, const struct audit_revision *revision);

/* Notes a get-pr that has stored no row: the record of a row says that it was asked for. */
void audit_note_use(
    struct audit *audit, struct text version, struct text pkgarch, struct text checksum);

/* Hands over to the thread what was noted. About once a second. */
void audit_tick(struct audit *audit);

/* ---- any thread ---- */

/* Returns how many records, and requests for known content, were dropped since the start. */
uint64_t audit_dropped(const struct audit *audit);

/* Returns whether the audit log can't be written at the moment, and why. On any thread. */
bool audit_find_failure(struct audit *audit, struct error *failure);

#endif

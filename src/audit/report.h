/* SPDX-License-Identifier: MIT */
/* Reports: what the audit log and the rows of the database say, as JSON (doc/protocol.md describes
 * it under get-log, get-why and get-churn).
 *
 * Any thread may read reports, with a source of its own: its connections are not those that answer
 * requests. A source serves one report at a time. Reports are made in pieces, and nothing is locked
 * between two pieces. There need not be an audit log: then a report has what the rows say.
 *
 *     struct report_source *source;
 *     struct report *report;
 *     bool more = true;
 *
 *     result = report_source_create(&source, &store_options, &error);
 *     result = report_begin(&report, source, &query, &error);
 *     while (result == 0 && more)
 *         result = report_work(report, &text, &more, &error);
 *     report_free(report);
 *     report_source_free(source); */
#ifndef PRSERVD_REPORT_H
#define PRSERVD_REPORT_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct report_source;
struct report;

enum report_kind { REPORT_LOG, REPORT_WHY, REPORT_CHURN };

struct report_query {
    enum report_kind kind;
    struct text version; /* log: bytes NULL: all; borrowed until report_begin returns */
    struct text pkgarch; /* likewise */
    int64_t since_us;    /* log, churn: since 1970; 0: all; not with after */
    int64_t after;       /* log: records behind this id, the oldest first; -1: the newest first */
    unsigned limit;      /* log, churn: 0: all; churn: at most REPORT_CHURN_MOST */
    bool shows_peers;    /* peers, rights and annotations are not left out */
};

#define REPORT_LOG_LIMIT 100  /* the usual limits */
#define REPORT_CHURN_LIMIT 20 /* of each list */
#define REPORT_CHURN_MOST 10000
#define REPORT_WHY_ROWS 20000 /* the greatest revisions of a package; smaller ones are left out */

/* Makes a source. It connects when it is used. The options are those of a reader (store_open); they
 * are copied, and what they point to is borrowed. *source is the caller's. Fails with ERROR_MEMORY,
 * ERROR_STORE. */
ERROR_MUST_CHECK int report_source_create(
    struct report_source **source, const struct store_options *options, struct error *error);

/* NULL is allowed. */
void report_source_free(struct report_source *source);

/* Begins a report. *report is the caller's (report_free), and borrows the source. Fails with
 * ERROR_LOCKED if the database is away: the source is still connecting, and the same can be tried
 * again soon. Fails with ERROR_STORE, ERROR_MEMORY; the source stays usable. */
ERROR_MUST_CHECK int report_begin(struct report **report, struct report_source *source,
    const struct report_query *query, struct error *error);

#define REPORT_PIECE_BYTES ((size_t)128 * 1024)
#define REPORT_PIECE_MS 50

/* Appends the next piece of the report, about so large, and made in about that time. *more: there
 * is another one. After an error only report_free may be called. */
ERROR_MUST_CHECK int report_work(
    struct report *report, struct buffer *out, bool *more, struct error *error);

/* Returns the memory that a report keeps, in bytes. NULL is allowed. */
size_t report_bytes(const struct report *report);

/* NULL is allowed. */
void report_free(struct report *report);

#endif

/* SPDX-License-Identifier: MIT */
/* The parts of a report that its files share. Only they include this. */
#ifndef PRSERVD_REPORT_PARTS_H
#define PRSERVD_REPORT_PARTS_H

#include "audit/report.h"
#include "store/audit_store.h"

struct report_source {
    struct store_options options;
    struct store *store;       /* NULL: not open */
    struct audit_store *audit; /* opened when it is used */
};

struct why;

struct report {
    struct report_source *source;
    struct report_query query; /* its texts are owned */
    char *owned;               /* the bytes of the texts */
    int64_t at;                /* log: the id of the last record that was written; 0: none */
    unsigned n;                /* records that were written */
    bool has_begun;            /* the beginning was written */
    bool is_first;             /* nothing was written to the list */
    struct buffer *out;        /* during report_work */
    struct why *why;
};

/* ---- report_json.c: members of objects ---- */

/* Append ,"name":… with a text, a time (0: null), a number. */
void report_write_text(struct buffer *out, const char *name, struct text text);
void report_write_time(struct buffer *out, const char *name, int64_t time_us);
void report_write_number(struct buffer *out, const char *name, uint64_t number);

/* Appends who asked, if it is known. */
void report_write_source(
    struct buffer *out, struct text peer, struct text rights, struct text annotations);

/* ---- report_why.c ---- */

/* Reads all that is known of the package. Fails as report_begin. */
ERROR_MUST_CHECK int why_create(struct why **why, struct report *report, struct error *error);
void why_free(struct why *why);
size_t why_bytes(const struct why *why);

/* Appends a piece; returns whether there is another one. */
bool why_write(struct why *why, struct report *report);

#endif

/* SPDX-License-Identifier: MIT */
/* What a verification has found: the first of each kind in words, the others as a number. */
#ifndef PRSERV_FINDINGS_H
#define PRSERV_FINDINGS_H

#include "base/buffer.h"
#include "base/row.h"

#include <stdbool.h>
#include <stdint.h>

/* In the order in which they are printed. */
enum finding_kind {
    FINDING_DAMAGE,       /* SQLite's integrity check, reading, or PostgreSQL's hashes say so */
    FINDING_SCHEMA,       /* a table is missing or has another shape */
    FINDING_INVALID_ROW,  /* a row whose value is not a revision */
    FINDING_SHARED_VALUE, /* a value that two contents of a package have */
    FINDING_OLD_ROW,      /* a row of an old table that PRMAIN lacks */
    FINDING_MARK,         /* the database went back to an older state, or was replaced */
    FINDING_KINDS
};

struct findings {
    bool json;
    uint64_t rows;                  /* number of rows that were checked */
    bool is_checked[FINDING_KINDS]; /* whether there was a check of this kind */
    uint64_t counts[FINDING_KINDS];
    struct buffer named[FINDING_KINDS]; /* lines, or elements of a JSON list */
};

/* Adds a finding, about a row unless row is NULL. Adding it makes its kind a checked one. */
__attribute__((format(printf, 4, 5))) void findings_add(struct findings *findings,
    enum finding_kind kind, const struct row *row, const char *format, ...);

/* Returns the number of findings. */
uint64_t findings_count(const struct findings *findings);

/* Prints the findings in a database. Returns false if memory ran out, and then prints nothing. */
bool findings_print(const struct findings *findings, const char *database);

void findings_deinit(struct findings *findings);

#endif

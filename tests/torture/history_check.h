/* SPDX-License-Identifier: MIT */
/* Shared by the modules of the checker: struct checker holds what it has found so far. */
#ifndef PRSERVD_HISTORY_CHECK_H
#define PRSERVD_HISTORY_CHECK_H

#include "history.h"

#define NOBODY UINT32_MAX /* in place of an operation's number */
#define NO_PROMISE 0

/* The rank of a value (0: none), and an operation that proves it. */
struct seen {
    uint32_t rank;
    uint32_t by;
};

/* One checksum of the package in one database. */
struct content {
    uint64_t asked;    /* time of its first request, or HISTORY_NEVER */
    struct seen first; /* value with history */
    struct seen smallest, largest;
    struct seen before;          /* greatest value of the package at its first request */
    struct seen before_upstream; /* likewise, in the upstream */
    struct seen before_floor;    /* greatest floor at its first request */
};

/* The owner of a value in one package and database; members are valid if their mark is the group's.
 */
struct owner {
    uint32_t mark;
    uint32_t checksum;
    uint32_t by;
    uint32_t stored_mark;       /* a row of the owner has it at the end */
    uint32_t any_mark;          /* any row has it at the end */
    uint32_t floor_mark;        /* a floor with this value was asked for */
    uint32_t stored_floor_mark; /* a floor has it at the end */
};

/* A package in one database. */
struct group {
    const uint32_t *sent; /* its operations, by time of sending */
    uint32_t *answered;   /* those that prove a row, by time of the answer */
    size_t n_sent;
    size_t n_answered;
    struct content *contents;
    uint64_t asked; /* time of the first request */
};

struct checker {
    const struct history *history;
    const struct history_rules *rules;
    history_says_fn says;
    void *context;
    size_t n_broken;
    uint32_t *ranks;    /* by value */
    uint32_t *by_rank;  /* values */
    uint32_t *order;    /* operations by package, database, time */
    uint32_t *answered; /* space for those of the groups */
    struct owner *owners;
    struct content *contents; /* of the package, by database and checksum */
    size_t n_contents;        /* of one database */
    size_t most_contents;     /* capacity */
    uint32_t mark;            /* of the group */
    uint32_t *pending;        /* sent earlier and not answered yet */
    size_t n_pending;
    struct group groups[HISTORY_MOST_DATABASES];
};

/* ---- history_show.c ---- */

const struct history_operation *checker_at(const struct checker *checker, uint32_t number);
uint32_t checker_rank(const struct checker *checker, const struct history_operation *operation);
struct content *checker_content(
    const struct checker *checker, const struct history_operation *operation);

/* Tell whether the operation is a row at the end, whether it has a checksum, whether that is
 * another program's, and whether it would store a row of the checksum. */
bool operation_is_stored(const struct history_operation *operation);
bool operation_has_checksum(const struct history_operation *operation);
bool operation_is_foreign(const struct history_operation *operation);
bool operation_stores(const struct history_operation *operation);

/* Tell whether the answer proves a row of the checksum, or of the package. */
bool operation_shows_row(const struct history_operation *operation);
bool operation_shows_package(const struct history_operation *operation);

void seen_keep_greater(struct seen *greatest, uint32_t rank, uint32_t by);
void seen_keep_smaller(struct seen *smallest, uint32_t rank, uint32_t by);

/* Reports a broken promise, by its number in doc/semantics.md, or another fault of an answer. `by`
 * is the operation that contradicts it, or NOBODY. */
void checker_complain(struct checker *checker, unsigned promise,
    const struct history_operation *operation, const char *what, uint32_t by);

/* ---- history_order.c ---- */

/* Checks the operations in the order of sending; upstream is NULL or the upstream's group. */
void checker_look_in_order(struct checker *checker, struct group *group, struct group *upstream);

#endif

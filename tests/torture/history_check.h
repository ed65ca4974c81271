/* The checker of histories from inside: what its rooms share. It reads operations, and writes
 * down what it finds on the way in a struct checker. */
#ifndef PRSERVD_TEST_HISTORY_CHECK_H
#define PRSERVD_TEST_HISTORY_CHECK_H

#include "history.h"

#define NOBODY UINT32_MAX /* instead of the number of an operation */
#define NO_PROMISE 0

/* A value's rank (0: none), and an operation that shows it. */
struct seen {
    uint32_t rank;
    uint32_t by;
};

/* One checksum of the package, in one database. */
struct content {
    uint64_t asked;    /* when somebody first asked for a value of it; HISTORY_NEVER */
    struct seen first; /* its value with history */
    struct seen smallest, largest;
    struct seen before;          /* the greatest of all values when it was first asked for */
    struct seen before_upstream; /* likewise, the upstream's */
};

/* Whose a value is, in one package and database: true for marks of the same number. */
struct owner {
    uint32_t mark;
    uint32_t checksum;
    uint32_t by;
    uint32_t stored_mark; /* a row of the owner's holds it in the end */
    uint32_t any_mark;    /* any row does */
};

/* A package in a database. */
struct group {
    const uint32_t *sent; /* its operations, in this order */
    uint32_t *answered;   /* those that show a row, in that order */
    size_t n_sent;
    size_t n_answered;
    struct content *contents;
    uint64_t asked; /* when somebody first asked for any value */
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
    uint32_t *answered; /* room for the groups' */
    struct owner *owners;
    struct content *contents; /* of the package, by database and checksum */
    size_t n_contents;        /* of one database */
    size_t most_contents;     /* that there is room for */
    uint32_t mark;            /* of the group */
    uint32_t *pending;        /* sent before, not answered then */
    size_t n_pending;
    struct group groups[HISTORY_MOST_DATABASES];
};

/* ---- history_show.c ---- */

const struct history_operation *checker_at(const struct checker *checker, uint32_t number);
uint32_t checker_rank(const struct checker *checker, const struct history_operation *operation);
struct content *checker_content(
    const struct checker *checker, const struct history_operation *operation);

/* Has it a checksum at all? Is that the other program's? Would it store a row? */
bool operation_has_checksum(const struct history_operation *operation);
bool operation_is_foreign(const struct history_operation *operation);
bool operation_stores(const struct history_operation *operation);

/* Its answer says that the checksum has this value; that the package has one. */
bool operation_shows_row(const struct history_operation *operation);
bool operation_shows_package(const struct history_operation *operation);

void seen_keep_greater(struct seen *greatest, uint32_t rank, uint32_t by);
void seen_keep_smaller(struct seen *smallest, uint32_t rank, uint32_t by);

/* Tells of a broken promise, by its number in doc/semantics.md, or of another fault of the answer.
 * by: the operation that the first one is at odds with, or NOBODY. */
void checker_complain(struct checker *checker, unsigned promise,
    const struct history_operation *operation, const char *what, uint32_t by);

/* ---- history_order.c ---- */

/* upstream: the group of the database above, or NULL. */
void checker_look_in_order(struct checker *checker, struct group *group, struct group *upstream);

#endif

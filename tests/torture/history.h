/* What clients asked and were told, and when: a history; and which promises of
 * doc/semantics.md it breaks.
 *
 * Times are ticks of one counter for all clients. A request that was answered before another
 * was sent comes before it, and so does a get-pr that was sent earlier on the same connection;
 * otherwise their order is open. A request without an answer (the connection broke, an error
 * came) may have been carried out, at any time from then on, or not.
 *
 * Pure: no sockets, no clock. One thread. Without memory it aborts. */
#ifndef PRSERVD_TEST_HISTORY_H
#define PRSERVD_TEST_HISTORY_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_NEVER UINT64_MAX
#define HISTORY_MOST_DATABASES 8

/* Marks the number of a checksum that another program than prservd gives values to. */
#define HISTORY_FOREIGN 0x80000000U

enum history_kind {
    HISTORY_GET_PR,
    HISTORY_TEST_PR,
    HISTORY_MAX_PACKAGE_PR,
    HISTORY_TEST_PACKAGE,
    HISTORY_FOREIGN_ROW, /* the other program stored a row: sent before, answered after */
    HISTORY_STORED,      /* a row that is there in the end; without times */
};

struct history_operation {
    uint64_t sent;
    uint64_t answered;   /* HISTORY_NEVER: the outcome is not known */
    uint32_t connection; /* each has another number; with a new one, after a loss */
    uint32_t package;    /* numbers from 0; they should be close together */
    uint32_t checksum;   /* of the package, likewise, apart from HISTORY_FOREIGN */
    uint32_t value;      /* of history_value; 0: none (null) */
    uint8_t kind;        /* of enum history_kind */
    uint8_t database;    /* which one the server serves */
    uint8_t server;      /* for the sentences */
    bool history;        /* get-pr, test-pr */
    bool read_only;      /* the server is */
    bool found;          /* the answer of test-package */
};

struct history;

struct history *history_create(void);
void history_free(struct history *history);

/* The number of a revision, or of what an answer has in its place. */
uint32_t history_value(struct history *history, struct text revision);

/* The revision of a number that is not 0; borrowed as long as the history lives. */
const char *history_revision(const struct history *history, uint32_t value);

bool history_is_revision(const struct history *history, uint32_t value);

/* Adds an operation (copied), in any order; returns its number. */
size_t history_add(struct history *history, const struct history_operation *operation);

/* Borrowed until the next one is added. */
struct history_operation *history_at(const struct history *history, size_t number);

size_t history_length(const struct history *history);
size_t history_values(const struct history *history); /* the greatest number in use */

struct history_rules {
    unsigned n_databases;
    int upstream_of[HISTORY_MOST_DATABASES]; /* a smaller number; -1: none */
    bool upstreams_fail;                     /* there were times when one could not be asked */
    bool is_complete;                        /* every row that is there in the end was added */
};

/* Called for each broken promise, with a sentence that is borrowed. */
typedef void (*history_says_fn)(void *context, const char *sentence);

/* Returns how many times a promise is broken, or an answer is no revision; that of such an
 * operation is taken away. */
size_t history_check(struct history *history, const struct history_rules *rules,
    history_says_fn says, void *context);

#endif

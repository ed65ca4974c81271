/* SPDX-License-Identifier: MIT */
/* A history: requests and answers of clients, with their times. The checker finds out which
 * promises of doc/semantics.md it breaks.
 *
 * Times are ticks of one counter for all clients. A request that was answered before another
 * was sent comes before it, and so does a get-pr that was sent earlier on the same connection;
 * otherwise their order is open. A request without an answer (the connection broke, an error
 * came) may have been carried out, at any time from then on, or not.
 *
 * No sockets, no clock, one thread. If memory runs out, it aborts. */
#ifndef PRSERVD_HISTORY_H
#define PRSERVD_HISTORY_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_NEVER UINT64_MAX
#define HISTORY_MOST_DATABASES 8

/* Marks the number of a checksum of another program than prservd. */
#define HISTORY_FOREIGN 0x80000000U

enum history_kind {
    HISTORY_GET_PR,
    HISTORY_TEST_PR,
    HISTORY_MAX_PACKAGE_PR,
    HISTORY_TEST_PACKAGE,
    HISTORY_FOREIGN_ROW, /* a row of the other program: `sent` before, `answered` after the
                            insertion */
    HISTORY_FLOOR,       /* an import-one of a floor; has a value also without an answer */
    HISTORY_STORED,      /* a row at the end of the round; without times */
    HISTORY_STORED_FLOOR /* likewise, a floor */
};

struct history_operation {
    uint64_t sent;
    uint64_t answered;   /* HISTORY_NEVER: the outcome is unknown */
    uint32_t connection; /* each connection has its own number */
    uint32_t package;    /* numbers from 0, without large gaps */
    uint32_t checksum;   /* likewise, within the package; may have HISTORY_FOREIGN; not of floors */
    uint32_t value;      /* from history_value; 0: null */
    uint8_t kind;        /* of enum history_kind */
    uint8_t database;    /* that the server serves */
    uint8_t server;      /* for complaints */
    bool history;        /* of get-pr and test-pr */
    bool read_only;      /* a read-only server */
    bool found;          /* the answer of test-package */
};

struct history;

struct history *history_create(void);
void history_free(struct history *history);

/* Returns the number of a revision, or of other text in its place. */
uint32_t history_value(struct history *history, struct text revision);

/* Returns the revision of a number other than 0; valid as long as the history. */
const char *history_revision(const struct history *history, uint32_t value);

bool history_is_revision(const struct history *history, uint32_t value);

/* Adds a copy of an operation, in any order; returns its number. */
size_t history_add(struct history *history, const struct history_operation *operation);

/* Returns an operation; valid until the next one is added. */
struct history_operation *history_at(const struct history *history, size_t number);

size_t history_length(const struct history *history);
size_t history_values(const struct history *history); /* the greatest number in use */

struct history_rules {
    unsigned n_databases;
    int upstream_of[HISTORY_MOST_DATABASES]; /* a smaller number, or -1 */
    bool upstreams_fail;                     /* upstreams may have been unreachable */
    bool is_complete;                        /* all rows of the end were added */
};

/* Called for each broken promise, with a sentence that is valid during the call. */
typedef void (*history_says_fn)(void *context, const char *sentence);

/* Returns the number of broken promises and of answers that are not revisions. Removes the latter
 * from the history. */
size_t history_check(struct history *history, const struct history_rules *rules,
    history_says_fn says, void *context);

#endif

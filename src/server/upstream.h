/* The server above this one, and what it has: one pipelined connection.
 *
 * Every question is answered or refused: at once where the upstream can't be
 * reached, after UPSTREAM_ANSWER_MS where it is silent. While it is down it is tried
 * again in the background. On the loop's thread. */
#ifndef PRSERVD_UPSTREAM_H
#define PRSERVD_UPSTREAM_H

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#define UPSTREAM_CONNECT_MS 4000 /* to resolve and connect */
#define UPSTREAM_ANSWER_MS 10000 /* from asking to the answer, a new connection included */

struct upstream;

/* Questions that are the same share what was answered. */
struct upstream_values {
    unsigned holders;
    char *umax;
    char *uval;
};

/* What is asked about one request. The asker owns it, and keeps it until done. */
struct upstream_question {
    struct text version; /* borrowed until done */
    struct text pkgarch;
    struct text checksum;
    bool history;

    int result;                     /* 0, or ERROR_UPSTREAM and why */
    struct error error;             /* names the upstream */
    const char *umax;               /* greatest value of the package; NULL: none; until released */
    const char *uval;               /* the checksum's value, likewise */
    struct upstream_values *values; /* NULL: nothing was answered */

    void (*done)(struct upstream_question *question, void *context);
    void *context;
    STAILQ_ENTRY(upstream_question) link;
};

/* *upstream is the caller's. Connects only when something is asked. */
ERROR_MUST_CHECK int upstream_create(struct upstream **upstream, uv_loop_t *loop,
    const struct address *address, struct log *log, struct error *error);

/* Asks. done is called later, not before this returns. */
void upstream_ask(struct upstream *upstream, struct upstream_question *question);

/* Gives back what was answered. */
void upstream_release(struct upstream_question *question);

/* At the end of each turn of the loop: sends what was asked in it, together, and
 * calls done for what is refused. Returns true if it called done. */
bool upstream_turn(struct upstream *upstream);

struct histogram;

struct upstream_stats {
    const char *address; /* borrowed, like the others, as long as the upstream lives */
    const char *state;
    uint64_t questions;
    uint64_t errors;
    const struct histogram *round_trip_us;
};

void upstream_stats(const struct upstream *upstream, struct upstream_stats *stats);

/* Refuses what is asked now and from now on, with this reason. */
void upstream_refuse(struct upstream *upstream, const char *reason);

/* When nothing is asked any more: closes its handles; the loop has to run on until
 * they are closed, and the memory goes with them. NULL is allowed. */
void upstream_close(struct upstream *upstream);

#endif

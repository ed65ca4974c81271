/* SPDX-License-Identifier: MIT */
/* An outage: something that requests need is away (the upstream, the database, a lock), and they
 * wait for it. Says until when each may wait, and reports the outage in the log.
 *
 * Patience counts from the start of the outage, not from each request: a client that asks again
 * every 30 s hears the error, too. The rule is in doc/semantics.md, "Patience". Times are those of
 * clock_ms. Not safe for several threads. */
#ifndef PRSERVD_OUTAGE_H
#define PRSERVD_OUTAGE_H

#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

#define OUTAGE_DEFAULT_PATIENCE_S 90
#define OUTAGE_LATE_MS 5000    /* the wait of a request that comes after the patience has ended */
#define OUTAGE_REPORT_MS 1000  /* shorter outages are not reported: locks are often held */
#define OUTAGE_REMIND_MS 60000 /* between two lines about an outage that goes on */
#define OUTAGE_FORGET_MS 60000 /* without a try, nobody knows whether it is still the same one */

struct outage {
    const char *waiting; /* what waits, for the log: "Look-ups"; borrowed */
    struct log *log;     /* borrowed */
    unsigned patience_ms;
    uint64_t began_ms;    /* 0: there is none */
    uint64_t tried_ms;    /* the last failed try */
    uint64_t n_waited;    /* requests that waited; counted by outage_add_waiting */
    uint64_t n_failed;    /* requests that got an error; counted by outage_add_failed */
    uint64_t reminded_ms; /* when the log last told of it */
    bool is_reported;
    char reason[256]; /* the last one */
};

/* Makes an outage that has not begun. */
void outage_init(struct outage *outage, const char *waiting, unsigned patience_ms, struct log *log);

/* Notes at now_ms that what is needed is away, and why. Writes a warning once this has lasted for
 * OUTAGE_REPORT_MS and requests wait, and every OUTAGE_REMIND_MS. Call it after each failed try.
 * The first one after OUTAGE_FORGET_MS begins another outage. */
void outage_continue(struct outage *outage, uint64_t now_ms, const char *reason);

/* Notes that what was needed is back. Writes how long the outage was and what became of the
 * requests, if its begin was reported. Does nothing if there was no outage. */
void outage_end(struct outage *outage, uint64_t now_ms);

/* Counts requests that begin to wait. */
static inline void outage_add_waiting(struct outage *outage, uint64_t n)
{
    outage->n_waited += n;
}

/* Counts requests that got an error because of the outage. */
static inline void outage_add_failed(struct outage *outage, uint64_t n)
{
    outage->n_failed += n;
}

/* Returns whether something is away. */
static inline bool outage_is_on(const struct outage *outage)
{
    return outage->began_ms != 0;
}

/* Describes the error of a request that waits no longer: adds how long the outage has lasted to the
 * reason that error holds. Counts the request as failed. The caller logs the error, unless
 * is_reported: then the lines of the outage count it. Returns result. */
int outage_fail(struct outage *outage, uint64_t now_ms, int result, struct error *error);

/* Returns until when a request that arrived at arrived_ms may wait; it has one patience for all
 * that it waits for. A time that is not in the future: it gets its error now. */
uint64_t outage_deadline_ms(const struct outage *outage, uint64_t arrived_ms);

#endif

/* SPDX-License-Identifier: MIT */
/* The requests that prserv-bench sends.
 *
 * Requests are copied from templates; only the package's number and the checksum are filled in.
 * Package names and checksums are computed from the seed. One thread at a time. */
#ifndef PRSERV_WORK_H
#define PRSERV_WORK_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum bench_kind {
    BENCH_PING,  /* ping */
    BENCH_TEST,  /* test-pr of known content */
    BENCH_KNOWN, /* get-pr of known content: nothing is stored */
    BENCH_NEW,   /* get-pr of new content: each request stores a row */
    BENCH_MIX,   /* get-pr as builds send them, in the shares below */
    BENCH_KINDS,
};

/* Shares of the mix in percent, as in the help. */
#define BENCH_MIX_KNOWN 55         /* known content of a recipe */
#define BENCH_MIX_NEW 30           /* new content of a recipe */
#define BENCH_MIX_AUTOINC_KNOWN 10 /* latest source revision of an AUTOINC package */
#define BENCH_MIX_AUTOINC_NEW 5    /* new source revision of an AUTOINC package */
#define BENCH_MIX_AUTOINC_PART 20  /* one package in 20 is an AUTOINC package */

#define BENCH_MAX_PACKAGES 10000000u
#define BENCH_MAX_CHECKSUMS 10000000u
#define BENCH_SEED_LIMIT (1ull << 48)

/* The kinds, by enum bench_kind. */
extern const struct bench_kind_traits {
    const char *name; /* on the command line */
    const char *description;
    unsigned checksums; /* default number that a package holds before the measurement */
} bench_kinds[BENCH_KINDS];

struct bench_plan {
    enum bench_kind kind;
    unsigned packages;  /* 1 to BENCH_MAX_PACKAGES; at least 2 for the mix */
    unsigned checksums; /* number stored beforehand for each package; mix: each AUTOINC package */
    uint64_t seed;      /* below BENCH_SEED_LIMIT */
    bool history;
};

/* Numbers of requests. */
struct bench_counts {
    uint64_t ping;
    uint64_t test_pr;
    uint64_t get_known;
    uint64_t get_new;
    uint64_t import_one;
};

struct bench_work;

/* *work is the caller's (bench_work_free). Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int bench_work_create(
    struct bench_work **work, const struct bench_plan *plan, struct error *error);
void bench_work_free(struct bench_work *work);

/* Returns the number of requests that store the known content before the measurement. */
uint64_t bench_work_preparations(const struct bench_work *work);

/* Appends the next of these requests with its line end; to be called at most that often. */
void bench_work_prepare(void *work, struct buffer *out);

/* Appends the next request to measure with its line end. The supply is endless. */
void bench_work_next(void *work, struct buffer *out);

/* Returns the numbers of requests since the last call. */
struct bench_counts bench_work_take_counts(struct bench_work *work);

#endif

/* Which request prserv bench sends next.
 *
 * Requests are copied from lines that were made beforehand; only the package's number and
 * the checksum are filled in. Package names and checksums follow from the seed: another
 * seed, other content. One thread at a time. */
#ifndef PRSERV_BENCH_WORK_H
#define PRSERV_BENCH_WORK_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum bench_kind {
    BENCH_PING,  /* ping */
    BENCH_TEST,  /* test-pr of known content */
    BENCH_KNOWN, /* get-pr of known content: nothing is stored */
    BENCH_NEW,   /* get-pr of new content: each is stored */
    BENCH_MIX,   /* get-pr as a build sends them, in the shares below */
    BENCH_KINDS,
};

/* The mix: percent of the requests, as the help says. AUTOINC packages are one in twenty. */
#define BENCH_MIX_KNOWN 55         /* a recipe whose content is known */
#define BENCH_MIX_NEW 30           /* a recipe whose content is new */
#define BENCH_MIX_AUTOINC_KNOWN 10 /* an AUTOINC package, its last source revision */
#define BENCH_MIX_AUTOINC_NEW 5    /* an AUTOINC package, a new source revision */
#define BENCH_MIX_AUTOINC_PART 20

#define BENCH_MOST_PACKAGES 10000000u
#define BENCH_MOST_CHECKSUMS 10000000u
#define BENCH_SEED_LIMIT (1ull << 48)

/* The name on the command line; NULL for BENCH_KINDS. */
const char *bench_kind_name(enum bench_kind kind);

/* How many checksums a package holds before the measurement, if nobody says. */
unsigned bench_kind_checksums(enum bench_kind kind);

struct bench_plan {
    enum bench_kind kind;
    unsigned packages;  /* 1 to BENCH_MOST_PACKAGES; the mix takes at least 2 */
    unsigned checksums; /* stored beforehand in each package; mix: in each AUTOINC package */
    uint64_t seed;      /* less than BENCH_SEED_LIMIT */
    bool history;
};

/* What was handed out. */
struct bench_counts {
    uint64_t ping;
    uint64_t test_pr;
    uint64_t get_known;
    uint64_t get_new;
    uint64_t import_one;
};

struct bench_work;

/* *work is the caller's: bench_work_free. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int bench_work_new(
    struct bench_work **work, const struct bench_plan *plan, struct error *error);
void bench_work_free(struct bench_work *work);

/* How many requests the content that has to be known beforehand takes. */
uint64_t bench_work_preparations(const struct bench_work *work);

/* Appends the next of them, with its line end; at most that many. */
void bench_work_prepare(void *work, struct buffer *out);

/* Appends the next request that is measured, with its line end. There is always one. */
void bench_work_next(void *work, struct buffer *out);

const struct bench_counts *bench_work_counts(const struct bench_work *work);

#endif

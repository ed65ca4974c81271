/* SPDX-License-Identifier: MIT */
/* A package is a number, from which its architecture and its kind (recipe or AUTOINC) follow. A
 * checksum is its number within the package. held[] counts the checksums that a package holds: the
 * last one belongs to its greatest revision, the next one is new. */
#include "bench/work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARCHITECTURES 3
#define PACKAGE_DIGITS 8
#define CHECKSUM_DIGITS 64 /* a unihash */
#define REVISION_DIGITS 40 /* a source revision */

/* The request as BitBake writes it. */
#define ALIVE_LINE "{\"ping\": {}}\n"

enum line { LINE_TEST, LINE_GET, LINE_IMPORT, LINES };

/* A request without package and checksum. An import also lacks its value and the rest. */
struct request_template {
    char bytes[320];
    size_t length;
    size_t package_at;
    size_t checksum_at;
    unsigned checksum_digits;
};

struct bench_work {
    struct bench_plan plan;
    struct request_template templates[LINES][2][ARCHITECTURES]; /* [1]: AUTOINC */
    char pairs[256][2];                                         /* each byte in hexadecimal */
    unsigned recipes;      /* number of recipes; packages from this number on are AUTOINC */
    uint32_t *held;        /* number of checksums by package */
    uint64_t random;       /* state of the generator */
    unsigned next_package; /* for new content, round-robin */
    unsigned prepare_package;
    unsigned prepare_checksum;
    struct bench_counts counts;
};

const struct bench_kind_traits bench_kinds[BENCH_KINDS] = {
    [BENCH_PING] = {"ping", "ping", 0},
    [BENCH_TEST] = {"test", "test: test-pr of known content", 1},
    [BENCH_KNOWN] = {"known", "known: get-pr of known content; nothing is stored", 1},
    [BENCH_NEW] = {"new", "new: get-pr of new content; each request stores a row", 0},
    [BENCH_MIX] = {"mix", "mix: get-pr as builds send them (prserv-bench --help lists the shares)",
        50},
};

/* ---- random numbers and digits ---- */

/* splitmix64's output function. */
static uint64_t bench_work_scramble(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
}

/* Returns a random number from 0 to limit - 1. */
static unsigned bench_work_pick(struct bench_work *work, unsigned limit)
{
    work->random += 0x9e3779b97f4a7c15ull;
    return (unsigned)(((bench_work_scramble(work->random) >> 32) * limit) >> 32);
}

static void bench_work_write_digits(
    const struct bench_work *work, char *at, uint64_t value, unsigned digits)
{
    for (unsigned i = digits / 2; i-- > 0; value >>= 8)
        memcpy(at + (size_t)i * 2, work->pairs[value & 0xff], 2);
}

static void bench_work_write_checksum(
    const struct bench_work *work, char *at, unsigned digits, unsigned package, unsigned checksum)
{
    uint64_t state = bench_work_scramble(work->plan.seed) ^ ((uint64_t)package << 32 | checksum);

    for (unsigned done = 0; done < digits; done += 16) {
        unsigned count = digits - done < 16 ? digits - done : 16;

        state = bench_work_scramble(state + 0x9e3779b97f4a7c15ull);
        bench_work_write_digits(work, at + done, state, count);
    }
}

/* ---- templates ---- */

static void bench_work_make_template(
    struct bench_work *work, enum line line, bool autoinc, unsigned architecture)
{
    static const char *const requests[LINES] = {"test-pr", "get-pr", "import-one"};
    static const char *const architectures[ARCHITECTURES] = {"core2-64", "qemux86_64", "all"};
    struct request_template *made = &work->templates[line][autoinc][architecture];
    unsigned digits = autoinc ? REVISION_DIGITS : CHECKSUM_DIGITS;
    const char *tail = line == LINE_IMPORT  ? "\", \"value\": \""
                       : work->plan.history ? "\", \"history\": true}}\n"
                                            : "\", \"history\": false}}\n";
    int length = snprintf(made->bytes, sizeof made->bytes,
        "{\"%s\": {\"version\": \"%sbench-%012" PRIx64 "-", requests[line],
        autoinc ? "AUTOINC-" : "", work->plan.seed);

    made->package_at = (size_t)length;
    length += snprintf(made->bytes + length, sizeof made->bytes - (size_t)length,
        "%0*d-1.0%s\", \"pkgarch\": \"%s\", \"checksum\": \"", PACKAGE_DIGITS, 0,
        autoinc ? "" : "-r0", architectures[architecture]);
    made->checksum_at = (size_t)length;
    made->checksum_digits = digits;
    length += snprintf(
        made->bytes + length, sizeof made->bytes - (size_t)length, "%0*d%s", (int)digits, 0, tail);
    made->length = (size_t)length;
}

static void bench_work_make_templates(struct bench_work *work)
{
    for (int line = 0; line < LINES; line++) {
        for (unsigned architecture = 0; architecture < ARCHITECTURES; architecture++) {
            bench_work_make_template(work, (enum line)line, false, architecture);
            bench_work_make_template(work, (enum line)line, true, architecture);
        }
    }
}

/* Returns the index of the package's architecture. Of ten packages, six are for the processor, two
 * for the machine and two for all. */
static unsigned bench_work_architecture_of(unsigned package)
{
    unsigned part = package % 10;

    return part < 6 ? 0 : part < 8 ? 1 : 2;
}

static void bench_work_write_line(struct bench_work *work, struct buffer *out, enum line line,
    unsigned package, unsigned checksum)
{
    const struct request_template *from =
        &work->templates[line][package >= work->recipes][bench_work_architecture_of(package)];
    size_t at = out->length;

    buffer_append(out, from->bytes, from->length);
    if (buffer_failed(out))
        return;
    bench_work_write_digits(work, out->bytes + at + from->package_at, package, PACKAGE_DIGITS);
    bench_work_write_checksum(
        work, out->bytes + at + from->checksum_at, from->checksum_digits, package, checksum);
}

/* ---- requests before the measurement ---- */

static unsigned bench_work_initial_checksums(const struct bench_work *work, unsigned package)
{
    return work->plan.kind == BENCH_MIX && package < work->recipes ? 1 : work->plan.checksums;
}

uint64_t bench_work_preparations(const struct bench_work *work)
{
    uint64_t autoinc = work->plan.packages - work->recipes;

    if (work->plan.kind == BENCH_PING)
        return 0;
    return (uint64_t)work->recipes * bench_work_initial_checksums(work, 0) +
           autoinc * work->plan.checksums;
}

/* import-one names the revision of each checksum, so their order does not matter. */
void bench_work_prepare(void *context, struct buffer *out)
{
    struct bench_work *work = context;
    char value[24];

    while (work->prepare_checksum >= bench_work_initial_checksums(work, work->prepare_package)) {
        work->prepare_checksum = 0;
        work->prepare_package = (work->prepare_package + 1) % work->plan.packages;
    }
    bench_work_write_line(work, out, LINE_IMPORT, work->prepare_package, work->prepare_checksum);
    (void)snprintf(value, sizeof value, "%u\"}}\n", work->prepare_checksum);
    buffer_append_string(out, value);
    work->prepare_checksum++;
    work->counts.import_one++;
}

/* ---- requests to measure ---- */

static void bench_work_write_known(
    struct bench_work *work, struct buffer *out, enum line line, unsigned package)
{
    unsigned held = work->held[package];
    bool any = line == LINE_TEST || work->plan.history;

    if (line == LINE_TEST)
        work->counts.test_pr++;
    else
        work->counts.get_known++;
    bench_work_write_line(work, out, line, package, any ? bench_work_pick(work, held) : held - 1);
}

static void bench_work_write_new(struct bench_work *work, struct buffer *out, unsigned package)
{
    work->counts.get_new++;
    bench_work_write_line(work, out, LINE_GET, package, work->held[package]++);
}

static void bench_work_write_mixed(struct bench_work *work, struct buffer *out)
{
    unsigned share = bench_work_pick(work, 100);
    unsigned recipe = bench_work_pick(work, work->recipes);
    unsigned autoinc = work->recipes + bench_work_pick(work, work->plan.packages - work->recipes);

    if (share < BENCH_MIX_KNOWN)
        bench_work_write_known(work, out, LINE_GET, recipe);
    else if (share < BENCH_MIX_KNOWN + BENCH_MIX_NEW)
        bench_work_write_new(work, out, recipe);
    else if (share < BENCH_MIX_KNOWN + BENCH_MIX_NEW + BENCH_MIX_AUTOINC_KNOWN)
        bench_work_write_known(work, out, LINE_GET, autoinc);
    else
        bench_work_write_new(work, out, autoinc);
}

void bench_work_next(void *context, struct buffer *out)
{
    struct bench_work *work = context;

    switch (work->plan.kind) {
    case BENCH_TEST:
        bench_work_write_known(work, out, LINE_TEST, bench_work_pick(work, work->plan.packages));
        break;
    case BENCH_KNOWN:
        bench_work_write_known(work, out, LINE_GET, bench_work_pick(work, work->plan.packages));
        break;
    case BENCH_NEW:
        bench_work_write_new(work, out, work->next_package);
        work->next_package = (work->next_package + 1) % work->plan.packages;
        break;
    case BENCH_MIX:
        bench_work_write_mixed(work, out);
        break;
    default:
        work->counts.ping++;
        buffer_append(out, ALIVE_LINE, sizeof ALIVE_LINE - 1);
    }
}

struct bench_counts bench_work_take_counts(struct bench_work *work)
{
    const struct bench_counts counts = work->counts;

    work->counts = (struct bench_counts){.ping = 0};
    return counts;
}

/* ---- creating and freeing ---- */

int bench_work_create(struct bench_work **made, const struct bench_plan *plan, struct error *error)
{
    struct bench_work *work = calloc(1, sizeof *work);
    unsigned autoinc = plan->packages / BENCH_MIX_AUTOINC_PART;

    *made = NULL;
    if (!work)
        return error_set_memory(error);
    work->held = calloc(plan->packages, sizeof *work->held);
    if (!work->held) {
        free(work);
        return error_set_memory(error);
    }
    work->plan = *plan;
    work->random = bench_work_scramble(plan->seed);
    work->recipes = plan->packages;
    if (plan->kind == BENCH_MIX)
        work->recipes -= autoinc > 0 ? autoinc : 1;
    for (unsigned byte = 0; byte < 256; byte++) {
        work->pairs[byte][0] = "0123456789abcdef"[byte >> 4];
        work->pairs[byte][1] = "0123456789abcdef"[byte & 15];
    }
    for (unsigned package = 0; package < plan->packages; package++)
        work->held[package] = bench_work_initial_checksums(work, package);
    bench_work_make_templates(work);
    *made = work;
    return 0;
}

void bench_work_free(struct bench_work *work)
{
    if (!work)
        return;
    free(work->held);
    free(work);
}

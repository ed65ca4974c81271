/* A package is a number; whether it is an AUTOINC package, and its architecture, follow
 * from it. A checksum is the number it has in its package. held[] is how many a package
 * holds so far, so the last one is its greatest revision's, and the next one is new. */
#include "cli/bench_work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARCHITECTURES 3
#define PACKAGE_DIGITS 8
#define CHECKSUM_DIGITS 64 /* a unihash */
#define REVISION_DIGITS 40 /* a source revision */

/* As BitBake writes them. */
#define ALIVE_LINE "{\"ping\": {}}\n"

enum line { LINE_TEST, LINE_GET, LINE_IMPORT, LINES };

/* A request but for package and checksum. An import also lacks what follows its value. */
struct template
{
    char bytes[320];
    size_t length;
    size_t package_at;
    size_t checksum_at;
    unsigned checksum_digits;
};

struct bench_work {
    struct bench_plan plan;
    struct template templates[LINES][2][ARCHITECTURES]; /* [1]: AUTOINC */
    char pairs[256][2];                                 /* each byte in hexadecimal */
    unsigned recipes;                                   /* packages from here on are AUTOINC */
    uint32_t *held;
    uint64_t random;
    unsigned next_package; /* new content goes round */
    unsigned prepare_package;
    unsigned prepare_checksum;
    struct bench_counts counts;
};

const char *bench_kind_name(enum bench_kind kind)
{
    static const char *const names[] = {"ping", "test", "known", "new", "mix"};

    return kind < BENCH_KINDS ? names[kind] : NULL;
}

unsigned bench_kind_checksums(enum bench_kind kind)
{
    switch (kind) {
    case BENCH_TEST:
    case BENCH_KNOWN:
        return 1;
    case BENCH_MIX:
        return 50;
    default:
        return 0;
    }
}

/* ---- random numbers and digits ---- */

/* splitmix64's output function. */
static uint64_t scramble(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
}

/* 0 to limit - 1. */
static unsigned pick(struct bench_work *work, unsigned limit)
{
    work->random += 0x9e3779b97f4a7c15ull;
    return (unsigned)(((scramble(work->random) >> 32) * limit) >> 32);
}

static void write_digits(const struct bench_work *work, char *at, uint64_t value, unsigned digits)
{
    for (unsigned i = digits / 2; i-- > 0; value >>= 8)
        memcpy(at + (size_t)i * 2, work->pairs[value & 0xff], 2);
}

static void write_checksum(
    const struct bench_work *work, char *at, unsigned digits, unsigned package, unsigned checksum)
{
    uint64_t state = scramble(work->plan.seed) ^ ((uint64_t)package << 32 | checksum);

    for (unsigned done = 0; done < digits; done += 16) {
        unsigned count = digits - done < 16 ? digits - done : 16;

        state = scramble(state + 0x9e3779b97f4a7c15ull);
        write_digits(work, at + done, state, count);
    }
}

/* ---- templates ---- */

static void make_template(
    struct bench_work *work, enum line line, bool autoinc, unsigned architecture)
{
    static const char *const requests[LINES] = {"test-pr", "get-pr", "import-one"};
    static const char *const architectures[ARCHITECTURES] = {"core2-64", "qemux86_64", "all"};
    struct template *made = &work->templates[line][autoinc][architecture];
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

static void make_templates(struct bench_work *work)
{
    for (int line = 0; line < LINES; line++) {
        for (unsigned architecture = 0; architecture < ARCHITECTURES; architecture++) {
            make_template(work, (enum line)line, false, architecture);
            make_template(work, (enum line)line, true, architecture);
        }
    }
}

/* Six of ten packages are for the processor, two for the machine, two for all. */
static unsigned architecture_of(unsigned package)
{
    unsigned part = package % 10;

    return part < 6 ? 0 : part < 8 ? 1 : 2;
}

static void write_line(struct bench_work *work, struct buffer *out, enum line line,
    unsigned package, unsigned checksum)
{
    const struct template *from =
        &work->templates[line][package >= work->recipes][architecture_of(package)];
    size_t at = out->length;

    buffer_append(out, from->bytes, from->length);
    if (buffer_failed(out))
        return;
    write_digits(work, out->bytes + at + from->package_at, package, PACKAGE_DIGITS);
    write_checksum(
        work, out->bytes + at + from->checksum_at, from->checksum_digits, package, checksum);
}

/* ---- what is stored beforehand ---- */

static unsigned held_at_first(const struct bench_work *work, unsigned package)
{
    return work->plan.kind == BENCH_MIX && package < work->recipes ? 1 : work->plan.checksums;
}

uint64_t bench_work_preparations(const struct bench_work *work)
{
    uint64_t autoinc = work->plan.packages - work->recipes;

    if (work->plan.kind == BENCH_PING)
        return 0;
    return (uint64_t)work->recipes * held_at_first(work, 0) + autoinc * work->plan.checksums;
}

/* import-one says which revision each checksum has, so their order does not matter. */
void bench_work_prepare(void *context, struct buffer *out)
{
    struct bench_work *work = context;
    char value[24];

    while (work->prepare_checksum >= held_at_first(work, work->prepare_package)) {
        work->prepare_checksum = 0;
        work->prepare_package = (work->prepare_package + 1) % work->plan.packages;
    }
    write_line(work, out, LINE_IMPORT, work->prepare_package, work->prepare_checksum);
    (void)snprintf(value, sizeof value, "%u\"}}\n", work->prepare_checksum);
    buffer_append_string(out, value);
    work->prepare_checksum++;
    work->counts.import_one++;
}

/* ---- what is measured ---- */

static void ask_known(struct bench_work *work, struct buffer *out, enum line line, unsigned package)
{
    unsigned held = work->held[package];
    bool any = line == LINE_TEST || work->plan.history;

    if (line == LINE_TEST)
        work->counts.test_pr++;
    else
        work->counts.get_known++;
    write_line(work, out, line, package, any ? pick(work, held) : held - 1);
}

static void ask_new(struct bench_work *work, struct buffer *out, unsigned package)
{
    work->counts.get_new++;
    write_line(work, out, LINE_GET, package, work->held[package]++);
}

static void ask_mixed(struct bench_work *work, struct buffer *out)
{
    unsigned share = pick(work, 100);
    unsigned recipe = pick(work, work->recipes);
    unsigned autoinc = work->recipes + pick(work, work->plan.packages - work->recipes);

    if (share < BENCH_MIX_KNOWN)
        ask_known(work, out, LINE_GET, recipe);
    else if (share < BENCH_MIX_KNOWN + BENCH_MIX_NEW)
        ask_new(work, out, recipe);
    else if (share < BENCH_MIX_KNOWN + BENCH_MIX_NEW + BENCH_MIX_AUTOINC_KNOWN)
        ask_known(work, out, LINE_GET, autoinc);
    else
        ask_new(work, out, autoinc);
}

void bench_work_next(void *context, struct buffer *out)
{
    struct bench_work *work = context;

    switch (work->plan.kind) {
    case BENCH_TEST:
        ask_known(work, out, LINE_TEST, pick(work, work->plan.packages));
        break;
    case BENCH_KNOWN:
        ask_known(work, out, LINE_GET, pick(work, work->plan.packages));
        break;
    case BENCH_NEW:
        ask_new(work, out, work->next_package);
        work->next_package = (work->next_package + 1) % work->plan.packages;
        break;
    case BENCH_MIX:
        ask_mixed(work, out);
        break;
    default:
        work->counts.ping++;
        buffer_append(out, ALIVE_LINE, sizeof ALIVE_LINE - 1);
    }
}

const struct bench_counts *bench_work_counts(const struct bench_work *work)
{
    return &work->counts;
}

/* ---- life ---- */

int bench_work_new(struct bench_work **made, const struct bench_plan *plan, struct error *error)
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
    work->random = scramble(plan->seed);
    work->recipes = plan->packages;
    if (plan->kind == BENCH_MIX)
        work->recipes -= autoinc > 0 ? autoinc : 1;
    for (unsigned byte = 0; byte < 256; byte++) {
        work->pairs[byte][0] = "0123456789abcdef"[byte >> 4];
        work->pairs[byte][1] = "0123456789abcdef"[byte & 15];
    }
    for (unsigned package = 0; package < plan->packages; package++)
        work->held[package] = held_at_first(work, package);
    make_templates(work);
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

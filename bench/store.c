/* SPDX-License-Identifier: MIT */
/* store: measures how fast the database alone stores the rows of prserv bench.
 *
 *     store --file F --batch N --seconds S     stores new rows as prserv bench --work new does,
 *                                              N in each transaction, each durable
 *     store --file F --checksums N             stores the rows that prserv bench --prepared expects
 *                                              with the same --packages, --checksums and --seed;
 *                                              syncs only at the end
 *
 * prservd's own store creates the table. Then rows go directly to the database's library. The
 * program prints its measurements as JSON, and ends at the first error. Another kind of database
 * would be another struct backend. */
#include "store/store.h"
#include "base/histogram.h"
#include "bench/work.h"

#include <getopt.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILL_BATCH 10000
#define NS_IN_US 1e3
#define NS_IN_S 1e9

struct database;

/* The operations of one kind of database. All return 0 or an error code, and set error. */
struct backend {
    const char *kind;
    const char *(*version)(void);
    int (*open)(struct database **database, const char *where, bool durable, struct error *error);
    int (*begin)(struct database *database, struct error *error);
    int (*add)(struct database *database, const struct row *row, struct error *error);
    int (*commit)(struct database *database, struct error *error);
    int (*close)(struct database *database, struct error *error);
};

struct settings {
    const char *file;
    unsigned batch; /* 0 to fill the database */
    double seconds;
    struct bench_plan plan;
};

struct run {
    const struct settings *settings;
    const struct backend *backend;
    struct database *database;
    struct bench_work *work;
    struct buffer line;
    struct histogram commit_ns;      /* time of the commit alone */
    struct histogram transaction_ns; /* time from begin to commit */
    uint64_t rows;
    uint64_t elapsed_ns;
};

/* ---- SQLite ---- */

enum statement { BEGIN, ADD, COMMIT, STATEMENTS };

struct database {
    sqlite3 *sqlite;
    bool durable;
    sqlite3_stmt *statements[STATEMENTS];
};

static int sqlite_failed(const struct database *database, struct error *error)
{
    return error_set(error, ERROR_STORE, "%s", sqlite3_errmsg(database->sqlite));
}

static int sqlite_execute(struct database *database, const char *sql, struct error *error)
{
    return sqlite3_exec(database->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : sqlite_failed(database, error);
}

static int sqlite_step(struct database *database, enum statement which, struct error *error)
{
    sqlite3_stmt *statement = database->statements[which];
    int result = sqlite3_step(statement);

    (void)sqlite3_reset(statement);
    return result == SQLITE_DONE ? 0 : sqlite_failed(database, error);
}

/* Creates the database as prservd does. */
static int sqlite_make_table(const char *where, struct error *error)
{
    const atomic_bool shutting_down = false;
    const atomic_ullong never = UINT64_MAX;
    const struct store_options options = {
        .file = where, .shutting_down = &shutting_down, .read_deadline_ms = &never};
    struct store *store;
    int result = store_open(&store, &options, STORE_WRITER, error);

    store_close(store);
    return result;
}

static int sqlite_prepare(struct database *database, struct error *error)
{
    static const char *const sql[STATEMENTS] = {
        [BEGIN] = "BEGIN IMMEDIATE",
        [ADD] = "INSERT INTO PRMAIN (version, pkgarch, checksum, value) VALUES (?1, ?2, ?3, ?4)",
        [COMMIT] = "COMMIT",
    };

    for (int i = 0; i < STATEMENTS; i++) {
        if (sqlite3_prepare_v3(database->sqlite, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                &database->statements[i], NULL) != SQLITE_OK)
            return sqlite_failed(database, error);
    }
    return 0;
}

static int sqlite_close(struct database *database, struct error *error)
{
    int result = 0;

    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(database->statements[i]);
    if (!database->durable)
        result = sqlite_execute(
            database, "PRAGMA synchronous=FULL; PRAGMA wal_checkpoint(TRUNCATE)", error);
    (void)sqlite3_close(database->sqlite);
    free(database);
    return result;
}

static int sqlite_open_file(
    struct database **made, const char *where, bool durable, struct error *error)
{
    struct database *database;
    int result = sqlite_make_table(where, error);

    *made = NULL;
    if (result != 0)
        return result;
    database = calloc(1, sizeof *database);
    if (!database)
        return error_set_memory(error);
    database->durable = durable;
    if (sqlite3_open_v2(where, &database->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
            NULL) != SQLITE_OK)
        result = sqlite_failed(database, error);
    if (result == 0)
        result = sqlite_execute(
            database, durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF", error);
    if (result == 0)
        result = sqlite_prepare(database, error);
    *made = database;
    return result;
}

static int sqlite_begin(struct database *database, struct error *error)
{
    return sqlite_step(database, BEGIN, error);
}

static int sqlite_commit(struct database *database, struct error *error)
{
    return sqlite_step(database, COMMIT, error);
}

static int sqlite_add(struct database *database, const struct row *row, struct error *error)
{
    const struct text texts[] = {row->version, row->pkgarch, row->checksum, row->value};

    for (int i = 0; i < 4; i++) {
        if (sqlite3_bind_text(database->statements[ADD], i + 1, texts[i].bytes,
                (int)texts[i].length, SQLITE_STATIC) != SQLITE_OK)
            return sqlite_failed(database, error);
    }
    return sqlite_step(database, ADD, error);
}

static const struct backend sqlite_backend = {
    .kind = "sqlite",
    .version = sqlite3_libversion,
    .open = sqlite_open_file,
    .begin = sqlite_begin,
    .add = sqlite_add,
    .commit = sqlite_commit,
    .close = sqlite_close,
};

/* ---- rows ---- */

static uint64_t clock_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Returns the next quoted string and moves *at past it. */
static struct text take_string(const char **at)
{
    const char *begin = strchr(*at, '"') + 1;
    const char *end = strchr(begin, '"');

    *at = end + 1;
    return (struct text){begin, (size_t)(end - begin)};
}

/* Reads a line of the load generator: {"get-pr": {"version": "…", "pkgarch": "…", "checksum": "…",
 * … Nothing in it is escaped. An import has a value; for new content the caller has set it. */
static void read_line(const char *at, struct row *row)
{
    struct text *const fields[] = {&row->version, &row->pkgarch, &row->checksum, &row->value};
    size_t count = row->value.bytes ? 3 : 4;

    (void)take_string(&at);
    for (size_t i = 0; i < count; i++) {
        (void)take_string(&at);
        *fields[i] = take_string(&at);
    }
}

static int add_next_row(struct run *run, struct error *error)
{
    const struct bench_plan *plan = &run->settings->plan;
    struct row row = {.value = {NULL, 0}};
    char value[24];

    buffer_reset(&run->line, SIZE_MAX);
    if (run->settings->batch > 0) {
        bench_work_next(run->work, &run->line);
        row.value.bytes = value;
        row.value.length =
            (size_t)snprintf(value, sizeof value, "%" PRIu64, run->rows / plan->packages);
    } else {
        bench_work_prepare(run->work, &run->line);
    }
    buffer_append(&run->line, "", 1);
    if (buffer_failed(&run->line))
        return error_set_memory(error);
    read_line(run->line.bytes, &row);
    run->rows++;
    return run->backend->add(run->database, &row, error);
}

static int transact(struct run *run, uint64_t rows, struct error *error)
{
    uint64_t began_ns = clock_ns();
    uint64_t commit_ns;
    uint64_t end_ns;
    int result = run->backend->begin(run->database, error);

    for (uint64_t i = 0; i < rows && result == 0; i++)
        result = add_next_row(run, error);
    if (result != 0)
        return result;
    commit_ns = clock_ns();
    result = run->backend->commit(run->database, error);
    end_ns = clock_ns();
    histogram_add(&run->commit_ns, end_ns - commit_ns);
    histogram_add(&run->transaction_ns, end_ns - began_ns);
    return result;
}

static int measure(struct run *run, struct error *error)
{
    uint64_t began_ns = clock_ns();
    int result = 0;

    while (result == 0 && (double)run->elapsed_ns < run->settings->seconds * NS_IN_S) {
        result = transact(run, run->settings->batch, error);
        run->elapsed_ns = clock_ns() - began_ns;
    }
    return result;
}

static int fill(struct run *run, struct error *error)
{
    uint64_t left = bench_work_preparations(run->work);
    uint64_t began_ns = clock_ns();
    int result = 0;

    while (result == 0 && left > 0) {
        uint64_t rows = left < FILL_BATCH ? left : FILL_BATCH;

        result = transact(run, rows, error);
        left -= rows;
    }
    run->elapsed_ns = clock_ns() - began_ns;
    return result;
}

/* ---- the report ---- */

static void print_times(const char *name, const struct histogram *histogram)
{
    (void)printf(", \"%s\": {\"p50\": %.1f, \"p99\": %.1f, \"p99.9\": %.1f, \"max\": %.1f}", name,
        (double)histogram_percentile(histogram, 0.5) / NS_IN_US,
        (double)histogram_percentile(histogram, 0.99) / NS_IN_US,
        (double)histogram_percentile(histogram, 0.999) / NS_IN_US,
        (double)histogram->largest / NS_IN_US);
}

static void report(const struct run *run)
{
    double seconds = (double)run->elapsed_ns / NS_IN_S;

    (void)printf("{\"kind\": \"%s\", \"version\": \"%s\", \"rows\": %" PRIu64
                 ", \"seconds\": %.6f, \"rows_per_second\": %.1f, \"commits\": %" PRIu64,
        run->backend->kind, run->backend->version(), run->rows, seconds,
        seconds > 0 ? (double)run->rows / seconds : 0, run->commit_ns.count);
    print_times("commit_us", &run->commit_ns);
    print_times("transaction_us", &run->transaction_ns);
    (void)printf("}\n");
}

static int perform(struct run *run, struct error *error)
{
    const struct settings *settings = run->settings;
    struct error close_error;
    int closed = 0;
    int result = bench_work_create(&run->work, &settings->plan, error);

    if (result == 0)
        result = run->backend->open(&run->database, settings->file, settings->batch > 0, error);
    if (result == 0)
        result = settings->batch > 0 ? measure(run, error) : fill(run, error);
    if (run->database)
        closed = run->backend->close(run->database, &close_error);
    if (result == 0 && closed != 0)
        result = error_set(error, closed, "%s", close_error.text);
    bench_work_free(run->work);
    buffer_free(&run->line);
    return result;
}

/* ---- options ---- */

static bool read_number(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    char *end;

    *number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && *number >= least && *number <= most;
}

static bool read_options(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"batch", required_argument, NULL, 'b'},
        {"seconds", required_argument, NULL, 's'},
        {"packages", required_argument, NULL, 'p'},
        {"checksums", required_argument, NULL, 'c'},
        {"seed", required_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    uint64_t packages = 1000;
    uint64_t checksums = 0;
    uint64_t batch = 0;
    bool good = true;
    int found;

    while (good && (found = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (found == 'f')
            settings->file = optarg;
        else if (found == 's')
            settings->seconds = strtod(optarg, NULL);
        else if (found == 'b')
            good = read_number(optarg, 1, 1000000, &batch);
        else if (found == 'p')
            good = read_number(optarg, 1, BENCH_MAX_PACKAGES, &packages);
        else if (found == 'c')
            good = read_number(optarg, 1, BENCH_MAX_CHECKSUMS, &checksums);
        else
            good =
                found == 'r' && read_number(optarg, 0, BENCH_SEED_LIMIT - 1, &settings->plan.seed);
    }
    settings->batch = (unsigned)batch;
    settings->plan.kind = batch > 0 ? BENCH_NEW : BENCH_KNOWN;
    settings->plan.packages = (unsigned)packages;
    settings->plan.checksums = (unsigned)checksums;
    return good && optind == argc && settings->file && (batch > 0) != (checksums > 0) &&
           (batch > 0) == (settings->seconds > 0);
}

int main(int argc, char **argv)
{
    struct settings settings = {.file = NULL};
    struct run run = {.settings = &settings, .backend = &sqlite_backend};
    struct error error;

    if (!read_options(argc, argv, &settings)) {
        (void)fprintf(stderr, "Usage: store --file F --batch N --seconds S [--packages N]\n"
                              "       store --file F --checksums N [--packages N] [--seed N]\n");
        return 2;
    }
    if (perform(&run, &error) != 0) {
        (void)fprintf(stderr, "store: %s: %s\n", settings.file, error.text);
        return 1;
    }
    report(&run);
    return 0;
}

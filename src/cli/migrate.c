/* migrate: rows from one database to another, without a server. One pass over FROM, in one
 * snapshot, in batches. Each batch is added in a transaction of its own, and then read back: its
 * rows go into the sum of TO as they are there. So an end at any moment leaves whole batches.
 *
 * A run after such an end asks first, and adds nothing, as long as all of a batch is there; from
 * the first batch on of which something is missing, it adds first. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/row_batch.h"
#include "cli/row_sum.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRY_MS 30000 /* a database that is away, or locked, is asked again for so long */
#define PAUSE_US 20000
#define NAME_BYTES 256

struct place {
    const char *file;
    char name[NAME_BYTES];
    struct store *store;
    struct row_sum sum;
};

struct migration {
    struct place from;
    struct place to;
    struct row_batch batch;
    bool keep_going;
    bool adds_first; /* nothing was left behind from here on */
    uint64_t total;  /* rows of from; 0: unknown */
    uint64_t seen;
    uint64_t n_refused;
    uint64_t others; /* in to, but not in from */
    bool knows_others;
    struct progress progress;
};

static int fail(struct migration *migration, const struct error *error)
{
    progress_end(&migration->progress);
    (void)fprintf(stderr,
        "prserv migrate: %s; what was stored stays, run the same command again to go on\n",
        error->text);
    return CLI_NO;
}

/* ---- a batch ---- */

static int count_found(void *context, const struct row *row)
{
    row_sum_add(context, row);
    return 0;
}

/* What of the batch is in to. */
static int find_batch(struct migration *migration, struct row_sum *found, struct error *error)
{
    const struct row_batch *batch = &migration->batch;
    uint64_t until_ms = clock_ms() + TRY_MS;
    int code;

    for (;;) {
        *found = (struct row_sum){.rows = 0};
        code =
            store_find_many(migration->to.store, batch->rows, batch->n, count_found, found, error);
        if (code != ERROR_LOCKED || clock_ms() >= until_ms)
            return code;
        (void)usleep(PAUSE_US);
    }
}

static int add_rows(
    struct migration *migration, const struct row *rows, size_t n, struct error *error)
{
    uint64_t until_ms = clock_ms() + TRY_MS;
    int code;

    do {
        code = store_add_many(migration->to.store, rows, n, error);
        if (code == ERROR_LOCKED)
            (void)usleep(PAUSE_US);
    } while (code == ERROR_LOCKED && clock_ms() < until_ms);
    return code;
}

static int shown(struct text text)
{
    return text.length < 60 ? (int)text.length : 60;
}

/* Names a row that to can't hold. */
static void name_row(struct migration *migration, const struct row *row, const char *reason)
{
    const struct text value = row->value.bytes ? row->value : text_of("(none)");
    struct error line;

    progress_end(&migration->progress);
    (void)error_set(&line, ERROR_INPUT,
        "version '%.*s', pkgarch '%.*s', checksum '%.*s', value '%.*s'", shown(row->version),
        row->version.bytes, shown(row->pkgarch), row->pkgarch.bytes, shown(row->checksum),
        row->checksum.bytes, shown(value), value.bytes);
    (void)fprintf(stderr, "prserv migrate: the row %s: %s\n", line.text, reason);
    migration->n_refused++;
}

static int add_one(struct migration *migration, const struct row *row, struct error *error)
{
    const struct text texts[] = {row->version, row->pkgarch, row->checksum, row->value};
    int code = store_check(migration->to.store, texts, row->value.bytes ? 4 : 3, error);

    return code == 0 ? add_rows(migration, row, 1, error) : code;
}

/* There is a row in the batch that to can't hold: which? */
static int add_one_by_one(struct migration *migration)
{
    struct row_batch *batch = &migration->batch;

    for (size_t i = 0; i < batch->n;) {
        struct error error;
        int code = add_one(migration, &batch->rows[i], &error);

        if (code == 0) {
            i++;
            continue;
        }
        if (code != ERROR_INPUT)
            return fail(migration, &error);
        name_row(migration, &batch->rows[i], error.text);
        if (!migration->keep_going)
            return CLI_NO;
        row_batch_take_out(batch, i);
    }
    return CLI_DONE;
}

static int add_batch(struct migration *migration)
{
    struct row_batch *batch = &migration->batch;
    struct error error;
    int code = add_rows(migration, batch->rows, batch->n, &error);

    if (code == ERROR_INPUT)
        return add_one_by_one(migration);
    return code == 0 ? CLI_DONE : fail(migration, &error);
}

/* Are all rows of the batch there already? */
static int is_there(struct migration *migration, struct row_sum *found, bool *there)
{
    struct error error;
    int code = find_batch(migration, found, &error);

    *there = code == 0 && found->rows == migration->batch.n;
    return code == 0 || code == ERROR_INPUT ? CLI_DONE : fail(migration, &error);
}

/* Brings the batch to to, and takes what is there then into the sums. */
static int bring(struct migration *migration)
{
    const struct row_batch *batch = &migration->batch;
    struct row_sum found = {.rows = 0};
    bool there = false;
    int status = CLI_DONE;

    if (!migration->adds_first)
        status = is_there(migration, &found, &there);
    if (status == CLI_DONE && !there) {
        migration->adds_first = true;
        status = add_batch(migration);
        if (status == CLI_DONE && batch->n > 0)
            status = is_there(migration, &found, &there);
    }
    for (size_t i = 0; i < batch->n && status == CLI_DONE; i++)
        row_sum_add(&migration->from.sum, &batch->rows[i]);
    row_sum_join(&migration->to.sum, &found);
    return status;
}

/* ---- all rows ---- */

static int bring_and_empty(struct migration *migration)
{
    struct error error;
    int status =
        row_batch_seal(&migration->batch, &error) == 0 ? CLI_DONE : fail(migration, &error);

    if (status == CLI_DONE)
        status = bring(migration);
    row_batch_empty(&migration->batch);
    return status;
}

static int bring_all(struct migration *migration)
{
    struct row row;
    struct error error;
    int status = CLI_DONE;
    int more = 1;

    while (status == CLI_DONE && more == 1) {
        more = store_scan_next(migration->from.store, &row, &error);
        if (more < 0)
            return fail(migration, &error);
        if (more == 1) {
            row_batch_add(&migration->batch, &row);
            progress_row(&migration->progress, ++migration->seen, migration->total);
        }
        if (row_batch_is_full(&migration->batch) || (more == 0 && migration->batch.n > 0))
            status = bring_and_empty(migration);
    }
    return status;
}

/* How many rows a database has; false if it can't say in time. */
static bool count_rows(struct store *store, uint64_t *rows)
{
    struct error ignored;
    bool known = store_begin_read(store, STORE_WAITS, &ignored) == 0 &&
                 store_count(store, rows, &ignored) == 0;

    store_rollback(store);
    return known;
}

static int pass(struct migration *migration)
{
    static const struct store_filter all = {.version = {NULL, 0}};
    struct store *from = migration->from.store;
    struct error error;
    int status;

    if (!count_rows(from, &migration->total))
        migration->total = 0;
    progress_begin(&migration->progress, "migrated");
    if (store_begin_read(from, STORE_WAITS, &error) != 0 ||
        store_scan_begin(from, &all, &error) != 0)
        return fail(migration, &error);
    status = bring_all(migration);
    progress_end(&migration->progress);
    store_rollback(from);
    migration->knows_others = count_rows(migration->to.store, &migration->others);
    if (migration->others >= migration->to.sum.rows)
        migration->others -= migration->to.sum.rows;
    else
        migration->others = 0;
    return status;
}

/* ---- saying what came of it ---- */

static void print_place(const char *word, const struct place *place)
{
    char digest[2 * ROW_SUM_BYTES + 1];

    row_sum_print(&place->sum, digest);
    (void)printf("%-5s %" PRIu64 " rows, digest %s\n", word, place->sum.rows, digest);
}

static void print_json(const struct migration *migration, bool same)
{
    char from[2 * ROW_SUM_BYTES + 1];
    char to[2 * ROW_SUM_BYTES + 1];

    row_sum_print(&migration->from.sum, from);
    row_sum_print(&migration->to.sum, to);
    (void)printf("{\"from\":{\"rows\":%" PRIu64 ",\"digest\":\"%s\"},"
                 "\"to\":{\"rows\":%" PRIu64 ",\"digest\":\"%s\"},"
                 "\"same\":%s,\"refused\":%" PRIu64 ",\"others\":",
        migration->from.sum.rows, from, migration->to.sum.rows, to, same ? "true" : "false",
        migration->n_refused);
    if (migration->knows_others)
        (void)printf("%" PRIu64 "}\n", migration->others);
    else
        (void)printf("null}\n");
}

static int report(const struct cli *cli, const struct migration *migration)
{
    const bool same = row_sum_equal(&migration->from.sum, &migration->to.sum);

    if (cli->json) {
        print_json(migration, same);
    } else {
        print_place("FROM", &migration->from);
        print_place("TO", &migration->to);
        if (migration->n_refused > 0)
            (void)printf(
                "%" PRIu64 " rows don't fit into TO and were left out\n", migration->n_refused);
        if (migration->knows_others && migration->others > 0)
            (void)printf("TO holds %" PRIu64 " other rows\n", migration->others);
    }
    if (!same)
        (void)fprintf(stderr,
            "prserv migrate: what %s holds of these rows is not what %s holds: let no server use "
            "it, and run the same again; if that does not help, begin with an empty database\n",
            migration->to.name, migration->from.name);
    return same && migration->n_refused == 0 ? CLI_DONE : CLI_NO;
}

/* ---- before ---- */

/* A database that can't be opened: no connection for PostgreSQL, a file otherwise. */
static int open_place(struct place *place, enum store_role role, const struct store_options *base)
{
    struct store_options options = *base;
    const bool is_file = store_kind_of(place->file) == STORE_SQLITE;
    struct error error;

    store_name(place->file, place->name, sizeof place->name);
    options.file = place->file;
    options.read_only = role == STORE_READER;
    if (is_file && options.read_only && access(place->file, R_OK) != 0) {
        (void)fprintf(stderr, "prserv migrate: %s: %s\n", place->file, strerror(errno));
        return CLI_USAGE;
    }
    if (store_open(&place->store, &options, role, &error) == 0)
        return CLI_DONE;
    (void)fprintf(stderr, "prserv migrate: %s\n", error.text);
    return is_file ? CLI_USAGE : CLI_NO_CONNECTION;
}

static int open_and_migrate(struct cli *cli, struct migration *migration)
{
    static const atomic_bool no_hurry;
    static const atomic_ullong never = UINT64_MAX;
    struct store_options options = {.hurry = &no_hurry, .give_up_ms = &never};
    struct error error;
    int status;

    if (log_open(&options.log, NULL, LOG_WARNING, &error) != 0)
        return fail(migration, &error);
    status = open_place(&migration->from, STORE_READER, &options);
    if (status == CLI_DONE)
        status = open_place(&migration->to, STORE_WRITER, &options);
    if (status == CLI_DONE)
        status = pass(migration);
    if (status == CLI_DONE)
        status = report(cli, migration);
    store_close(migration->to.store);
    store_close(migration->from.store);
    log_close(options.log);
    return status;
}

static int run_migrate(struct cli *cli, int argc, char **argv)
{
    struct migration *migration = calloc(1, sizeof *migration); /* a batch is large */
    const struct cli_option options[] = {
        {"keep-going", migration ? &migration->keep_going : NULL, NULL},
        {NULL, NULL, NULL},
    };
    char **words;
    int n_words;
    int status = CLI_NO;

    if (!migration) {
        (void)fprintf(stderr, "prserv migrate: out of memory\n");
    } else if (cli_parse(cli, argc, argv, options, 2, 2, &words, &n_words, &status)) {
        migration->from.file = words[0];
        migration->to.file = words[1];
        if (strcmp(words[0], words[1]) == 0)
            status = cli_misused(cli, "FROM and TO are the same database");
        else
            status = open_and_migrate(cli, migration);
        row_batch_free(&migration->batch);
    }
    free(migration);
    return status;
}

const struct cli_command command_migrate = {
    .name = "migrate",
    .arguments = "FROM TO [--keep-going]",
    .summary = "copy all rows from one database to another",
    .help =
        "FROM and TO are databases as prservd takes them: the name of an SQLite file, or a URI of\n"
        "PostgreSQL (postgresql://USER@HOST/DATABASE) or its connection string; a build without\n"
        "PostgreSQL says so. No server is asked. Tables that are missing in TO are made; FROM is\n"
        "only read, and may be an SQLite database of BitBake's own server, of any age since 1.16.\n"
        "\n"
        "FROM may be served meanwhile, but rows that come after the beginning are not seen: stop\n"
        "its server, and run the same again, before TO is served. TO may be served as well.\n"
        "\n"
        "      --keep-going   leave out rows that TO can't hold (PostgreSQL: a NUL character, or\n"
        "                     what is not UTF-8; SQLite: no value); they are named, and the exit\n"
        "                     status is 1. Without it the first such row ends it\n"
        "      --json         print {\"from\": {\"rows\", \"digest\"}, \"to\": {\"rows\",\n"
        "                     \"digest\"}, \"same\", \"refused\", \"others\"}\n"
        "\n"
        "It can be interrupted at any moment and run again: batches of up to 10,000 rows are "
        "stored\n"
        "all or not at all, and what is there already is only compared, up to the first row that\n"
        "is missing; nothing comes twice. A database that is away or locked is waited for, half a\n"
        "minute.\n"
        "\n"
        "At the end count and digest of the rows of FROM are printed, and of the same rows as "
        "they\n"
        "were read back from TO; the digest is the sum, modulo 2^256, of the SHA-256 of each row.\n"
        "If they differ the exit status is 1. Other rows, which only TO has, are counted apart.\n",
    .run = run_migrate,
};

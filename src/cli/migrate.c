/* migrate: rows from one database to another, without a server: the command. How it is done stands
 * in migration.c. */
#include "cli/commands.h"
#include "cli/migration.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- saying what came of it ---- */

static void print_place(const char *word, const struct migration_place *place)
{
    char digest[2 * DIGEST_BYTES + 1];

    row_sum_print(&place->sum, digest);
    (void)printf("%-5s %" PRIu64 " rows, digest %s\n", word, place->sum.rows, digest);
}

static void print_json(const struct migration *migration, bool same)
{
    char from[2 * DIGEST_BYTES + 1];
    char to[2 * DIGEST_BYTES + 1];

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
static int open_place(
    struct migration_place *place, enum store_role role, const struct store_options *base)
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
    struct store_options options = {.hurry = &no_hurry, .give_up_ms = &never, .starts = true};
    struct error error;
    int status;

    if (log_open(&options.log, NULL, LOG_WARNING, &error) != 0) {
        (void)fprintf(stderr, "prserv migrate: %s\n", error.text);
        return CLI_NO;
    }
    status = open_place(&migration->from, STORE_READER, &options);
    if (status == CLI_DONE)
        status = open_place(&migration->to, STORE_WRITER, &options);
    if (status == CLI_DONE)
        status = migration_run(migration);
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

    if (migration)
        migration->digester = digest_create();
    if (!migration || !migration->digester) {
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
    if (migration)
        digest_free(migration->digester);
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
        "is missing; nothing comes twice. A database that goes away meanwhile, or is locked, is\n"
        "waited for, half a minute; if that is FROM, all of its rows are read again.\n"
        "\n"
        "At the end count and digest of the rows of FROM are printed, and of the same rows as "
        "they\n"
        "were read back from TO; the digest is the sum, modulo 2^256, of the SHA-256 of each row.\n"
        "If they differ the exit status is 1. Other rows, which only TO has, are counted apart.\n",
    .run = run_migrate,
};

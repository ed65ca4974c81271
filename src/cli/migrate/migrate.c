/* SPDX-License-Identifier: MIT */
/* migrate: copies rows from one database to another without a server. This file has the command,
 * migration.c the work. */
#include "cli/commands.h"
#include "cli/migrate/migration.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the report ---- */

static void migrate_print_database(const char *word, const struct migration_database *place)
{
    char digest[2 * DIGEST_BYTES + 1];

    row_sum_print(&place->sum, digest);
    (void)printf("%-5s %" PRIu64 " rows, digest %s\n", word, place->sum.rows, digest);
}

static void migrate_print_json(const struct migration *migration, bool same)
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

static int migrate_report(const struct cli *cli, const struct migration *migration)
{
    const bool same = row_sum_equal(&migration->from.sum, &migration->to.sum);

    if (cli->json) {
        migrate_print_json(migration, same);
    } else {
        migrate_print_database("FROM", &migration->from);
        migrate_print_database("TO", &migration->to);
        if (migration->n_refused > 0)
            (void)printf(
                "%" PRIu64 " rows were left out: TO can't hold them\n", migration->n_refused);
        if (migration->knows_others && migration->others > 0)
            (void)printf("TO holds %" PRIu64 " other rows\n", migration->others);
    }
    if (!same)
        return cli_fail(cli, CLI_FAILED,
            "these rows differ between %s and %s: don't start a server on the first one, and run "
            "the same command again; if that does not help, begin with an empty database",
            migration->to.name, migration->from.name);
    return migration->n_refused == 0 ? CLI_OK : CLI_FAILED;
}

/* The mark of TO begins anew, so nobody would notice that FROM lacks revisions. */
static void migrate_warn_of_rollback(const struct migration *migration)
{
    struct error ignored;

    if (store_check_mark(migration->from.store, &ignored) == 0 &&
        migration->from.store->rollback.is_rolled_back)
        (void)fprintf(stderr,
            "prserv migrate: %s went back to an older state, and a server on %s does not notice: "
            "raise all packages there before a build asks (prserv floor --all --margin N)\n",
            migration->from.name, migration->to.name);
}

/* ---- the command ---- */

/* Opens a database. On failure the exit status is CLI_NO_CONNECTION for PostgreSQL, CLI_USAGE for a
 * file. */
static int migrate_open_database(const struct cli *cli, struct migration_database *place,
    enum store_role role, const struct store_options *base)
{
    struct store_options options = *base;
    const bool is_file = store_kind_of(place->file) == STORE_SQLITE;
    struct error error;

    store_name(place->file, place->name, sizeof place->name);
    options.file = place->file;
    options.read_only = options.is_source = role == STORE_READER;
    options.is_read_back = true;
    if (is_file && options.read_only && access(place->file, R_OK) != 0)
        return cli_fail(cli, CLI_USAGE, "%s: %s", place->file, strerror(errno));
    if (store_open(&place->store, &options, role, &error) == 0)
        return CLI_OK;
    return cli_fail(cli, is_file ? CLI_USAGE : CLI_NO_CONNECTION, "%s", error.text);
}

static int migrate_open_and_migrate(const struct cli *cli, struct migration *migration)
{
    static const atomic_bool not_shutting_down;
    static const atomic_ullong never = UINT64_MAX;
    struct store_options options = {
        .shutting_down = &not_shutting_down, .read_deadline_ms = &never, .is_startup = true};
    struct error error;
    int status;

    if (log_open(&options.log, NULL, LOG_WARNING, &error) != 0)
        return cli_fail(cli, CLI_FAILED, "%s", error.text);
    status = migrate_open_database(cli, &migration->from, STORE_READER, &options);
    if (status == CLI_OK)
        status = migrate_open_database(cli, &migration->to, STORE_WRITER, &options);
    if (status == CLI_OK)
        status = migration_run(migration);
    if (status == CLI_OK) {
        status = migrate_report(cli, migration);
        migrate_warn_of_rollback(migration);
    }
    store_close(migration->to.store);
    store_close(migration->from.store);
    log_close(options.log);
    return status;
}

static int migrate_run(struct cli *cli, int argc, char **argv)
{
    bool keep_going = false;
    const struct cli_option options[] = {{"keep-going", &keep_going, NULL}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {.options = options, .min_arguments = 2, .max_arguments = 2};
    struct cli_arguments arguments;
    struct migration *migration; /* too large for the stack */
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    if (strcmp(arguments.items[0], arguments.items[1]) == 0)
        return cli_usage_error(cli, "FROM and TO are the same database");
    migration = calloc(1, sizeof *migration);
    if (!migration)
        return cli_fail(cli, CLI_FAILED, "out of memory");
    migration->from.file = arguments.items[0];
    migration->to.file = arguments.items[1];
    migration->keep_going = keep_going;
    status = migrate_open_and_migrate(cli, migration);
    free(migration);
    return status;
}

const struct cli_command command_migrate = {
    .name = "migrate",
    .arguments = "FROM TO [--keep-going]",
    .summary = "copy all rows from one database to another",
    .help =
        "FROM and TO are databases as prservd uses them: the name of an SQLite file, or a\n"
        "PostgreSQL URI (postgresql://USER@HOST/DATABASE) or connection string, if prserv was\n"
        "built with PostgreSQL. No server is involved. Missing tables in TO are created. FROM\n"
        "is only read, and may be an SQLite database of BitBake's own server, 1.16 or later, or\n"
        "one whose table PRMAIN prservd refuses, such as one with INTEGER values.\n"
        "\n"
        "Servers may use FROM and TO meanwhile. Rows that are added to FROM during the run\n"
        "may not be copied: stop the server of FROM and run the same command again before you\n"
        "start a server on TO.\n"
        "\n"
        "      --keep-going   leave out and report rows that TO can't hold (PostgreSQL: a NUL\n"
        "                     character, or text that is not UTF-8; SQLite: a row without a\n"
        "                     value); the exit status is then 1. Without this option the first\n"
        "                     such row ends the migration\n"
        "      --json         print {\"from\": {\"rows\", \"digest\"}, \"to\": {\"rows\",\n"
        "                     \"digest\"}, \"same\", \"refused\", \"others\"}\n"
        "\n"
        "You can interrupt a migration at any time and run it again: each batch of up to\n"
        "10,000 rows is stored completely or not at all, and rows that TO already has are not\n"
        "stored twice. If a database becomes unreachable or is locked, migrate retries for\n"
        "half a minute; after losing FROM, it reads all rows again.\n"
        "\n"
        "At the end migrate prints the number and the digest of the rows in FROM, and of the\n"
        "same rows read back from TO; the digest is the sum of the rows' SHA-256, modulo\n"
        "2^256. If they differ, the exit status is 1. Rows that only TO has are counted\n"
        "separately.\n",
    .run = migrate_run,
};

/* SPDX-License-Identifier: MIT */
/* rows: writes floors that raise a server to what a feed holds. */
#include "cli/rows/rows.h"
#include "cli/connect.h"
#include "cli/rows/outfile.h"
#include "feed/feed_commands.h"
#include "feed/match.h"
#include "revision/floor.h"
#include "revision/revision.h"

#include <stdlib.h>

#define MAX_REPORTS 100

/* The floor of a key. */
struct floor_row {
    struct map_entry map; /* must be first */
    STAILQ_ENTRY(floor_row) next;
    const struct feed_key *key;
    char *value;
};

struct rows {
    const struct cli *cli;
    struct feed_load load;
    const char *format; /* conf, json or csv */
    const char *file;   /* NULL: standard output */
    const char *margin;
    bool offline;
    struct map by_key;
    STAILQ_HEAD(floor_rows, floor_row) floors;
    struct buffer key;
    size_t n_floors;
    size_t n_doubtful; /* entries with a row for each key that they may have */
    size_t n_unmapped; /* entries without a row, or without one for each key */
    size_t n_left_out; /* rows that the format can't hold */
    struct error error;
};

/* ---- the floors ---- */

/* Adds a floor, or raises the one that the key has. */
static int rows_add(struct rows *rows, const struct feed_key *key, const char *value)
{
    struct floor_row *floor;

    buffer_set_pair(&rows->key, text_of(key->version), text_of(key->pkgarch));
    if (buffer_failed(&rows->key))
        return error_set_memory(&rows->error);
    floor = map_find_or_add(&rows->by_key, buffer_text(&rows->key), sizeof *floor);
    if (!floor)
        return error_set_memory(&rows->error);
    if (!floor->key) {
        floor->key = key;
        STAILQ_INSERT_TAIL(&rows->floors, floor, next);
        rows->n_floors++;
    } else if (floor->value && revision_compare(value, floor->value) <= 0) {
        return 0;
    }
    free(floor->value);
    floor->value = strdup(value);
    return floor->value ? 0 : error_set_memory(&rows->error);
}

/* Reports an entry that has no row, or may need another one. */
static void rows_report_unmapped(
    struct rows *rows, const struct feed_entry *entry, const char *reason)
{
    rows->n_unmapped++;
    if (rows->n_unmapped <= MAX_REPORTS)
        (void)cli_fail(rows->cli, 0, "%s: %s (%s)", entry->keys[0].version, reason, entry->example);
    if (rows->n_unmapped == MAX_REPORTS)
        (void)cli_fail(rows->cli, 0, "others like this are only counted");
}

/* Adds the floors of an entry. */
static int rows_add_entry(struct rows *rows, const struct feed_entry *entry)
{
    const bool is_doubtful = !entry->is_certain && !entry->keys[0].greatest;
    int result = 0;

    if (entry->match == FEED_NO_COUNTER)
        return 0;
    if (!entry->keys[0].pkgarch) {
        rows_report_unmapped(rows, entry,
            "its pkgarch is not known, nor does the server have it for one pkgarch alone; no row "
            "was "
            "written; see --pkgarch");
        return 0;
    }
    if (is_doubtful && entry->is_incomplete)
        rows_report_unmapped(rows, entry,
            "the package does not tell enough of its key: it may be another one than those that "
            "have "
            "a row");
    rows->n_doubtful += is_doubtful;
    for (size_t i = 0; i < entry->n_keys && result == 0; i++) {
        const struct feed_key *key = &entry->keys[i];
        char *value = revision_add(key->revision, rows->margin);

        if (!value)
            return error_set_memory(&rows->error);
        if (!key->greatest || revision_compare(key->greatest, value) < 0)
            result = rows_add(rows, key, value);
        free(value);
    }
    return result;
}

static int rows_collect(struct rows *rows)
{
    const struct feed_entry *entry;

    STAILQ_FOREACH (entry, &rows->load.feed.entries, next) {
        if (rows_add_entry(rows, entry) != 0)
            return cli_fail(rows->cli, CLI_FAILED, "%s", rows->error.text);
    }
    return CLI_OK;
}

/* ---- writing ---- */

static void rows_report_left_out(void *context, struct text what, const char *reason)
{
    struct rows *rows = context;

    rows->n_left_out++;
    (void)error_set(&rows->error, 0, "left out, conf can't hold it: %s: %.*s", reason,
        (int)what.length, what.bytes);
    (void)cli_fail(rows->cli, 0, "%s", rows->error.text);
}

static int rows_write_floor(
    struct rows *rows, struct row_writer *writer, const struct floor_row *floor)
{
    char *checksum = floor_checksum(floor->value);
    int result;

    if (checksum) {
        const struct row row = {.version = text_of(floor->key->version),
            .pkgarch = text_of(floor->key->pkgarch),
            .checksum = text_of(checksum),
            .value = text_of(floor->value)};

        result = writer->row(writer, &row, &rows->error);
    } else {
        result = error_set_memory(&rows->error);
    }
    free(checksum);
    return result;
}

static struct row_writer *rows_create_writer(const struct rows *rows, FILE *file)
{
    if (strcmp(rows->format, "json") == 0)
        return json_writer_create(file);
    if (strcmp(rows->format, "csv") == 0)
        return csv_writer_create(file, false);
    return conf_writer_create(file, false, false);
}

static int rows_write_all(struct rows *rows, struct outfile *out)
{
    struct row_writer *writer = rows_create_writer(rows, out->file);
    const struct floor_row *floor;
    int result = 0;

    if (!writer)
        return error_set_memory(&rows->error);
    writer->left_out = rows_report_left_out;
    writer->context = rows;
    writer->begin(writer, (struct text){.bytes = NULL});
    STAILQ_FOREACH (floor, &rows->floors, next) {
        result = rows_write_floor(rows, writer, floor);
        if (result != 0)
            break;
    }
    if (result == 0)
        result = writer->end(writer, &rows->error);
    if (result == 0 && ferror(out->file))
        result = outfile_failed(out, &rows->error);
    row_writer_free(writer);
    return result;
}

static int rows_write(struct rows *rows)
{
    struct outfile out;

    if (outfile_open(&out, rows->file, &rows->error) != 0)
        return cli_fail(rows->cli, CLI_USAGE, "%s", rows->error.text);
    if (rows_write_all(rows, &out) != 0) {
        outfile_discard(&out);
        return cli_fail(rows->cli, CLI_FAILED, "%s", rows->error.text);
    }
    if (outfile_commit(&out, &rows->error) != 0)
        return cli_fail(rows->cli, CLI_FAILED, "%s", rows->error.text);
    return CLI_OK;
}

/* Says on standard error what was written. Returns the exit status. */
static int rows_report(const struct rows *rows)
{
    (void)cli_fail(rows->cli, 0, "packages: %zu, without a revision: %zu, rows written: %zu%s",
        rows->load.feed.n_packages, rows->load.feed.n_without_revision,
        rows->n_floors - rows->n_left_out,
        rows->offline ? "" : " (where the feed has more than the server)");
    if (rows->n_doubtful > 0)
        (void)cli_fail(rows->cli, 0,
            "revisions whose key is in doubt: %zu; there is a row for each possible key, and one "
            "for "
            "a key that no build uses does no harm",
            rows->n_doubtful);
    return feed_load_status(&rows->load, rows->n_unmapped + rows->n_left_out);
}

/* ---- the command ---- */

/* Chooses the format that the name of the file tells. */
static int rows_check_options(struct rows *rows)
{
    const char *dot = rows->file ? strrchr(rows->file, '.') : NULL;

    if (!rows->format && dot && (strcmp(dot, ".json") == 0 || strcmp(dot, ".csv") == 0))
        rows->format = dot + 1;
    if (!rows->format)
        rows->format = rows->cli->json ? "json" : "conf";
    if (strcmp(rows->format, "conf") != 0 && strcmp(rows->format, "json") != 0 &&
        strcmp(rows->format, "csv") != 0)
        return cli_usage_error(rows->cli, "--format is conf, json or csv, not '%s'", rows->format);
    if (!rows->margin)
        rows->margin = "0";
    if (strchr(rows->margin, '.') || !revision_is_valid(rows->margin, strlen(rows->margin)))
        return cli_usage_error(rows->cli, "--margin takes a number, not '%s'", rows->margin);
    return CLI_OK;
}

static int rows_ask_server(struct rows *rows)
{
    struct prserv *server;
    size_t n_refused;
    int status = cli_connect(rows->cli, &server);

    if (status == CLI_OK) {
        status = feed_match_server(&rows->load.feed, rows->cli, server, &n_refused);
        rows->load.n_damaged += n_refused;
        prserv_close(server);
    }
    return status;
}

static void rows_free_floor(void *item)
{
    struct floor_row *floor = item;

    free(floor->value);
    free(floor);
}

static int rows_run(struct cli *cli, int argc, char **argv)
{
    struct rows rows = {.cli = cli, .by_key = MAP_EMPTY};
    const char *pkgarch = NULL;
    const struct cli_option options[] = {
        {"format", NULL, &rows.format},
        {"output", NULL, &rows.file},
        {"margin", NULL, &rows.margin},
        {"offline", &rows.offline, NULL},
        {"all-keys", &rows.load.feed.keeps_keys, NULL},
        {"pkgarch", NULL, &pkgarch},
        {NULL, NULL, NULL},
    };
    const struct cli_syntax syntax = {
        .options = options, .min_arguments = 1, .max_arguments = INT_MAX};
    struct cli_arguments arguments;
    int status;

    feed_init(&rows.load.feed);
    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    STAILQ_INIT(&rows.floors);
    status = rows_check_options(&rows);
    if (status == CLI_OK)
        status = feed_read_pkgarchs(cli, pkgarch);
    if (status == CLI_OK)
        status = feed_load(cli, &rows.load, arguments.items, arguments.n, pkgarch);
    if (status == CLI_OK && !rows.offline)
        status = rows_ask_server(&rows);
    if (status == CLI_OK)
        status = rows_collect(&rows);
    if (status == CLI_OK)
        status = rows_write(&rows);
    if (status == CLI_OK)
        status = rows_report(&rows);
    map_clear(&rows.by_key, rows_free_floor);
    buffer_free(&rows.key);
    feed_load_free(&rows.load);
    return status;
}

const struct cli_command command_feed_rows = {
    .name = "rows",
    .arguments = "FEED... [--output FILE] [--format conf|json|csv] [--margin N] [--all-keys]\n"
                 "       [--offline] [--pkgarch ARCH]",
    .summary = "write rows that raise a server to what a feed holds",
    .help =
        "      --output FILE   write to a file, which appears when it is complete [standard\n"
        "                      output]\n"
        "      --format FORMAT conf, json or csv, as those of prserv export [conf, or what the\n"
        "                      name of FILE ends with]\n"
        "      --margin N      add N to the last number, for revisions that were handed out and\n"
        "                      never published\n"
        "      --all-keys      write a row for each key that a package may have, also if the "
        "server\n"
        "                      has one of them: another release of OE-core may ask for another\n"
        "                      one, if the version has AUTOINC\n"
        "      --offline       don't ask the server: write rows for all packages, and for each "
        "key\n"
        "                      that a package may have\n"
        "      --pkgarch ARCH  the pkgarch of packages in pkgdata, which does not tell it; "
        "separate\n"
        "                      several ones with commas\n"
        "\n"
        "Each row has the checksum floor:REVISION: it is a floor, and the next new content gets\n"
        "more. prserv import stores the rows. Rows are written only where the feed has more than\n"
        "the server, so after an import there are none left; nothing is ever lowered.\n"
        "\n"
        "If the server has none of the keys that a package may have, each of them gets a row.\n"
        "\n"
        "Exit status: 0 the rows cover all packages with a revision, 2 the command line or a file\n"
        "of the feed can't be used, 3 no connection, 4 some packages have no row or may need\n"
        "another one, entries can't be read, or there are no packages.\n",
    .run = rows_run,
};

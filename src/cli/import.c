/* import: what the server has already is brought to the shelf first, so that every row of
 * the file is known or new; new ones go to the server in batches. A small file (it fits into
 * one batch) asks for its own rows, one after the other, as long as that is quick; otherwise
 * the server's whole export is asked for: that costs time in proportion to the server's
 * rows, and no memory. */
#include "base/clock.h"
#include "cli/batch.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/rows.h"
#include "cli/side.h"
#include "revision/revision.h"
#include "wire/codec.h"

#include <stdio.h>
#include <stdlib.h>

#define SERVER 1 /* the shelf's only side */
#define QUICK_MS 500

struct importing {
    struct prserv *server;
    struct shelf *shelf;
    struct row_reader *reader;
    bool dry_run;
    bool keep_going;
    bool fetched; /* the shelf has what the server has */
    bool shelf_failed;
    bool at_end;
    struct progress progress;

    struct batch batch;

    unsigned long n_new;
    unsigned long n_known;
    unsigned long n_refused;
};

/* ---- saying what is wrong ---- */

static void name_line(struct importing *importing, unsigned long line, const char *reason)
{
    progress_end(&importing->progress);
    (void)fprintf(stderr, "prserv: %s:%lu: %s\n", importing->reader->source->name, line, reason);
}

/* Returns CLI_DONE if the import goes on all the same. */
static int refuse(struct importing *importing, unsigned long line, const char *reason)
{
    name_line(importing, line, reason);
    importing->n_refused++;
    return importing->keep_going ? CLI_DONE : CLI_NO;
}

static int fail_shelf(const struct error *error)
{
    (void)fprintf(stderr, "prserv import: %s\n", error->text);
    return CLI_NO;
}

/* ---- a batch ---- */

/* Brings what the server has to the shelf: what the only batch is about, or all. */
static int fetch(struct importing *importing)
{
    const struct batch *batch = &importing->batch;
    uint64_t until_ms = clock_ms() + QUICK_MS;
    int status = CLI_DONE;

    importing->fetched = true;
    if (!importing->at_end)
        return side_add_server(importing->shelf, SERVER, importing->server, NULL, true);
    for (size_t i = 0; i < batch->n && status == CLI_DONE; i++) {
        if (clock_ms() >= until_ms)
            return side_add_server(importing->shelf, SERVER, importing->server, NULL, true);
        status = side_add_server(
            importing->shelf, SERVER, importing->server, &batch->requests[i].row, true);
    }
    return status;
}

/* Is it new to the server? */
static int is_new(void *context, const struct prserv_row *row)
{
    struct importing *importing = context;
    struct error error;
    bool known;

    if (shelf_has(importing->shelf, row, &known, &error) != 0) {
        (void)fail_shelf(&error);
        return -1;
    }
    importing->n_known += known;
    return !known;
}

/* A row that is stored, or would be. It counts as known if the file had it before. That it
 * can't be counted is said once. */
static int count_stored(struct importing *importing, const struct prserv_row *row)
{
    struct error error;
    bool first;

    if (importing->shelf_failed)
        return CLI_NO;
    if (shelf_add(importing->shelf, row, SERVER, &first, &error) != 0) {
        importing->shelf_failed = true;
        return fail_shelf(&error);
    }
    if (first)
        importing->n_new++;
    else
        importing->n_known++;
    return CLI_DONE;
}

/* Sends the batch, and counts its answers. */
static int store(struct importing *importing)
{
    struct batch *batch = &importing->batch;
    struct prserv_error error = {.code = 0};
    int result = 0;
    int status = CLI_DONE;

    if (!importing->dry_run)
        result = prserv_batch(importing->server, batch->requests, batch->n, &error);
    for (size_t i = 0; i < batch->n; i++) {
        const struct prserv_request *request = &batch->requests[i];
        int code = importing->dry_run ? 0 : request->error.code;
        int outcome = CLI_DONE;

        if (code == 0)
            outcome = count_stored(importing, &request->row);
        else if (code == PRSERV_ERROR_REFUSED || code == PRSERV_ERROR_ARGUMENT)
            outcome = refuse(importing, batch->lines[i], request->error.text);
        else if (result != 0) {
            name_line(importing, batch->lines[i], "from here on the import was cut off");
            return cli_failed(&error);
        }
        if (status == CLI_DONE)
            status = outcome;
    }
    return result == 0 ? status : cli_failed(&error);
}

static int flush(struct importing *importing)
{
    struct batch *batch = &importing->batch;
    int status = importing->fetched || batch->n == 0 ? CLI_DONE : fetch(importing);

    if (status == CLI_DONE && batch_filter(batch, is_new, importing) != 0)
        status = CLI_NO;
    if (status == CLI_DONE && batch->n > 0)
        status = store(importing);
    batch_empty(batch);
    return status;
}

/* ---- rows ---- */

/* Why the row can't be imported, or NULL. */
static const char *why_not(const struct prserv_row *row)
{
    if (!row->value.bytes)
        return "the row has no value";
    if (!revision_is_valid(row->value.bytes, row->value.length))
        return "the value is no revision, like 3 or 1.2";
    if (!text_is_utf8(field_text(row->version)) || !text_is_utf8(field_text(row->pkgarch)) ||
        !text_is_utf8(field_text(row->checksum)))
        return "the row is not UTF-8";
    return NULL;
}

/* Reads until the batch is full or the file ends. Returns CLI_DONE, or a status after which
 * nothing more is read. */
static int fill(struct importing *importing)
{
    struct row_reader *reader = importing->reader;
    int status = CLI_DONE;

    while (status == CLI_DONE && !batch_is_full(&importing->batch)) {
        struct prserv_row row;
        struct error error;
        int found = reader->next(reader, &row, &error);
        const char *why = found == ROW_READ ? why_not(&row) : error.text;

        if (found == ROW_END) {
            importing->at_end = true;
            break;
        }
        progress_row(&importing->progress, reader->source->at_bytes, reader->source->size_bytes);
        if (why)
            status = refuse(importing, reader->line, why);
        else if (!batch_add(&importing->batch, &row, reader->line))
            status = refuse(importing, reader->line, "out of memory");
        if (found == ROW_BROKEN)
            status = CLI_NO;
    }
    importing->at_end = importing->at_end || status != CLI_DONE;
    return status;
}

/* What was read before a refusal is imported. */
static int import_rows(struct importing *importing)
{
    int status = CLI_DONE;

    while (status == CLI_DONE && !importing->at_end) {
        int read = fill(importing);

        status = flush(importing);
        if (status == CLI_DONE)
            status = read;
    }
    return status;
}

/* ---- before and after ---- */

static void print_counts(const struct cli *cli, const struct importing *importing)
{
    if (cli->json) {
        (void)printf("{\"new\":%lu,\"known\":%lu,\"refused\":%lu,\"dry_run\":%s}\n",
            importing->n_new, importing->n_known, importing->n_refused,
            importing->dry_run ? "true" : "false");
        return;
    }
    (void)printf("%lu %s, %lu known, %lu refused%s\n", importing->n_new,
        importing->dry_run ? "would be new" : "new", importing->n_known, importing->n_refused,
        importing->dry_run ? "; nothing was stored" : "");
}

static int import_from(const struct cli *cli, struct importing *importing)
{
    struct prserv_error reason;
    struct error error;
    bool read_only;
    int status;

    if (prserv_is_readonly(importing->server, &read_only, &reason) != 0)
        return cli_failed(&reason);
    if (read_only) {
        (void)fprintf(stderr, "prserv import: %s is read-only; nothing was imported\n",
            prserv_address(importing->server));
        return CLI_NO;
    }
    if (shelf_open(&importing->shelf, &error) != 0)
        return fail_shelf(&error);
    progress_begin(&importing->progress, importing->dry_run ? "looked at" : "imported");
    status = import_rows(importing);
    progress_end(&importing->progress);
    print_counts(cli, importing);
    shelf_close(importing->shelf);
    return status == CLI_DONE && importing->n_refused > 0 ? CLI_NO : status;
}

static int open_and_import(struct cli *cli, struct importing *importing, struct source *source)
{
    struct error error;
    int status;

    if (row_reader_new(&importing->reader, source, &error) != 0)
        return fail_shelf(&error);
    status = cli_connect(cli, &importing->server);
    if (status == CLI_DONE) {
        status = import_from(cli, importing);
        prserv_close(importing->server);
    }
    row_reader_free(importing->reader);
    return status;
}

static int run_import(struct cli *cli, int argc, char **argv)
{
    struct importing *importing = calloc(1, sizeof *importing); /* a batch is large */
    const struct cli_option options[] = {
        {"dry-run", importing ? &importing->dry_run : NULL, NULL},
        {"keep-going", importing ? &importing->keep_going : NULL, NULL},
        {NULL, NULL, NULL},
    };
    struct source source;
    struct error error;
    char **words;
    int n_words;
    int status = CLI_NO;

    if (!importing) {
        (void)fprintf(stderr, "prserv import: out of memory\n");
    } else if (cli_parse(cli, argc, argv, options, 1, 1, &words, &n_words, &status)) {
        if (source_open(&source, words[0], &error) != 0) {
            (void)fprintf(stderr, "prserv import: %s\n", error.text);
            status = CLI_USAGE;
        } else {
            status = open_and_import(cli, importing, &source);
            source_close(&source);
        }
    }
    free(importing);
    return status;
}

const struct cli_command command_import = {
    .name = "import",
    .arguments = "FILE|- [--dry-run] [--keep-going]",
    .summary = "store the rows of an exported file",
    .help =
        "FILE is conf, JSON or CSV, which is told by how it begins; - is standard input. In conf,\n"
        "blank lines, comments, PRAUTO_... and PRSERV_LOCKDOWN are passed over. JSON values may\n"
        "be integers.\n"
        "\n"
        "      --dry-run      store nothing, say what would happen\n"
        "      --keep-going   import the rest when something is refused; without it the import\n"
        "                     ends at the first refusal (what came before it is stored, and\n"
        "                     if the server refused it, up to 512 rows after it may be)\n"
        "      --json         print {\"new\", \"known\", \"refused\", \"dry_run\"}\n"
        "\n"
        "What is refused is named with file and line, and makes the exit status 1: a row without\n"
        "value, a value that is no revision, text that is not UTF-8, what is not understood.\n"
        "\n"
        "At the end it says how many rows were new, known (the server had them before, or the\n"
        "file had them twice) and refused. What the server has is asked at the beginning, so a\n"
        "row that somebody else stores meanwhile may be counted as new. For a file of more than\n"
        "few hundred rows, or over a slow line, that is an export of everything, which is kept in "
        "a\n"
        "temporary file.\n"
        "Importing a file again changes nothing.\n",
    .run = run_import,
};

/* SPDX-License-Identifier: MIT */
/* import: first loads the rows that the server has into a row set, so that every row of the file
 * is either known or new, and then sends the new ones in batches.
 *
 * If the file fits into one batch, import asks the server for each row of it, as long as that is
 * quick. Otherwise it loads an export of all rows, which takes time in proportion to the server's
 * rows, but constant memory. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/progress.h"
#include "cli/row_batch.h"
#include "cli/row_input.h"
#include "cli/row_load.h"
#include "cli/rows/rows.h"
#include "client/field.h"
#include "revision/revision.h"
#include "wire/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER 1 /* the row set's only origin */
#define QUICK_MS 500
#define ASK_BYTES 512 /* in a row that the server is asked for; limits are 1 KiB at least */
#define BATCH_ROWS 512
#define BATCH_BYTES ((size_t)1024 * 1024)

struct importer {
    const struct cli *cli;
    struct prserv *server;
    struct row_set *set; /* rows of the server, and rows of the file that were stored */
    struct row_reader *reader;
    bool dry_run;
    bool keep_going;
    bool has_server_rows; /* set holds the server's rows */
    bool set_failed;
    bool at_end;
    struct progress progress;

    struct row_batch batch; /* rows of the file; in the end those that the server does not have */
    unsigned long lines[BATCH_ROWS]; /* the lines on which they begin */
    struct prserv_request requests[BATCH_ROWS];

    unsigned long n_new;
    unsigned long n_known;
    unsigned long n_refused;
};

/* ---- errors ---- */

static void import_report_line(struct importer *importer, unsigned long line, const char *reason)
{
    progress_clear(&importer->progress);
    (void)fprintf(stderr, "prserv: %s:%lu: %s\n", importer->reader->source.name, line, reason);
}

/* Reports and counts a refused row. Returns CLI_OK if the import goes on. */
static int import_refuse(struct importer *importer, unsigned long line, const char *reason)
{
    import_report_line(importer, line, reason);
    importer->n_refused++;
    return importer->keep_going ? CLI_OK : CLI_FAILED;
}

static int import_fail(const struct importer *importer, const struct error *error)
{
    return cli_fail(importer->cli, CLI_FAILED, "%s", error->text);
}

/* ---- a batch ---- */

static int import_load_all(struct importer *importer)
{
    return row_load_server(importer->set, SERVER, importer->server, NULL, true);
}

/* Returns whether the server might refuse to be asked for a row, because its texts are too long. */
static bool import_is_long(const struct row *row)
{
    return row->version.length + row->pkgarch.length + row->checksum.length > ASK_BYTES;
}

/* Loads the server's rows into the row set: those of the only batch, or all. */
static int import_load_server(struct importer *importer)
{
    const struct row_batch *batch = &importer->batch;
    uint64_t deadline_ms = clock_ms() + QUICK_MS;
    int status = CLI_OK;

    importer->has_server_rows = true;
    if (!importer->at_end)
        return import_load_all(importer);
    for (size_t i = 0; i < batch->n && status == CLI_OK; i++) {
        if (clock_ms() >= deadline_ms || import_is_long(&batch->rows[i]))
            return import_load_all(importer);
        status = row_load_server(importer->set, SERVER, importer->server, &batch->rows[i], true);
    }
    return status;
}

/* Reduces the batch to the rows that the server does not have, and makes their requests. */
static int import_make_requests(struct importer *importer)
{
    struct row_batch *batch = &importer->batch;
    size_t n = 0;

    for (size_t i = 0; i < batch->n; i++) {
        struct error error;
        bool known;

        if (row_set_contains(importer->set, &batch->rows[i], &known, &error) != 0)
            return import_fail(importer, &error);
        importer->n_known += known;
        if (known)
            continue;
        importer->requests[n].row = field_of_row(&batch->rows[i]);
        importer->lines[n] = importer->lines[i];
        batch->rows[n++] = batch->rows[i];
    }
    batch->n = n;
    return CLI_OK;
}

/* Counts a row that was stored, or would be: as known if an earlier line of the file had it. A
 * failure of the row set is reported once. */
static int import_count_stored(struct importer *importer, const struct row *row)
{
    struct error error;
    bool first;

    if (importer->set_failed)
        return CLI_FAILED;
    if (row_set_add(importer->set, row, SERVER, &first, &error) != 0) {
        importer->set_failed = true;
        return import_fail(importer, &error);
    }
    if (first)
        importer->n_new++;
    else
        importer->n_known++;
    return CLI_OK;
}

static bool import_is_refused(const struct prserv_request *request)
{
    return request->error.code == PRSERV_ERROR_REFUSED ||
           request->error.code == PRSERV_ERROR_ARGUMENT;
}

/* Returns whether a row is longer than the server allows. The server names the option. */
static bool import_is_too_large(const struct prserv_request *request)
{
    return request->error.code == PRSERV_ERROR_REFUSED &&
           strstr(request->error.text, "--max-message-bytes") != NULL;
}

/* Reports the row of a request that the server refused. */
static int import_refuse_row(struct importer *importer, size_t at)
{
    const struct prserv_request *request = &importer->requests[at];
    const struct row *row = &importer->batch.rows[at];
    const struct request message = {.kind = REQUEST_IMPORT_ONE,
        .version = row->version,
        .pkgarch = row->pkgarch,
        .checksum = row->checksum,
        .value = row->value};
    char reason[sizeof request->error.text + 100];

    if (!import_is_too_large(request))
        return import_refuse(importer, importer->lines[at], request->error.text);
    (void)snprintf(reason, sizeof reason,
        "the row is too large for the server (%zu bytes as a request): %s",
        codec_request_bytes(&message), request->error.text);
    return import_refuse(importer, importer->lines[at], reason);
}

/* Counts the rows of a batch by their answers. If one row has no answer, the rows after it have
 * none either, and result and error say why. Returns the status of the first row that failed. */
static int import_count_answers(
    struct importer *importer, int result, const struct prserv_error *error)
{
    const struct row_batch *batch = &importer->batch;
    int first_failure = CLI_OK;

    for (size_t i = 0; i < batch->n; i++) {
        const struct prserv_request *request = &importer->requests[i];
        const int code = importer->dry_run ? 0 : request->error.code;
        int status = CLI_OK;

        if (code == 0) {
            status = import_count_stored(importer, &batch->rows[i]);
        } else if (import_is_refused(request)) {
            status = import_refuse_row(importer, i);
        } else if (result != 0) {
            import_report_line(importer, importer->lines[i], "the import was cut off from here on");
            if (i > 0 && import_is_too_large(request - 1))
                return first_failure; /* which is why the server closed the connection */
            break;
        }
        if (first_failure == CLI_OK)
            first_failure = status;
    }
    return result == 0 ? first_failure : cli_report_error(error);
}

/* Returns the first request from here on that has no answer. */
static size_t import_find_unanswered(const struct importer *importer, size_t at)
{
    while (at < importer->batch.n &&
           (importer->requests[at].error.code == 0 || import_is_refused(&importer->requests[at])))
        at++;
    return at;
}

/* Sends the requests of a batch. After a row that is too large the server closes the connection,
 * and the rows behind it are sent again if the import goes on. */
static int import_ask(struct importer *importer, struct prserv_error *error)
{
    const size_t n = importer->batch.n;
    size_t at = 0;
    int result;

    for (;;) {
        const size_t from = at;

        result = prserv_batch(importer->server, importer->requests + from, n - from, error);
        if (result == 0 || !importer->keep_going)
            return result;
        at = import_find_unanswered(importer, from);
        if (at == n && import_is_too_large(&importer->requests[n - 1]))
            return 0;
        if (at == n || at == from || !import_is_too_large(&importer->requests[at - 1]))
            return result;
    }
}

static int import_send_batch(struct importer *importer)
{
    struct prserv_error error = {.code = 0};
    int result = importer->dry_run ? 0 : import_ask(importer, &error);

    return import_count_answers(importer, result, &error);
}

static int import_flush(struct importer *importer)
{
    struct row_batch *batch = &importer->batch;
    struct error error;
    int status = CLI_OK;

    if (row_batch_seal(batch, &error) != 0)
        status = import_fail(importer, &error);
    if (status == CLI_OK && batch->n > 0 && !importer->has_server_rows)
        status = import_load_server(importer);
    if (status == CLI_OK)
        status = import_make_requests(importer);
    if (status == CLI_OK && batch->n > 0)
        status = import_send_batch(importer);
    row_batch_empty(batch);
    return status;
}

/* ---- rows ---- */

/* Returns the reason why the row can't be imported, or NULL. */
static const char *import_check_row(const struct row *row)
{
    if (!row->value.bytes)
        return "the row has no value";
    if (!revision_is_valid(row->value.bytes, row->value.length))
        return "the value is not a revision like 3 or 1.2";
    if (!text_is_utf8(row->version) || !text_is_utf8(row->pkgarch) || !text_is_utf8(row->checksum))
        return "the row is not UTF-8";
    return NULL;
}

/* Reads rows until the batch is full or the file ends. Returns CLI_OK, or a status after which
 * nothing more is read. */
static int import_fill_batch(struct importer *importer)
{
    struct row_reader *reader = importer->reader;
    struct row_batch *batch = &importer->batch;
    int status = CLI_OK;

    while (status == CLI_OK && !row_batch_is_full(batch, BATCH_ROWS, BATCH_BYTES)) {
        struct row row;
        struct error error;
        int found = reader->next(reader, &row, &error);
        const char *reason = found == ROW_READ ? import_check_row(&row) : error.text;

        if (found == ROW_END) {
            importer->at_end = true;
            break;
        }
        progress_row(&importer->progress, reader->source.at_bytes, reader->source.size_bytes);
        if (reason) {
            status = import_refuse(importer, reader->line, reason);
        } else {
            importer->lines[batch->n] = reader->line;
            row_batch_add(batch, &row);
        }
        if (found == ROW_BROKEN)
            status = CLI_FAILED;
    }
    importer->at_end = importer->at_end || status != CLI_OK;
    return status;
}

/* Imports the file, batch by batch. Rows that were read before a refusal are imported. */
static int import_rows(struct importer *importer)
{
    int status = CLI_OK;

    while (status == CLI_OK && !importer->at_end) {
        int read_status = import_fill_batch(importer);

        status = import_flush(importer);
        if (status == CLI_OK)
            status = read_status;
    }
    return status;
}

/* ---- the command ---- */

static void import_print_counts(const struct importer *importer)
{
    if (importer->cli->json) {
        (void)printf("{\"new\":%lu,\"known\":%lu,\"refused\":%lu,\"dry_run\":%s}\n",
            importer->n_new, importer->n_known, importer->n_refused,
            importer->dry_run ? "true" : "false");
        return;
    }
    (void)printf("%lu %s, %lu known, %lu refused%s\n", importer->n_new,
        importer->dry_run ? "would be new" : "new", importer->n_known, importer->n_refused,
        importer->dry_run ? "; nothing was stored" : "");
}

/* Reports what the reader passed over, and a file in which it found nothing. Returns CLI_FAILED for
 * such a file. */
static int import_report_rest(const struct importer *importer)
{
    const struct row_reader *reader = importer->reader;
    const char *name = reader->source.name;

    if (reader->n_others > 0)
        (void)fprintf(stderr, "prserv: %s: %lu other %s passed over\n", name, reader->n_others,
            reader->n_others == 1 ? "variable or statement was" : "variables and statements were");
    if (importer->n_new + importer->n_known + importer->n_refused > 0)
        return CLI_OK;
    if (reader->n_packages > 0)
        return cli_fail(importer->cli, CLI_FAILED,
            "%s: nothing was imported: PRAUTO_ lines name no checksum, and the file has no other "
            "rows",
            name);
    if (!reader->is_known)
        return cli_fail(importer->cli, CLI_FAILED,
            "%s: nothing was imported: the file has no rows, and was not written by export", name);
    return CLI_OK;
}

static int import_to_server(struct importer *importer)
{
    struct prserv_error reason;
    struct error error;
    bool read_only;
    int status;

    if (prserv_is_readonly(importer->server, &read_only, &reason) != 0)
        return cli_report_error(&reason);
    if (read_only)
        return cli_fail(importer->cli, CLI_FAILED, "%s is read-only; nothing was imported",
            prserv_address(importer->server));
    if (row_set_open(&importer->set, &error) != 0)
        return import_fail(importer, &error);
    progress_begin(&importer->progress, importer->dry_run ? "checked" : "imported");
    status = import_rows(importer);
    progress_clear(&importer->progress);
    import_print_counts(importer);
    row_set_close(importer->set);
    if (status == CLI_OK)
        status = import_report_rest(importer);
    return status == CLI_OK && importer->n_refused > 0 ? CLI_FAILED : status;
}

static int import_file(struct importer *importer, const char *name)
{
    struct error error;
    int result = row_input_open(&importer->reader, name, &error);
    int status;

    if (result != 0)
        return cli_fail(
            importer->cli, result == ERROR_MEMORY ? CLI_FAILED : CLI_USAGE, "%s", error.text);
    status = cli_connect(importer->cli, &importer->server);
    if (status == CLI_OK) {
        status = import_to_server(importer);
        prserv_close(importer->server);
    }
    row_reader_close(importer->reader);
    row_batch_deinit(&importer->batch);
    return status;
}

static int import_run(struct cli *cli, int argc, char **argv)
{
    bool dry_run = false;
    bool keep_going = false;
    const struct cli_option options[] = {
        {"dry-run", &dry_run, NULL},
        {"keep-going", &keep_going, NULL},
        {NULL, NULL, NULL},
    };
    const struct cli_syntax syntax = {.options = options, .min_arguments = 1, .max_arguments = 1};
    struct cli_arguments arguments;
    struct importer *importer; /* too large for the stack */
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    importer = calloc(1, sizeof *importer);
    if (!importer)
        return cli_fail(cli, CLI_FAILED, "out of memory");
    importer->cli = cli;
    importer->dry_run = dry_run;
    importer->keep_going = keep_going;
    status = import_file(importer, arguments.items[0]);
    free(importer);
    return status;
}

const struct cli_command command_import = {
    .name = "import",
    .arguments = "FILE|- [--dry-run] [--keep-going]",
    .summary = "store the rows of an exported file",
    .help =
        "FILE is conf, JSON, CSV or an SQLite database; its beginning tells which. - is\n"
        "standard input. In conf, blank lines, comments, PRAUTO_... and PRSERV_LOCKDOWN are\n"
        "ignored; other variables and statements are passed over and counted. JSON values may\n"
        "be integers.\n"
        "\n"
        "      --dry-run      store nothing and report what would happen\n"
        "      --keep-going   continue after a refused row; otherwise the import ends at the\n"
        "                     first one (rows before it are stored, and if the server refused\n"
        "                     it, up to 512 rows after it may be)\n"
        "      --json         print {\"new\", \"known\", \"refused\", \"dry_run\"}\n"
        "\n"
        "Refused rows are reported with file and line, and the exit status is 1. A row is\n"
        "refused if it has no value, its value is not a revision, its text is not UTF-8, or\n"
        "the line can't be parsed. A row that is longer than the server's --max-message-bytes is\n"
        "refused by the server; its size is reported.\n"
        "\n"
        "At the end import prints how many rows were new, known (the server had them, or an\n"
        "earlier line of the file) and refused. It loads the server's rows at the start, so a\n"
        "row that another client stores meanwhile may be counted as new. For a file of more\n"
        "than a few hundred rows, or over a slow network, it loads a complete export into a\n"
        "temporary file. Importing a file again changes nothing.\n"
        "\n"
        "If FILE has no rows and was not written by export, or has only PRAUTO_... lines,\n"
        "nothing is imported, and the exit status is 1.\n",
    .run = import_run,
};

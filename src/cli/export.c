/* SPDX-License-Identifier: MIT */
/* export: writes the server's rows to a file as they arrive. */
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/progress.h"
#include "cli/rows/outfile.h"
#include "cli/rows/rows.h"
#include "client/field.h"

#include <stdio.h>
#include <string.h>

struct export_options {
    const char *format;
    const char *version;
    const char *pkgarch;
    const char *checksum;
    bool all;
    bool lockdown;
    bool spreadsheet;
    const char *max_time; /* seconds; NULL: the library's default */
    const char *file;     /* NULL or "-": standard output */
};

struct exporter {
    const struct cli *cli;
    const struct export_options *options;
    double max_s; /* for the export; 0: no limit */
    struct row_writer *writer;
    struct outfile out; /* file of the writer */
    struct progress progress;
    bool begun; /* the writer has written the beginning of the file */
    unsigned long rows;
    unsigned long left_out;
    struct error error; /* why the row callback stopped the export */
};

/* Reports exporter->error. Returns status. */
static int export_cmd_fail(const struct exporter *exporter, int status)
{
    return cli_fail(exporter->cli, status, "%s", exporter->error.text);
}

/* ---- options ---- */

static bool export_cmd_is_stdout(const struct export_options *options)
{
    return !options->file || strcmp(options->file, "-") == 0;
}

/* Returns the format given with --format, or the one that fits the file's name. */
static const char *export_cmd_choose_format(
    const struct cli *cli, const struct export_options *options)
{
    if (options->format)
        return options->format;
    if (export_cmd_is_stdout(options))
        return cli->json ? "json" : "conf";
    if (text_ends_with(text_of(options->file), ".json"))
        return "json";
    return text_ends_with(text_of(options->file), ".csv") ? "csv" : "conf";
}

/* Returns whether the export tells the greatest value of each package. It does not if it has all
 * rows, but only those of one checksum. */
static bool export_cmd_has_greatest(const struct export_options *options)
{
    return !options->all || !options->checksum || options->checksum[0] == '\0';
}

/* Returns CLI_OK, or reports which options exclude each other. */
static int export_cmd_check_options(
    const struct cli *cli, const struct export_options *options, const char *format)
{
    const bool is_conf = strcmp(format, "conf") == 0;
    const bool is_json = strcmp(format, "json") == 0;

    if (!is_conf && !is_json && strcmp(format, "csv") != 0)
        return cli_usage_error(cli, "unknown format '%s': use conf, json or csv", format);
    if (options->spreadsheet && strcmp(format, "csv") != 0)
        return cli_usage_error(cli, "--spreadsheet needs the format csv");
    if (options->lockdown && !is_conf)
        return cli_usage_error(cli, "--lockdown needs the format conf");
    if (options->lockdown && !export_cmd_has_greatest(options))
        return cli_usage_error(cli, "--lockdown needs the greatest value of each package, which "
                                    "--all with --checksum does not export");
    if (cli->json && export_cmd_is_stdout(options) && !is_json)
        return cli_usage_error(
            cli, "--json on standard output needs the format json; or name a FILE");
    return CLI_OK;
}

static struct row_writer *export_cmd_create_writer(
    const struct export_options *options, const char *format, FILE *file)
{
    if (strcmp(format, "json") == 0)
        return json_writer_create(file);
    return strcmp(format, "csv") == 0
               ? csv_writer_create(file, options->spreadsheet)
               : conf_writer_create(file, options->lockdown, export_cmd_has_greatest(options));
}

/* ---- receiving rows ---- */

/* Reports a row or line that the format can't hold. */
static void export_cmd_report_left_out(void *context, struct text what, const char *reason)
{
    struct exporter *exporter = context;

    struct error line;

    progress_clear(&exporter->progress);
    exporter->left_out++;
    (void)error_set(&line, 0, "%.*s", (int)what.length, what.bytes);
    (void)fprintf(stderr, "prserv: left out, conf can't hold it: %s\n  %s\n", reason, line.text);
}

static void export_cmd_begin_file(struct exporter *exporter, struct text metainfo)
{
    if (!exporter->begun)
        exporter->writer->begin(exporter->writer, metainfo);
    exporter->begun = true;
}

static int export_cmd_on_metainfo(void *context, struct prserv_text json)
{
    export_cmd_begin_file(context, field_text(json));
    return 0;
}

static int export_cmd_on_row(void *context, const struct prserv_row *received)
{
    struct exporter *exporter = context;
    const struct row row = field_row(received);
    int result;

    export_cmd_begin_file(exporter, (struct text){.bytes = NULL});
    exporter->rows++;
    progress_row(&exporter->progress, 0, 0);
    result = exporter->writer->row(exporter->writer, &row, &exporter->error);
    if (result == 0 && ferror(exporter->writer->file))
        result = outfile_failed(&exporter->out, &exporter->error);
    return result;
}

static struct prserv_text export_cmd_filter(const char *text)
{
    return prserv_text(text ? text : "");
}

/* Exports the rows and writes the end of the file. */
static int export_cmd_write_rows(struct exporter *exporter, struct prserv *server)
{
    const struct export_options *options = exporter->options;
    const struct prserv_export request = {
        .version = export_cmd_filter(options->version),
        .pkgarch = export_cmd_filter(options->pkgarch),
        .checksum = export_cmd_filter(options->checksum),
        .history = options->all,
        .colinfo = true,
        .row = export_cmd_on_row,
        .metainfo = export_cmd_on_metainfo,
        .context = exporter,
    };
    struct prserv_error error;
    int result;

    prserv_set_export_time(server, (unsigned)(exporter->max_s * 1000));
    progress_begin(&exporter->progress, "exported");
    result = prserv_export(server, &request, &error);
    progress_clear(&exporter->progress);
    if (result == PRSERV_ERROR_STOPPED)
        return export_cmd_fail(exporter, CLI_FAILED);
    if (result != 0)
        return cli_report_error(&error);
    export_cmd_begin_file(exporter, (struct text){.bytes = NULL});
    if (exporter->writer->end(exporter->writer, &exporter->error) == 0)
        return CLI_OK;
    return export_cmd_fail(exporter, CLI_FAILED);
}

/* ---- the command ---- */

static int export_cmd_connect_and_write(struct exporter *exporter)
{
    struct prserv *server;
    int status = cli_connect(exporter->cli, &server);

    if (status == CLI_OK) {
        status = export_cmd_write_rows(exporter, server);
        prserv_close(server);
    }
    return status;
}

/* Puts the file in its place and reports what was left out. */
static int export_cmd_finish(struct exporter *exporter)
{
    const char *file = exporter->options->file;
    const bool prints_counts = exporter->cli->json && exporter->out.path;

    if (outfile_commit(&exporter->out, &exporter->error) != 0)
        return export_cmd_fail(exporter, CLI_FAILED);
    if (prints_counts)
        (void)printf("{\"rows\":%lu,\"left_out\":%lu}\n", exporter->rows, exporter->left_out);
    if (exporter->left_out == 0)
        return CLI_OK;
    (void)fprintf(stderr, "prserv: %lu left out of %s; json and csv hold everything\n",
        exporter->left_out, file ? file : "the output");
    return CLI_FAILED;
}

static int export_cmd_to_file(struct exporter *exporter, const char *format)
{
    struct row_writer *writer;
    int status;

    if (outfile_open(&exporter->out, exporter->options->file, &exporter->error) != 0)
        return export_cmd_fail(exporter, CLI_USAGE);
    writer = export_cmd_create_writer(exporter->options, format, exporter->out.file);
    if (writer) {
        writer->left_out = export_cmd_report_left_out;
        writer->context = exporter;
        exporter->writer = writer;
        status = export_cmd_connect_and_write(exporter);
    } else {
        status =
            cli_fail(exporter->cli, CLI_FAILED, "out of memory, or no space for a temporary file");
    }
    if (status == CLI_OK)
        status = export_cmd_finish(exporter);
    else
        outfile_discard(&exporter->out);
    row_writer_free(writer);
    return status;
}

static int export_cmd_run(struct cli *cli, int argc, char **argv)
{
    struct export_options values = {.format = NULL};
    struct exporter exporter = {.cli = cli, .options = &values, .max_s = PRSERV_EXPORT_MS / 1000.0};
    const struct cli_option options[] = {
        {"format", NULL, &values.format},
        {"all", &values.all, NULL},
        {"version", NULL, &values.version},
        {"pkgarch", NULL, &values.pkgarch},
        {"checksum", NULL, &values.checksum},
        {"lockdown", &values.lockdown, NULL},
        {"spreadsheet", &values.spreadsheet, NULL},
        {"max-time", NULL, &values.max_time},
        {NULL, NULL, NULL},
    };
    const struct cli_syntax syntax = {.options = options, .max_arguments = 1};
    struct cli_arguments arguments;
    const char *format;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    values.file = arguments.n > 0 ? arguments.items[0] : NULL;
    format = export_cmd_choose_format(cli, &values);
    status = export_cmd_check_options(cli, &values, format);
    if (status == CLI_OK && values.max_time)
        status = cli_read_seconds(cli, "max-time", values.max_time, 0, &exporter.max_s);
    return status == CLI_OK ? export_cmd_to_file(&exporter, format) : status;
}

const struct cli_command command_export = {
    .name = "export",
    .arguments = "[FILE] [--format conf|json|csv] [--all] [--version V] [--pkgarch A]\n"
                 "       [--checksum C] [--lockdown] [--spreadsheet] [--max-time SECONDS]",
    .summary = "write the server's rows to a file or to standard output",
    .help =
        "      --format conf   OE-core's format: PRAUTO$<version>$<pkgarch>$<checksum> = "
        "\"<value>\";\n"
        "                      the default, unless the name of FILE ends with .json or .csv\n"
        "      --format json   {\"metainfo\": {...}, \"datainfo\": [{\"version\", \"pkgarch\",\n"
        "                      \"checksum\", \"value\"}, ...]}, with one row on each line\n"
        "      --format csv    RFC 4180, with the header version,pkgarch,checksum,value\n"
        "      --all           export every row (history), not only the rows with the greatest\n"
        "                      value of their package\n"
        "      --version V     export only rows of this version\n"
        "      --pkgarch A     export only rows of this pkgarch\n"
        "      --checksum C    export only rows of this checksum; with --all, a conf file then\n"
        "                      has no PRAUTO_<version>_<pkgarch> lines\n"
        "      --lockdown      conf: add PRSERV_LOCKDOWN = \"1\", so that a build that includes "
        "the\n"
        "                      file does not ask a server\n"
        "      --spreadsheet   csv for a spreadsheet program: a cell that it would take for a\n"
        "                      formula (it begins with = + - @) gets an apostrophe before it.\n"
        "                      The header has capitals, and import refuses the file\n"
        "      --max-time SECONDS\n"
        "                      the longest time for the whole export [3600]; 0: no limit\n"
        "      --json          to standard output: --format json; to a FILE: print the number of\n"
        "                      rows that were read and of rows and lines that were left out\n"
        "\n"
        "FILE appears, or replaces an older file, when it is complete; after a failure the\n"
        "older file is unchanged. Without FILE, or with -, the rows go to standard output.\n"
        "On a terminal, control characters are printed as question marks.\n"
        "\n"
        "A conf file can hold what BitBake's parser accepts in a variable's name: ASCII\n"
        "letters, digits and -_+.${}/~: but no ${name}, no _append, _prepend or _remove, no\n"
        "override :append, :prepend or :remove at the end, and no $ in pkgarch or checksum.\n"
        "Other rows, and rows without a revision, are left out and reported on standard\n"
        "error, and the exit status is 1. json and csv hold everything.\n",
    .run = export_cmd_run,
};

/* export: the server's rows, as they come, to a file. */
#include "cli/commands.h"
#include "cli/outfile.h"
#include "cli/progress.h"
#include "cli/rows.h"

#include <stdio.h>
#include <string.h>

struct asked {
    const char *format;
    const char *version;
    const char *pkgarch;
    const char *checksum;
    bool all;
    bool lockdown;
    const char *file; /* NULL or "-": standard output */
};

struct exporting {
    struct row_writer *writer;
    const struct outfile *out; /* what it writes to */
    struct progress progress;
    bool begun;
    unsigned long rows;
    unsigned long left_out;
    struct error error; /* why the row callback did not go on */
};

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);

    return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static bool is_standard(const struct asked *asked)
{
    return !asked->file || strcmp(asked->file, "-") == 0;
}

/* The format that was asked for, or the one that fits the file's name. */
static const char *choose_format(const struct cli *cli, const struct asked *asked)
{
    if (asked->format)
        return asked->format;
    if (is_standard(asked))
        return cli->json ? "json" : "conf";
    if (ends_with(asked->file, ".json"))
        return "json";
    return ends_with(asked->file, ".csv") ? "csv" : "conf";
}

/* Of all rows, those of one checksum don't tell their packages' greatest values. */
static bool lacks_packages(const struct asked *asked)
{
    return asked->all && asked->checksum && asked->checksum[0] != '\0';
}

static struct row_writer *make_writer(const struct asked *asked, const char *format, FILE *file)
{
    if (strcmp(format, "json") == 0)
        return json_writer_new(file);
    return strcmp(format, "csv") == 0
               ? csv_writer_new(file)
               : conf_writer_new(file, asked->lockdown, !lacks_packages(asked));
}

/* ---- while it comes ---- */

static void name_left_out(void *context, struct text what, const char *why)
{
    struct exporting *exporting = context;

    progress_end(&exporting->progress);
    exporting->left_out++;
    (void)fprintf(stderr, "prserv: left out, conf can't hold it: %s\n  %.*s\n", why,
        (int)what.length, what.bytes);
}

static void begin(struct exporting *exporting, struct text metainfo)
{
    if (!exporting->begun)
        exporting->writer->begin(exporting->writer, metainfo);
    exporting->begun = true;
}

static int take_metainfo(void *context, struct prserv_text json)
{
    begin(context, field_text(json));
    return 0;
}

static int take_row(void *context, const struct prserv_row *row)
{
    struct exporting *exporting = context;
    int result;

    begin(exporting, (struct text){.bytes = NULL});
    exporting->rows++;
    progress_row(&exporting->progress, 0, 0);
    result = exporting->writer->row(exporting->writer, row, &exporting->error);
    if (result == 0 && ferror(exporting->writer->file))
        result = outfile_failed(exporting->out, &exporting->error);
    return result;
}

static struct prserv_text filter(const char *text)
{
    return prserv_text(text ? text : "");
}

static int export_rows(
    struct prserv *server, const struct asked *asked, struct exporting *exporting)
{
    const struct prserv_export export = {
        .version = filter(asked->version),
        .pkgarch = filter(asked->pkgarch),
        .checksum = filter(asked->checksum),
        .history = asked->all,
        .colinfo = true,
        .row = take_row,
        .metainfo = take_metainfo,
        .context = exporting,
    };
    struct prserv_error error;
    int result;

    progress_begin(&exporting->progress, "exported");
    result = prserv_export(server, &export, &error);
    progress_end(&exporting->progress);
    if (result == PRSERV_ERROR_STOPPED) {
        (void)fprintf(stderr, "prserv export: %s\n", exporting->error.text);
        return CLI_NO;
    }
    if (result != 0)
        return cli_failed(&error);
    begin(exporting, (struct text){.bytes = NULL});
    if (exporting->writer->end(exporting->writer, &exporting->error) == 0)
        return CLI_DONE;
    (void)fprintf(stderr, "prserv export: %s\n", exporting->error.text);
    return CLI_NO;
}

/* ---- before and after ---- */

static int finish(const struct cli *cli, const struct asked *asked, struct exporting *exporting,
    struct outfile *out)
{
    bool report = cli->json && out->path;

    if (outfile_commit(out, &exporting->error) != 0) {
        (void)fprintf(stderr, "prserv export: %s\n", exporting->error.text);
        return CLI_NO;
    }
    if (report)
        (void)printf("{\"rows\":%lu,\"left_out\":%lu}\n", exporting->rows, exporting->left_out);
    if (exporting->left_out > 0)
        (void)fprintf(stderr, "prserv: %lu left out of %s; json and csv hold everything\n",
            exporting->left_out, asked->file ? asked->file : "the output");
    return exporting->left_out > 0 ? CLI_NO : CLI_DONE;
}

static int connect_and_export(
    const struct cli *cli, const struct asked *asked, struct exporting *exporting)
{
    struct prserv *server;
    int status = cli_connect(cli, &server);

    if (status == CLI_DONE) {
        status = export_rows(server, asked, exporting);
        prserv_close(server);
    }
    return status;
}

static int export_to(const struct cli *cli, const struct asked *asked, const char *format)
{
    struct exporting exporting = {.begun = false};
    struct outfile out;
    int status;

    if (outfile_open(&out, asked->file, &exporting.error) != 0) {
        (void)fprintf(stderr, "prserv export: %s\n", exporting.error.text);
        return CLI_USAGE;
    }
    exporting.out = &out;
    exporting.writer = make_writer(asked, format, out.file);
    if (exporting.writer) {
        exporting.writer->left_out = name_left_out;
        exporting.writer->context = &exporting;
        status = connect_and_export(cli, asked, &exporting);
    } else {
        (void)fprintf(stderr, "prserv export: out of memory, or no room for a temporary file\n");
        status = CLI_NO;
    }
    if (status == CLI_DONE)
        status = finish(cli, asked, &exporting, &out);
    else
        outfile_discard(&out);
    row_writer_free(exporting.writer);
    return status;
}

static int run_export(struct cli *cli, int argc, char **argv)
{
    struct asked asked = {.format = NULL};
    const struct cli_option options[] = {
        {"format", NULL, &asked.format},
        {"all", &asked.all, NULL},
        {"version", NULL, &asked.version},
        {"pkgarch", NULL, &asked.pkgarch},
        {"checksum", NULL, &asked.checksum},
        {"lockdown", &asked.lockdown, NULL},
        {NULL, NULL, NULL},
    };
    const char *format;
    char **words;
    int n_words;
    int status;

    if (!cli_parse(cli, argc, argv, options, 0, 1, &words, &n_words, &status))
        return status;
    asked.file = n_words > 0 ? words[0] : NULL;
    format = choose_format(cli, &asked);
    if (strcmp(format, "conf") != 0 && strcmp(format, "json") != 0 && strcmp(format, "csv") != 0)
        return cli_misused(cli, "there is no format '%s': conf, json or csv", format);
    if (asked.lockdown && strcmp(format, "conf") != 0)
        return cli_misused(cli, "--lockdown is for the format conf");
    if (asked.lockdown && lacks_packages(&asked))
        return cli_misused(cli, "--lockdown needs every package's greatest value, which --all "
                                "with --checksum does not bring");
    if (cli->json && is_standard(&asked) && strcmp(format, "json") != 0)
        return cli_misused(cli, "--json on standard output is for the format json; or name a FILE");
    return export_to(cli, &asked, format);
}

const struct cli_command command_export = {
    .name = "export",
    .arguments = "[FILE] [--format conf|json|csv] [--all] [--version V] [--pkgarch A]\n"
                 "       [--checksum C] [--lockdown]",
    .summary = "write the server's rows to a file, or to standard output",
    .help =
        "      --format conf   OE-core's: PRAUTO$<version>$<pkgarch>$<checksum> = \"<value>\";\n"
        "                      the default, unless FILE ends with .json or .csv\n"
        "      --format json   {\"metainfo\": {...}, \"datainfo\": [{\"version\", \"pkgarch\",\n"
        "                      \"checksum\", \"value\"}, ...]}, a row on each line\n"
        "      --format csv    RFC 4180, with the header version,pkgarch,checksum,value\n"
        "      --all           every row (history), not only those with the greatest value of\n"
        "                      their package\n"
        "      --version V     only rows of this version\n"
        "      --pkgarch A     only rows of this pkgarch\n"
        "      --checksum C    only rows of this checksum; with --all, conf then has no\n"
        "                      PRAUTO_<version>_<pkgarch> lines\n"
        "      --lockdown      conf: write PRSERV_LOCKDOWN = \"1\" too, so that a build that\n"
        "                      includes the file asks no server\n"
        "      --json          to standard output: --format json; to a FILE: print how many\n"
        "                      rows were read, and how many things were left out\n"
        "\n"
        "FILE appears, or replaces an older one, when it is complete; after a failure the older\n"
        "one is as it was. Without FILE, or with -, standard output is written.\n"
        "\n"
        "conf holds what BitBake's parser can hold in the name of a variable: ASCII letters,\n"
        "digits and -_+.${}/~: but no ${name}, no _append, _prepend or _remove, no override\n"
        ":append, :prepend or :remove at the end, and no $ in pkgarch or checksum. Rows with\n"
        "anything else, and rows without a revision, are named on standard error and left out,\n"
        "and the exit status is 1. json and csv hold everything.\n",
    .run = run_export,
};

/* SPDX-License-Identifier: MIT */
/* diff: loads the rows of both origins into one row set and prints the rows that only one of them
 * has. The row set returns them sorted, so the rows of one checksum come together. */
#include "base/address.h"
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/row_load.h"
#include "cli/rows/rows.h"
#include "wire/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST 1
#define SECOND 2
#define DIFF_TROUBLE CLI_USAGE /* for failures, since exit status 1 means that they differ */

/* The output. It collects the values of one checksum before it prints them. */
struct diff_output {
    const struct cli *cli;
    unsigned long differences;
    struct buffer key;       /* version, pkgarch and checksum, as they are printed */
    struct buffer values[2]; /* values that only the first has, or only the second; with commas */
    bool failed;             /* out of memory */
};

static int diff_fail(const struct cli *cli, const struct error *error)
{
    return cli_fail(cli, DIFF_TROUBLE, "%s", error->text);
}

/* ---- output ---- */

/* Appends a text as it is, or as a JSON string if it could be misread. */
static void diff_append_plain(struct buffer *out, struct text text)
{
    bool plain = text.length > 0;

    for (size_t i = 0; i < text.length && plain; i++)
        plain = text.bytes[i] > ' ' && text.bytes[i] < 0x7f && !strchr("\"\\,", text.bytes[i]);
    if (plain)
        buffer_append_text(out, text);
    else
        codec_write_string(out, text);
}

static void diff_append_field(const struct cli *cli, struct buffer *out, struct text text)
{
    if (cli->json)
        codec_write_string(out, text);
    else
        diff_append_plain(out, text);
}

static void diff_make_key(const struct cli *cli, struct buffer *key, const struct row *row)
{
    const struct text fields[] = {row->version, row->pkgarch, row->checksum};
    static const char *const names[] = {"\"version\":", ",\"pkgarch\":", ",\"checksum\":"};

    for (int i = 0; i < 3; i++) {
        buffer_append_string(key, cli->json ? names[i] : (i > 0 ? " " : ""));
        diff_append_field(cli, key, fields[i]);
    }
}

static void diff_print(const struct buffer *buffer)
{
    if (buffer->length > 0)
        (void)fwrite(buffer->bytes, 1, buffer->length, stdout);
}

/* - KEY VALUE   + KEY VALUE   ! KEY VALUE -> VALUE */
static void diff_print_line(const struct diff_output *output)
{
    const struct buffer *first = &output->values[0];
    const struct buffer *second = &output->values[1];
    const bool has_both = first->length > 0 && second->length > 0;

    (void)fputs(has_both ? "! " : first->length > 0 ? "- " : "+ ", stdout);
    diff_print(&output->key);
    (void)fputs(" ", stdout);
    diff_print(first);
    (void)fputs(has_both ? " -> " : "", stdout);
    diff_print(second);
    (void)fputs("\n", stdout);
}

static void diff_print_json(const struct diff_output *output)
{
    (void)fputs(output->differences > 0 ? ",\n{" : "\n{", stdout);
    diff_print(&output->key);
    (void)fputs(",\"first\":[", stdout);
    diff_print(&output->values[0]);
    (void)fputs("],\"second\":[", stdout);
    diff_print(&output->values[1]);
    (void)fputs("]}", stdout);
}

/* Prints the checksum whose values were collected, if any. */
static void diff_flush_checksum(struct diff_output *output)
{
    if (output->values[0].length == 0 && output->values[1].length == 0)
        return;
    if (output->cli->json)
        diff_print_json(output);
    else
        diff_print_line(output);
    output->differences++;
    for (int i = 0; i < 2; i++)
        buffer_reset(&output->values[i], BUFFER_KEEP_BYTES);
}

/* Collects a row that only one of both has. */
static void diff_add_row(void *context, const struct row *row, int origins)
{
    struct diff_output *output = context;
    struct buffer *values = &output->values[origins == FIRST ? 0 : 1];
    struct buffer key = BUFFER_EMPTY;

    diff_make_key(output->cli, &key, row);
    if (!text_equal(buffer_text(&key), buffer_text(&output->key)))
        diff_flush_checksum(output);
    buffer_free(&output->key);
    output->key = key;
    if (values->length > 0)
        buffer_append_string(values, ",");
    if (!row->value.bytes)
        buffer_append_string(values, "null");
    else
        diff_append_field(output->cli, values, row->value);
    output->failed = output->failed || buffer_failed(&output->key) || buffer_failed(values);
}

static int diff_print_all(const struct cli *cli, struct row_set *set)
{
    struct diff_output output = {.cli = cli};
    struct error error;
    int result;

    if (cli->json)
        (void)fputs("{\"differences\":[", stdout);
    result = row_set_each_not_in_all(set, FIRST | SECOND, diff_add_row, &output, &error);
    diff_flush_checksum(&output);
    if (cli->json)
        (void)printf("],\"same\":%s}\n", output.differences == 0 ? "true" : "false");
    buffer_free(&output.key);
    buffer_free(&output.values[0]);
    buffer_free(&output.values[1]);
    if (result == 0 && output.failed)
        result = error_set_memory(&error);
    if (result != 0)
        return diff_fail(cli, &error);
    if (fflush(stdout) != 0 || ferror(stdout))
        return DIFF_TROUBLE; /* cli_finish reports it */
    return output.differences == 0 ? CLI_OK : CLI_FAILED;
}

/* ---- loading ---- */

static bool diff_is_file(const char *name)
{
    if (strncmp(name, "unix://", strlen("unix://")) == 0 ||
        strncmp(name, "tls://", strlen("tls://")) == 0)
        return false;
    return strcmp(name, "-") == 0 || strchr(name, '/') || access(name, F_OK) == 0;
}

static int diff_load_server(
    const struct cli *cli, struct row_set *set, int origin, const char *address, bool history)
{
    struct cli with_address = *cli;
    struct prserv *server;
    struct address parsed;
    struct error error;
    int status;

    if (address_parse(&parsed, address, &error) != 0)
        return cli_fail(
            cli, DIFF_TROUBLE, "the file %s does not exist, and %s", address, error.text);
    with_address.server = address;
    status = cli_connect(&with_address, &server);
    if (status != CLI_OK)
        return status == CLI_FAILED ? DIFF_TROUBLE : status;
    status = row_load_server(set, origin, server, NULL, history);
    prserv_close(server);
    return status == CLI_FAILED ? DIFF_TROUBLE : status;
}

/* Loads both, files first: a server is compared with all its rows only if the file has history. */
static int diff_load_both(const struct cli *cli, struct row_set *set, char **names, bool all)
{
    bool history = all || (!diff_is_file(names[0]) && !diff_is_file(names[1]));
    struct error error;

    for (int i = 0; i < 2; i++) {
        if (diff_is_file(names[i]) && row_load_file(set, i + 1, names[i]) != CLI_OK)
            return DIFF_TROUBLE;
    }
    if (!history && row_set_has_history(set, &history, &error) != 0)
        return diff_fail(cli, &error);
    for (int i = 0; i < 2; i++) {
        int status =
            diff_is_file(names[i]) ? CLI_OK : diff_load_server(cli, set, i + 1, names[i], history);

        if (status != CLI_OK)
            return status;
    }
    return CLI_OK;
}

static int diff_run(struct cli *cli, int argc, char **argv)
{
    bool all = false;
    const struct cli_option options[] = {{"all", &all, NULL}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {.options = options, .min_arguments = 2, .max_arguments = 2};
    struct cli_arguments arguments;
    char **names;
    struct row_set *set;
    struct error error;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    names = arguments.items;
    if (strcmp(names[0], "-") == 0 && strcmp(names[1], "-") == 0)
        return cli_usage_error(cli, "standard input can't be compared with itself");
    if (row_set_open(&set, &error) != 0)
        return diff_fail(cli, &error);
    status = diff_load_both(cli, set, names, all);
    if (status == CLI_OK)
        status = diff_print_all(cli, set);
    row_set_close(set);
    return status;
}

const struct cli_command command_diff = {
    .name = "diff",
    .arguments = "SERVER_OR_FILE SERVER_OR_FILE [--all]",
    .summary = "compare the rows of two servers or exported files",
    .help =
        "Each of the two is a server (HOST:PORT, [IPv6]:PORT, unix:///PATH) or a file: a name\n"
        "that exists as a file, has a slash, or is - (standard input). Files are those that\n"
        "import takes, SQLite databases among them.\n"
        "\n"
        "diff prints a line for each checksum that differs, sorted:\n"
        "\n"
        "    - VERSION PKGARCH CHECKSUM VALUE            only the first has it\n"
        "    + VERSION PKGARCH CHECKSUM VALUE            only the second has it\n"
        "    ! VERSION PKGARCH CHECKSUM VALUE -> VALUE   the revisions differ\n"
        "\n"
        "Several values of a checksum are separated by commas. Fields with blanks, quotes,\n"
        "commas or control characters are printed as JSON strings.\n"
        "\n"
        "Two servers are compared with all their rows. A file without history (written by\n"
        "export without --all: each package has one revision) is compared with what the\n"
        "server would export without --all; a file with history is compared with all rows of\n"
        "the server.\n"
        "\n"
        "      --all    always compare with all rows of the server\n"
        "      --json   print {\"differences\": [{\"version\", \"pkgarch\", \"checksum\",\n"
        "               \"first\": [values that only the first has], \"second\": [...]}, ...],\n"
        "               \"same\": true or false}\n"
        "\n"
        "Exit status: 0 they are equal, 1 they differ, 2 the command line or a file can't be\n"
        "used or the server refused the request, 3 no connection.\n",
    .run = diff_run,
};

/* diff: both sides are brought to one shelf, row by row; what only one has is left. The
 * rows that differ come sorted, so those of one checksum are shown together. */
#include "base/address.h"
#include "cli/commands.h"
#include "cli/rows.h"
#include "cli/side.h"
#include "wire/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST 1
#define SECOND 2
#define TROUBLE CLI_USAGE /* where 1 would mean that they differ */

/* The differences of one checksum: which values only the first has, only the second. */
struct showing {
    const struct cli *cli;
    unsigned long differences;
    struct buffer key;       /* of the checksum under way: its three fields, encoded */
    struct buffer values[2]; /* as text, or as JSON, separated by commas; empty: none */
    bool failed;
};

/* ---- showing ---- */

/* As it is, or as a JSON string if that could be misread. */
static void show_text(struct buffer *out, struct text text)
{
    bool plain = text.length > 0;

    for (size_t i = 0; i < text.length && plain; i++)
        plain = text.bytes[i] > ' ' && text.bytes[i] < 0x7f && !strchr("\"\\,", text.bytes[i]);
    if (plain)
        buffer_append_text(out, text);
    else
        codec_write_string(out, text);
}

static void write_text(const struct cli *cli, struct buffer *out, struct text text)
{
    if (cli->json)
        codec_write_string(out, text);
    else
        show_text(out, text);
}

static void make_key(const struct cli *cli, struct buffer *key, const struct prserv_row *row)
{
    const struct text fields[] = {
        field_text(row->version), field_text(row->pkgarch), field_text(row->checksum)};
    static const char *const names[] = {"\"version\":", ",\"pkgarch\":", ",\"checksum\":"};

    for (int i = 0; i < 3; i++) {
        buffer_append_string(key, cli->json ? names[i] : (i > 0 ? " " : ""));
        write_text(cli, key, fields[i]);
    }
}

static void print(struct buffer *buffer)
{
    if (buffer->length > 0)
        (void)fwrite(buffer->bytes, 1, buffer->length, stdout);
}

/* Prints the checksum under way, if there is one. */
static void end_checksum(struct showing *showing)
{
    struct buffer *first = &showing->values[0];
    struct buffer *second = &showing->values[1];
    bool json = showing->cli->json;

    if (first->length == 0 && second->length == 0)
        return;
    if (json)
        (void)fputs(showing->differences > 0 ? ",\n{" : "\n{", stdout);
    else
        (void)fputs(second->length == 0 ? "- " : first->length == 0 ? "+ " : "! ", stdout);
    showing->differences++;
    print(&showing->key);
    (void)fputs(json ? ",\"first\":[" : " ", stdout);
    print(first);
    if (json)
        (void)fputs("],\"second\":[", stdout);
    else if (first->length > 0 && second->length > 0)
        (void)fputs(" -> ", stdout);
    print(second);
    (void)fputs(json ? "]}" : "\n", stdout);
    for (int i = 0; i < 2; i++)
        buffer_reset(&showing->values[i], (size_t)64 * 1024);
}

static void show_row(void *context, const struct prserv_row *row, int sides)
{
    struct showing *showing = context;
    struct buffer *values = &showing->values[sides == FIRST ? 0 : 1];
    struct buffer key = BUFFER_EMPTY;

    make_key(showing->cli, &key, row);
    if (!text_equal(buffer_text(&key), buffer_text(&showing->key)))
        end_checksum(showing);
    buffer_free(&showing->key);
    showing->key = key;
    if (values->length > 0)
        buffer_append_string(values, ",");
    if (!row->value.bytes)
        buffer_append_string(values, "null");
    else
        write_text(showing->cli, values, field_text(row->value));
    showing->failed = showing->failed || buffer_failed(&showing->key) || buffer_failed(values);
}

static int show(const struct cli *cli, struct shelf *shelf)
{
    struct showing showing = {.cli = cli};
    struct error error;
    int result;

    if (cli->json)
        (void)fputs("{\"differences\":[", stdout);
    result = shelf_each_lacking(shelf, FIRST | SECOND, show_row, &showing, &error);
    end_checksum(&showing);
    if (cli->json)
        (void)printf("],\"same\":%s}\n", showing.differences == 0 ? "true" : "false");
    buffer_free(&showing.key);
    buffer_free(&showing.values[0]);
    buffer_free(&showing.values[1]);
    if (result == 0 && showing.failed)
        result = error_set_memory(&error);
    if (result != 0) {
        (void)fprintf(stderr, "prserv diff: %s\n", error.text);
        return TROUBLE;
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        return TROUBLE; /* which main explains */
    return showing.differences == 0 ? CLI_DONE : CLI_NO;
}

/* ---- the sides ---- */

static bool is_file(const char *name)
{
    if (strncmp(name, "unix://", strlen("unix://")) == 0)
        return false;
    return strcmp(name, "-") == 0 || strchr(name, '/') || access(name, F_OK) == 0;
}

static int add_server(
    const struct cli *cli, struct shelf *shelf, int side, const char *address, bool history)
{
    struct cli asked = *cli;
    struct prserv *server;
    struct address parsed;
    struct error error;
    int status;

    if (address_parse(&parsed, address, &error) != 0) {
        (void)fprintf(stderr, "prserv diff: no file %s is there, and %s\n", address, error.text);
        return TROUBLE;
    }
    asked.server = address;
    status = cli_connect(&asked, &server);
    if (status != CLI_DONE)
        return status == CLI_NO ? TROUBLE : status;
    status = side_add_server(shelf, side, server, NULL, history);
    prserv_close(server);
    return status == CLI_NO ? TROUBLE : status;
}

/* Files first: whether they hold history says what of a server they are compared with. */
static int add_sides(const struct cli *cli, struct shelf *shelf, char **names, bool all)
{
    bool history = all || (!is_file(names[0]) && !is_file(names[1]));
    struct error error;

    for (int i = 0; i < 2; i++) {
        int status = is_file(names[i]) ? side_add_file(shelf, i + 1, names[i]) : CLI_DONE;

        if (status != CLI_DONE)
            return TROUBLE;
    }
    if (!history && shelf_has_history(shelf, &history, &error) != 0) {
        (void)fprintf(stderr, "prserv diff: %s\n", error.text);
        return TROUBLE;
    }
    for (int i = 0; i < 2; i++) {
        int status =
            is_file(names[i]) ? CLI_DONE : add_server(cli, shelf, i + 1, names[i], history);

        if (status != CLI_DONE)
            return status;
    }
    return CLI_DONE;
}

static int run_diff(struct cli *cli, int argc, char **argv)
{
    bool all = false;
    const struct cli_option options[] = {{"all", &all, NULL}, {NULL, NULL, NULL}};
    struct shelf *shelf;
    struct error error;
    char **names;
    int n_names;
    int status;

    if (!cli_parse(cli, argc, argv, options, 2, 2, &names, &n_names, &status))
        return status;
    if (strcmp(names[0], "-") == 0 && strcmp(names[1], "-") == 0)
        return cli_misused(cli, "standard input can't be both sides");
    if (shelf_open(&shelf, &error) != 0) {
        (void)fprintf(stderr, "prserv diff: %s\n", error.text);
        return TROUBLE;
    }
    status = add_sides(cli, shelf, names, all);
    if (status == CLI_DONE)
        status = show(cli, shelf);
    shelf_close(shelf);
    return status;
}

const struct cli_command command_diff = {
    .name = "diff",
    .arguments = "SERVER_OR_FILE SERVER_OR_FILE [--all]",
    .summary = "compare the rows of two servers or exported files",
    .help =
        "Either side is a server (HOST:PORT, [IPv6]:PORT, unix:///PATH) or a file: a name that\n"
        "exists as one, has a slash, or is - (standard input). Formats as in import.\n"
        "\n"
        "A line for each checksum that differs, sorted:\n"
        "\n"
        "    - VERSION PKGARCH CHECKSUM VALUE            only the first has it\n"
        "    + VERSION PKGARCH CHECKSUM VALUE            only the second has it\n"
        "    ! VERSION PKGARCH CHECKSUM VALUE -> VALUE   the revisions differ\n"
        "\n"
        "Several values of a checksum are joined by commas; fields that hold blanks, quotes or\n"
        "the like stand as JSON strings.\n"
        "\n"
        "Two servers are compared with all their rows. A file without history (as export writes\n"
        "it without --all: each package has one revision) is compared with what the server would\n"
        "export without --all, one with history with all its rows.\n"
        "\n"
        "      --all    compare with all rows of the server in any case\n"
        "      --json   print {\"differences\": [{\"version\", \"pkgarch\", \"checksum\",\n"
        "               \"first\": [values that only the first has], \"second\": [...]}, ...],\n"
        "               \"same\": true or false}\n"
        "\n"
        "Exit status: 0 they are the same, 1 they differ, 2 the command line or a file can't be\n"
        "used or the server said no, 3 no connection.\n",
    .run = run_diff,
};

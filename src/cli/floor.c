/* SPDX-License-Identifier: MIT */
/* floor: raises the greatest revision of a package with a row that is not a content
 * (doc/semantics.md, "Floors"). This file has the command and the floor of one package, floor_all.c
 * the floors of all. */
#include "revision/floor.h"
#include "cli/commands.h"
#include "cli/connect.h"
#include "cli/floor_all.h"
#include "revision/revision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one package ---- */

/* Prints what was stored, or that nothing was: before is the greatest revision, or NULL. */
static void floor_print(const struct cli *cli, const char *before, const char *value, bool stored)
{
    const char *greatest = stored ? value : before;

    if (cli->json && before)
        (void)printf("{\"stored\":%s,\"before\":\"%s\",\"greatest\":\"%s\"}\n",
            stored ? "true" : "false", before, greatest);
    else if (cli->json)
        (void)printf("{\"stored\":true,\"before\":null,\"greatest\":\"%s\"}\n", greatest);
    else if (stored)
        (void)printf("raised from %s to %s\n", before ? before : "nothing", value);
    else
        (void)printf(
            "nothing was stored: the greatest revision is %s, not below %s\n", before, value);
}

static int floor_store(
    const struct cli *cli, struct prserv *server, char **package, const char *value)
{
    char *checksum = floor_checksum(value);
    struct prserv_row row = {.version = prserv_text(package[0]),
        .pkgarch = prserv_text(package[1]),
        .value = prserv_text(value)};
    struct prserv_error error;
    int status = CLI_OK;

    if (!checksum)
        return cli_fail(cli, CLI_FAILED, "out of memory");
    row.checksum = prserv_text(checksum);
    if (prserv_import_one(server, &row, &error) != 0)
        status = cli_report_error(&error);
    free(checksum);
    return status;
}

static int floor_raise_package(const struct cli *cli, struct prserv *server, char **package)
{
    const char *value = package[2];
    struct prserv_error error;
    char *before;
    bool is_above;
    int status = CLI_OK;

    if (prserv_max_package_pr(
            server, prserv_text(package[0]), prserv_text(package[1]), &before, &error) != 0)
        return cli_report_error(&error);
    is_above = !before || revision_compare(value, before) > 0;
    if (is_above)
        status = floor_store(cli, server, package, value);
    if (status == CLI_OK)
        floor_print(cli, before, value, is_above);
    free(before);
    return status;
}

/* ---- the command ---- */

static bool floor_is_margin(const char *margin)
{
    return revision_is_valid(margin, strlen(margin)) && !strchr(margin, '.') &&
           strcmp(margin, "0") != 0;
}

struct floor_options {
    bool all;
    const char *margin;     /* NULL: not given */
    const char *audit_file; /* likewise */
};

/* Returns CLI_OK, or reports which arguments are missing, too many or invalid. */
static int floor_check_arguments(const struct cli *cli, const struct cli_arguments *arguments,
    const struct floor_options *options)
{
    const char *value = arguments->n == 3 ? arguments->items[2] : NULL;
    const char *margin = options->margin;
    const bool all = options->all || options->audit_file;

    if (options->all && options->audit_file)
        return cli_usage_error(cli, "--all and --from-audit exclude each other");
    if (!options->audit_file && options->all != (margin != NULL))
        return cli_usage_error(cli, "--all and --margin need each other");
    if (all ? arguments->n != 0 : !value)
        return cli_usage_error(cli, "wrong number of arguments: %s", cli->command->arguments);
    if (margin && !floor_is_margin(margin))
        return cli_usage_error(cli, "--margin '%s' is not a number above 0", margin);
    if (value && !revision_is_valid(value, strlen(value)))
        return cli_usage_error(cli,
            "'%s' is not a revision (decimal numbers joined by dots, such as 3 or 1.2)", value);
    return CLI_OK;
}

/* Returns CLI_OK if the server stores rows; otherwise reports why not. */
static int floor_check_server(const struct cli *cli, struct prserv *server)
{
    struct prserv_error error;
    bool read_only;

    if (prserv_is_readonly(server, &read_only, &error) != 0)
        return cli_report_error(&error);
    if (!read_only)
        return CLI_OK;
    return cli_fail(cli, CLI_FAILED, "%s is read-only; nothing was stored", prserv_address(server));
}

static int floor_run(struct cli *cli, int argc, char **argv)
{
    struct floor_options given = {.all = false};
    const struct cli_option options[] = {{"all", &given.all, NULL}, {"margin", NULL, &given.margin},
        {"from-audit", NULL, &given.audit_file}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {.options = options, .max_arguments = 3};
    struct cli_arguments arguments;
    struct prserv *server;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    status = floor_check_arguments(cli, &arguments, &given);
    if (status == CLI_OK)
        status = cli_connect(cli, &server);
    if (status != CLI_OK)
        return status;
    status = floor_check_server(cli, server);
    if (status == CLI_OK && given.audit_file)
        status = floor_from_audit(cli, server, given.audit_file, given.margin);
    else if (status == CLI_OK && given.all)
        status = floor_all(cli, server, given.margin);
    else if (status == CLI_OK)
        status = floor_raise_package(cli, server, arguments.items);
    prserv_close(server);
    return status;
}

const struct cli_command command_floor = {
    .name = "floor",
    .arguments = "VERSION PKGARCH VALUE | --all --margin N | --from-audit FILE [--margin N]",
    .summary = "raise the greatest revision of a package, or of all",
    .help =
        "A floor is a row that raises the greatest revision of its package and is not a\n"
        "content: new content gets more than VALUE. Store floors after rows were lost, above\n"
        "every revision that may have been published, so that none is given twice.\n"
        "\n"
        "A VALUE that is not above the greatest revision stores nothing. Floors can't be\n"
        "removed.\n"
        "\n"
        "      --all        raise every package of the server by N on its last number: with\n"
        "                   --margin 5, 7 becomes 12 and 1.9 becomes 1.14\n"
        "      --from-audit FILE\n"
        "                   raise the packages whose greatest revision in an audit log is not in\n"
        "                   the database: to that revision, plus N. FILE is FILE-audit of the\n"
        "                   lost database, or a PostgreSQL URI\n"
        "      --margin N   more than the number of revisions that a package may have got since\n"
        "                   the database was copied\n"
        "      --json       print {\"stored\", \"before\", \"greatest\"}, or with --all\n"
        "                   {\"raised\", \"refused\", \"margin\", \"accepted\"}\n"
        "\n"
        "Each run with --all raises all packages again, also after an interrupted run. Packages\n"
        "that are not in the database, because they are newer than its copy, are not covered.\n"
        "If the server refuses new content because its database went back to an older state,\n"
        "--all or --from-audit ends that.\n",
    .run = floor_run,
};

/* SPDX-License-Identifier: MIT */
/* verify: checks a database. This file has the command; verify_sqlite.c checks a file,
 * verify_rows.c the rows of PostgreSQL and of servers. */
#include "cli/commands.h"
#include "cli/verify/findings.h"
#include "cli/verify/verify_mark.h"
#include "cli/verify/verify_rows.h"
#include "cli/verify/verify_sqlite.h"
#include "store/store.h"

#define NAME_BYTES 256

/* Prints what was found. Returns the exit status. */
static int verify_report(
    const struct cli *cli, const struct findings *findings, const char *database)
{
    if (!findings_print(findings, database))
        return cli_fail(cli, CLI_USAGE, "out of memory");
    return findings_count(findings) == 0 ? CLI_OK : CLI_FAILED;
}

static int verify_check(const struct cli *cli, struct findings *findings, const char *file)
{
    int status;

    if (file && store_kind_of(file) == STORE_SQLITE)
        return verify_sqlite(findings, file);
    status = verify_rows(cli, findings, file);
    return status == CLI_OK && !file ? verify_mark_server(cli, findings) : status;
}

static int verify_run(struct cli *cli, int argc, char **argv)
{
    const struct cli_syntax syntax = {.max_arguments = 1};
    struct cli_arguments arguments;
    struct findings findings = {.json = false};
    char name[NAME_BYTES];
    const char *file;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    file = arguments.n > 0 ? arguments.items[0] : NULL;
    findings.json = cli->json;
    if (file)
        store_name(file, name, sizeof name);
    status = verify_check(cli, &findings, file);
    if (status == CLI_OK)
        status = verify_report(cli, &findings, file ? name : cli->server);
    findings_deinit(&findings);
    return status;
}

const struct cli_command command_verify = {
    .name = "verify",
    .arguments = "[FILE|URI]",
    .summary = "check the rows of a database or a server",
    .help =
        "FILE is an SQLite database, URI a PostgreSQL database (postgresql://USER@HOST/DATABASE\n"
        "or a connection string). Servers may use it meanwhile; nothing is changed. Without an\n"
        "argument, verify checks the rows that the server exports (--server, $PRSERV_HOST).\n"
        "\n"
        "    damage         SQLite's integrity check has found something; URI: rows without their\n"
        "                   package, or with another row's hash\n"
        "    schema         the tables, their columns, keys or triggers are not as they should be\n"
        "    invalid row    the value is not a revision; servers ignore the row\n"
        "    shared value   a value of a package belongs to two contents; import can store such\n"
        "                   rows, and so can two servers that ran on copies of one database\n"
        "    old row        FILE: a table of BitBake 2.8 or older has a row that PRMAIN lacks; "
        "the\n"
        "                   next start of prservd takes it over\n"
        "    mark           the database went back to an older state, or FILE is another one than\n"
        "                   before\n"
        "\n"
        "The first 20 findings of each kind are printed, and the number of the others. Floors may\n"
        "share a value with contents.\n"
        "\n"
        "      --json   print {\"database\", \"rows\", \"checked\": [kinds], \"findings\": {kind:\n"
        "               {\"count\", \"first\": [{\"text\", \"version\", ...}]}}, \"clean\"}\n"
        "\n"
        "Exit status: 0 nothing was found, 1 something was found, 2 the command line is wrong or\n"
        "the database can't be read, 3 no connection to the server or to PostgreSQL.\n",
    .run = verify_run,
};

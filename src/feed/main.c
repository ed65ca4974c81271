/* SPDX-License-Identifier: MIT */
/* prserv-feed: compares package feeds with a PR server. prserv feed runs it. It is a program of its
 * own because it needs libraries that prserv does not. */
#include "feed/feed_commands.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static const struct cli_command *const commands[] = {
    &command_feed_check, &command_feed_rows, &command_feed_list};

#define N_COMMANDS (sizeof commands / sizeof *commands)

static void feed_main_print_help(void)
{
    (void)printf("Usage: prserv feed [--server ADDRESS] [--timeout SECONDS] [--json] COMMAND "
                 "FEED... [OPTION]...\n"
                 "Compare a package feed with the PR server, and raise the server to it.\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        (void)printf("  %-6s %s\n", commands[i]->name, commands[i]->summary);
    (void)printf("\n"
                 "FEED is a folder, which is searched for indexes and, where there are none, for\n"
                 "packages; an index: Packages of opkg or Debian (also compressed), repomd.xml or\n"
                 "primary.xml of rpm; a package: .ipk, .deb or .rpm; or what a build keeps:\n"
                 "tmp/pkgdata/<machine>, or the folder of buildhistory.\n"
                 "\n"
                 "      --version        print the version\n"
                 "  -h, --help           print this help; after a command, the command's help\n"
                 "\n"
                 "prserv --help names the options for the connection.\n");
}

static int feed_main_run(struct cli *cli, int argc, char **argv)
{
    bool version = false;
    const struct cli_option options[] = {{"version", &version, NULL}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {
        .options = options, .max_arguments = INT_MAX, .print_help = feed_main_print_help};
    struct cli_arguments arguments;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    if (version) {
        cli_print_version(cli);
        return CLI_OK;
    }
    if (arguments.n == 0)
        return cli_usage_error(cli, "no command was given: check, rows or list");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i]->name, arguments.items[0]) == 0) {
            cli->command = commands[i];
            return cli->command->run(cli, arguments.n, arguments.items);
        }
    }
    return cli_usage_error(cli, "unknown command '%s'", arguments.items[0]);
}

int main(int argc, char **argv)
{
    struct cli cli;

    cli_init(&cli, "prserv feed");
    return cli_finish(&cli, feed_main_run(&cli, argc, argv));
}

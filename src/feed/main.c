/* SPDX-License-Identifier: MIT */
/* prserv-feed: compares package feeds with a PR server. prserv feed runs it. It is a program of its
 * own because it needs libraries that prserv does not. */
#include "feed/feed_commands.h"

#include <stdio.h>

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
                 "FEED is a folder, which is searched for indexes and for packages that no index\n"
                 "names; an index: Packages of opkg or Debian (also compressed), repomd.xml or\n"
                 "primary.xml of rpm; a package: .ipk, .deb or .rpm; or the data of a build:\n"
                 "tmp/pkgdata/<machine>, or the folder of buildhistory.\n"
                 "\n"
                 "      --version        print the version\n"
                 "  -h, --help           print this help; after a command, the command's help\n"
                 "\n"
                 "prserv --help names the options for the connection.\n");
}

int main(int argc, char **argv)
{
    struct cli cli;

    cli_init(&cli, "prserv feed");
    return cli_finish(
        &cli, cli_run_command(&cli, commands, N_COMMANDS, feed_main_print_help, argc, argv));
}

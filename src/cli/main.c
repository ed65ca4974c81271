/* SPDX-License-Identifier: MIT */
/* prserv: finds the command and runs it. */
#include "cli/cli.h"
#include "cli/commands.h"

#include <stdio.h>

static const struct cli_command *const commands[] = {&command_ping, &command_get, &command_test,
    &command_max, &command_export, &command_import, &command_diff, &command_floor, &command_migrate,
    &command_verify, &command_log, &command_why, &command_churn, &command_status, &command_feed,
    &command_bench};

#define N_COMMANDS (sizeof commands / sizeof *commands)

static void cli_main_print_help(void)
{
    (void)printf(
        "Usage: prserv [--server ADDRESS] [--timeout SECONDS] [--json] COMMAND [ARGUMENT]...\n"
        "Query and administer a PR server, and copy its rows.\n\n");
    for (size_t i = 0; i < N_COMMANDS; i++)
        (void)printf("  %-8s %s\n", commands[i]->name, commands[i]->summary);
    (void)printf(
        "\n"
        "      --server ADDRESS  HOST:PORT, [IPv6]:PORT, tls://HOST:PORT or unix:///PATH\n"
        "                        [$PRSERV_HOST, or 127.0.0.1:8585]\n"
        "      --timeout SECONDS the longest wait for a connection, and for each answer [120;\n"
        "                        ping and status: 10]\n"
        "      --tls-ca FILE     for an address tls://HOST:PORT: who signs the server's "
        "certificate\n"
        "                        [$PRSERV_TLS_CA, or the system's]\n"
        "      --tls-cert FILE, --tls-key FILE\n"
        "                        certificate and key to show to the server [$PRSERV_TLS_CERT,\n"
        "                        $PRSERV_TLS_KEY, or none]\n"
        "      --json            print one JSON value, for scripts\n"
        "      --version         print the version\n"
        "  -h, --help            print this help; after a command, the command's help\n"
        "\n"
        "Exit status: 0 success, 1 the server refused the request or nothing was found, 2 the\n"
        "command line or a file that it names can't be used, 3 no connection.\n");
}

int main(int argc, char **argv)
{
    struct cli cli;

    cli_init(&cli, "prserv");
    return cli_finish(
        &cli, cli_run_command(&cli, commands, N_COMMANDS, cli_main_print_help, argc, argv));
}

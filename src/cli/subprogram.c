/* SPDX-License-Identifier: MIT */
/* bench and feed: commands that are programs of their own. */
#include "cli/commands.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Writes the path of a program beside this one. Returns false if it can't be told. */
static bool subprogram_find_beside(char path[PATH_MAX], const char *program)
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    char *slash = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;

    if (!slash || slash + 1 + strlen(program) >= path + PATH_MAX)
        return false;
    memcpy(slash + 1, program, strlen(program) + 1);
    return true;
}

/* Replaces this process. Returns only on failure. */
static int subprogram_exec(
    const struct cli *cli, const char *program, const char *hint, char **arguments)
{
    char path[PATH_MAX];

    if (subprogram_find_beside(path, program))
        (void)execv(path, arguments);
    (void)execvp(program, arguments);
    return cli_fail(cli, CLI_FAILED, "can't run %s: %s; %s", program, strerror(errno), hint);
}

/* Names the files of --tls-ca and so on in the environment. Returns false without memory. */
static bool subprogram_pass_files(const struct cli *cli)
{
    return (!cli->tls_ca || setenv("PRSERV_TLS_CA", cli->tls_ca, 1) == 0) &&
           (!cli->tls_certificate || setenv("PRSERV_TLS_CERT", cli->tls_certificate, 1) == 0) &&
           (!cli->tls_key || setenv("PRSERV_TLS_KEY", cli->tls_key, 1) == 0);
}

/* Runs a program with the options that prserv was given, and the arguments of the command. Returns
 * only on failure. */
static int subprogram_run(
    const struct cli *cli, const char *program, const char *hint, int argc, char **argv)
{
    char **arguments = calloc((size_t)argc + 6, sizeof *arguments);
    char *server = strdup(cli->server);
    char *name = strdup(program);
    char server_option[] = "--server";
    char json_option[] = "--json";
    char timeout_option[] = "--timeout";
    char *timeout = cli->timeout ? strdup(cli->timeout) : NULL;
    size_t n = 0;
    int status;

    if (arguments && server && name && (timeout || !cli->timeout) && subprogram_pass_files(cli)) {
        arguments[n++] = name;
        arguments[n++] = server_option;
        arguments[n++] = server;
        if (cli->json)
            arguments[n++] = json_option;
        if (timeout) {
            arguments[n++] = timeout_option;
            arguments[n++] = timeout;
        }
        memcpy(arguments + n, argv + 1, (size_t)(argc - 1) * sizeof *arguments);
        status = subprogram_exec(cli, program, hint, arguments);
    } else {
        status = cli_fail(cli, CLI_FAILED, "out of memory");
    }
    free(timeout);
    free(name);
    free(server);
    free(arguments);
    return status;
}

static int bench_cmd_run(struct cli *cli, int argc, char **argv)
{
    return subprogram_run(
        cli, "prserv-bench", "install it beside prserv or in a folder of the PATH", argc, argv);
}

const struct cli_command command_bench = {
    .name = "bench",
    .arguments = "[OPTION]...",
    .summary = "measure the throughput and latency of a server (runs prserv-bench)",
    .run = bench_cmd_run,
};

static int feed_cmd_run(struct cli *cli, int argc, char **argv)
{
    return subprogram_run(cli, "prserv-feed",
        "it needs libsolv and libarchive, and may be in a package of its own (prserv-feed)", argc,
        argv);
}

const struct cli_command command_feed = {
    .name = "feed",
    .arguments = "check|rows|list FEED... [OPTION]...",
    .summary = "compare a package feed with the server (runs prserv-feed)",
    .run = feed_cmd_run,
};

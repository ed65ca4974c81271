/* SPDX-License-Identifier: MIT */
/* bench: runs prserv-bench, a program of its own. */
#include "cli/commands.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "prserv-bench"

/* Writes the path of a program beside this one. Returns false if it can't be told. */
static bool bench_cmd_find_beside(char path[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);
    char *slash = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;

    if (!slash || slash + sizeof "/" PROGRAM > path + PATH_MAX)
        return false;
    memcpy(slash + 1, PROGRAM, sizeof PROGRAM);
    return true;
}

/* Replaces this process. Returns only on failure. */
static int bench_cmd_exec(const struct cli *cli, char **arguments)
{
    char path[PATH_MAX];

    if (bench_cmd_find_beside(path))
        (void)execv(path, arguments);
    (void)execvp(PROGRAM, arguments);
    return cli_fail(cli, CLI_FAILED,
        "can't run " PROGRAM ": %s; install it beside prserv or in a folder of the PATH",
        strerror(errno));
}

/* Names the files of --tls-ca and so on in the environment. Returns false without memory. */
static bool bench_cmd_pass_files(const struct cli *cli)
{
    return (!cli->tls_ca || setenv("PRSERV_TLS_CA", cli->tls_ca, 1) == 0) &&
           (!cli->tls_certificate || setenv("PRSERV_TLS_CERT", cli->tls_certificate, 1) == 0) &&
           (!cli->tls_key || setenv("PRSERV_TLS_KEY", cli->tls_key, 1) == 0);
}

static int bench_cmd_run(struct cli *cli, int argc, char **argv)
{
    char **arguments = calloc((size_t)argc + 6, sizeof *arguments);
    char *server = strdup(cli->server);
    char program[] = PROGRAM;
    char server_option[] = "--server";
    char json_option[] = "--json";
    char timeout_option[] = "--timeout";
    char *timeout = cli->timeout ? strdup(cli->timeout) : NULL;
    size_t n = 0;
    int status;

    if (arguments && server && (timeout || !cli->timeout) && bench_cmd_pass_files(cli)) {
        arguments[n++] = program;
        arguments[n++] = server_option;
        arguments[n++] = server;
        if (cli->json)
            arguments[n++] = json_option;
        if (timeout) {
            arguments[n++] = timeout_option;
            arguments[n++] = timeout;
        }
        memcpy(arguments + n, argv + 1, (size_t)(argc - 1) * sizeof *arguments);
        status = bench_cmd_exec(cli, arguments);
    } else {
        status = cli_fail(cli, CLI_FAILED, "out of memory");
    }
    free(timeout);
    free(server);
    free(arguments);
    return status;
}

const struct cli_command command_bench = {
    .name = "bench",
    .arguments = "[OPTION]...",
    .summary = "measure the throughput and latency of a server (runs prserv-bench)",
    .run = bench_cmd_run,
};

/* SPDX-License-Identifier: MIT */
#include "cli/answer.h"

#include "cli/connect.h"

#include <stdio.h>
#include <stdlib.h>

int answer_ask(const struct cli *cli, answer_fn ask, const void *context, json_t **answer)
{
    struct prserv_error error;
    struct prserv *server;
    char *json = NULL;
    int status = cli_connect(cli, &server);

    *answer = NULL;
    if (status != CLI_OK)
        return status;
    if (ask(server, context, &json, &error) != 0)
        status = cli_report_error(&error);
    prserv_close(server);
    if (status != CLI_OK)
        return status;
    *answer = json_loads(json, JSON_ALLOW_NUL, NULL);
    free(json);
    return *answer
               ? CLI_OK
               : cli_fail(cli, CLI_FAILED, "the server sent an invalid answer, or out of memory");
}

bool answer_print_json(const struct cli *cli, const json_t *answer)
{
    if (!cli->json)
        return false;
    (void)json_dumpf(answer, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    (void)fputs("\n", stdout);
    return true;
}

/* SPDX-License-Identifier: MIT */
/* Requests whose answer is one JSON object that is printed: status, why, churn. */
#ifndef PRSERV_CLI_ANSWER_H
#define PRSERV_CLI_ANSWER_H

#include "cli/cli.h"
#include "client/prserv.h"

#include <jansson.h>

/* Sends the request. *json is the answer as it arrived (free). */
typedef int (*answer_fn)(
    struct prserv *server, const void *context, char **json, struct prserv_error *error);

/* Connects, asks, and reads the answer, which is the caller's (json_decref). Returns CLI_OK, or
 * another exit status after reporting why; then *answer is NULL. */
int answer_ask(const struct cli *cli, answer_fn ask, const void *context, json_t **answer);

/* Prints an answer as one line if --json was given. Returns whether it was. */
bool answer_print_json(const struct cli *cli, const json_t *answer);

#endif

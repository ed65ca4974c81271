/* SPDX-License-Identifier: MIT */
/* churn: prints which packages got the most new revisions, and which flap. */
#include "cli/answer.h"
#include "cli/audit.h"
#include "cli/commands.h"

#include <stdio.h>

static void churn_print_packages(const json_t *packages, const char *number)
{
    for (size_t i = 0; i < json_array_size(packages); i++) {
        const json_t *package = json_array_get(packages, i);
        char version[AUDIT_TEXT_BYTES];
        char pkgarch[AUDIT_TEXT_BYTES];
        char time[AUDIT_TEXT_BYTES];

        (void)printf("%8lld  %s  %s  %s\n",
            (long long)json_integer_value(json_object_get(package, number)),
            audit_time(package, "last", time), audit_text(package, "version", version),
            audit_text(package, "pkgarch", pkgarch));
    }
}

static void churn_print(const json_t *answer)
{
    const json_t *packages = json_object_get(answer, "revisions");
    const json_t *flapping = json_object_get(answer, "returns");
    char time[AUDIT_TEXT_BYTES];

    if (json_is_string(json_object_get(answer, "since")))
        (void)printf("since %s\n", audit_time(answer, "since", time));
    (void)printf("new revisions, last one, package:\n");
    churn_print_packages(packages, "revisions");
    if (json_array_size(flapping) == 0) {
        (void)printf("no package flaps\n");
        return;
    }
    (void)printf("\ncontent that came back (A, B, A), last revision, package; see prserv why:\n");
    churn_print_packages(flapping, "returns");
}

struct churn_wanted {
    long long since;
    long long limit;
};

static int churn_ask(
    struct prserv *server, const void *context, char **json, struct prserv_error *error)
{
    const struct churn_wanted *wanted = context;

    return prserv_get_churn(server, wanted->since, wanted->limit, json, error);
}

static int churn_run(struct cli *cli, int argc, char **argv)
{
    const char *since_text = NULL;
    const char *limit_text = NULL;
    const struct cli_option options[] = {
        {"since", NULL, &since_text}, {"limit", NULL, &limit_text}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {.options = options, .max_arguments = 0};
    struct cli_arguments arguments;
    struct churn_wanted wanted;
    json_t *answer;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    status = audit_read_since(cli, since_text, &wanted.since);
    if (status == CLI_OK)
        status = audit_read_limit(cli, limit_text, &wanted.limit);
    if (status == CLI_OK)
        status = answer_ask(cli, churn_ask, &wanted, &answer);
    if (status != CLI_OK)
        return status;
    if (!answer_print_json(cli, answer))
        churn_print(answer);
    json_decref(answer);
    return CLI_OK;
}

const struct cli_command command_churn = {
    .name = "churn",
    .arguments = "[--since TIME] [--limit N]",
    .summary = "print which packages got the most new revisions, and which flap",
    .help = "      --since TIME  only since then: 2026-11-29, 2026-11-29T18:30 or an age: 2h, 3d\n"
            "      --limit N     at most N packages in each list; 0: 10000 [20]\n",
    .run = churn_run,
};

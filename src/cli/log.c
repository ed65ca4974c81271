/* SPDX-License-Identifier: MIT */
/* log: prints who got which revision, and when, newest first; with --follow oldest first, and then
 * what comes. */
#include "base/clock.h"
#include "cli/audit.h"
#include "cli/commands.h"
#include "cli/connect.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FOLLOW_MS 1000
#define FOLLOW_RECORDS 10 /* before those that come */
#define FOLLOW_MOST 10000

struct log_run {
    const struct cli *cli;
    struct prserv *server;
    struct prserv_log wanted;
    bool is_first;
    bool has_written;
    json_t *held; /* with --follow: the first records, to be turned round; NULL: not held */
};

/* ---- records ---- */

static void log_cmd_print(const json_t *record)
{
    char time[AUDIT_TEXT_BYTES];
    char version[AUDIT_TEXT_BYTES];
    char pkgarch[AUDIT_TEXT_BYTES];
    char value[AUDIT_TEXT_BYTES];
    char checksum[AUDIT_TEXT_BYTES];
    char request[AUDIT_TEXT_BYTES];
    char peer[AUDIT_TEXT_BYTES];
    char annotations[AUDIT_TEXT_BYTES];

    (void)audit_text(record, "checksum", checksum);
    (void)audit_text(record, "request", request);
    if (strcmp(request, "takeover") == 0) {
        (void)printf("%s  %s rows of older tables were taken over\n",
            audit_time(record, "time", time), audit_text(record, "value", value));
        return;
    }
    (void)printf("%s  %s  %s  %s  %s  %s  %s%s%s\n", audit_time(record, "time", time),
        audit_text(record, "version", version), audit_text(record, "pkgarch", pkgarch),
        audit_text(record, "value", value),
        strcmp(request, "floor") == 0 ? checksum : audit_short(checksum), request,
        audit_text(record, "peer", peer), audit_annotations(record, annotations)[0] ? "  " : "",
        annotations);
}

/* Prints a record, which becomes the last one that is known. */
static void log_cmd_take(struct log_run *run, json_t *record)
{
    const json_int_t id = json_integer_value(json_object_get(record, "id"));

    run->has_written = true;
    if (id > run->wanted.after)
        run->wanted.after = id;
    if (!run->cli->json) {
        log_cmd_print(record);
        return;
    }
    if (!run->wanted.forward && !run->held)
        (void)fputs(run->is_first ? "" : ",\n", stdout);
    run->is_first = false;
    (void)json_dumpf(record, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (run->wanted.forward || run->held)
        (void)fputs("\n", stdout);
}

static int log_cmd_on_record(void *context, struct prserv_text text)
{
    struct log_run *run = context;
    json_t *record = json_loadb(text.bytes, text.length, JSON_ALLOW_NUL, NULL);

    if (!record)
        return 1;
    if (run->held)
        (void)json_array_append(run->held, record);
    else
        log_cmd_take(run, record);
    json_decref(record);
    return ferror(stdout) != 0;
}

/* ---- asking ---- */

static int log_cmd_ask(struct log_run *run)
{
    struct prserv_error error;

    if (prserv_get_log(run->server, &run->wanted, &error) == 0)
        return CLI_OK;
    if (error.code == PRSERV_ERROR_STOPPED)
        return CLI_FAILED; /* the output is reported at the end */
    return cli_report_error(&error);
}

static int log_cmd_list(struct log_run *run)
{
    int status;

    if (run->cli->json)
        (void)fputs("{\"log\":[", stdout);
    status = log_cmd_ask(run);
    if (run->cli->json && status == CLI_OK)
        (void)printf("],\"last\":%lld}\n", run->wanted.last);
    return status;
}

/* Prints the newest records, the oldest of them first. */
static int log_cmd_begin_following(struct log_run *run)
{
    int status;

    if (run->wanted.limit == 0)
        run->wanted.limit = FOLLOW_RECORDS;
    if (run->wanted.limit < 0 || run->wanted.limit > FOLLOW_MOST)
        run->wanted.limit = FOLLOW_MOST;
    run->held = json_array();
    status = run->held ? log_cmd_ask(run) : cli_fail(run->cli, CLI_FAILED, "out of memory");
    for (size_t i = json_array_size(run->held); i > 0 && status == CLI_OK; i--)
        log_cmd_take(run, json_array_get(run->held, i - 1));
    json_decref(run->held);
    run->held = NULL;
    return status;
}

static int log_cmd_follow(struct log_run *run)
{
    const struct timespec pause = {.tv_sec = FOLLOW_MS / 1000};
    int status = log_cmd_begin_following(run);

    if (status == CLI_OK && run->wanted.after < run->wanted.last)
        run->wanted.after = run->wanted.last;
    run->wanted.forward = true;
    run->wanted.since = 0;
    run->wanted.limit = FOLLOW_MOST;
    while (status == CLI_OK && fflush(stdout) == 0) {
        (void)nanosleep(&pause, NULL);
        status = log_cmd_ask(run);
        if (status == CLI_OK && run->wanted.last < run->wanted.after)
            run->wanted.after = 0; /* the audit log was begun anew */
    }
    return status;
}

static int log_cmd_run(struct cli *cli, int argc, char **argv)
{
    struct log_run run = {.cli = cli, .is_first = true};
    const char *since = NULL;
    const char *limit = NULL;
    bool follows = false;
    const struct cli_option options[] = {{"since", NULL, &since}, {"limit", NULL, &limit},
        {"follow", &follows, NULL}, {NULL, NULL, NULL}};
    const struct cli_syntax syntax = {.options = options, .max_arguments = 2};
    struct cli_arguments arguments;
    int status;

    if (!cli_parse(cli, argc, argv, &syntax, &arguments))
        return arguments.status;
    run.wanted.record = log_cmd_on_record;
    run.wanted.context = &run;
    run.wanted.version = prserv_text(arguments.n > 0 ? arguments.items[0] : "");
    run.wanted.pkgarch = prserv_text(arguments.n > 1 ? arguments.items[1] : "");
    status = audit_read_since(cli, since, &run.wanted.since);
    if (status == CLI_OK)
        status = audit_read_limit(cli, limit, &run.wanted.limit);
    if (status == CLI_OK)
        status = cli_connect(cli, &run.server);
    if (status != CLI_OK)
        return status;
    status = follows ? log_cmd_follow(&run) : log_cmd_list(&run);
    prserv_close(run.server);
    return status;
}

const struct cli_command command_log = {
    .name = "log",
    .arguments = "[VERSION [PKGARCH]] [--since TIME] [--limit N] [--follow]",
    .summary = "print who got which revision, and when, newest first",
    .help = "      --since TIME  only since then: 2026-11-29, 2026-11-29T18:30 or an age: 2h, 3d\n"
            "      --limit N     at most N records; 0: all [100; with --follow: 10]\n"
            "      --follow      oldest first, then new ones as they come; with --json, one\n"
            "                    object a line\n",
    .run = log_cmd_run,
};

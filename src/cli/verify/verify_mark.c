/* SPDX-License-Identifier: MIT */
#include "cli/verify/verify_mark.h"

#include "cli/connect.h"
#include "cli/verify/verify_schema.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a file ---- */

enum mark_file_state verify_mark_read_file(const char *file, struct mark_record *record)
{
    char resolved[PATH_MAX];
    char path[PATH_MAX + 8];
    struct mark_file *mark_file;
    struct error error;
    enum mark_file_state state = MARK_FILE_UNUSABLE;

    (void)snprintf(path, sizeof path, "%s-mark", realpath(file, resolved) ? resolved : file);
    if (mark_file_create(&mark_file, path, NULL, &error) == 0)
        state = mark_file_read(mark_file, record);
    mark_file_free(mark_file);
    return state;
}

static void verify_mark_take(struct sqlite_reader *reader, sqlite3_stmt *result)
{
    (void)mark_parse(&reader->mark, sqlite_reader_text(result, 0));
}

void verify_mark_file(
    struct sqlite_reader *reader, enum mark_file_state state, const struct mark_record *record)
{
    const struct mark *last = &record->mark;
    const struct mark *found = &reader->mark;

    reader->findings->is_checked[FINDING_MARK] = true;
    if (state == MARK_FILE_INVALID)
        findings_add(
            reader->findings, FINDING_MARK, NULL, "%s-mark holds no valid mark", reader->file);
    if (state != MARK_FILE_VALID)
        return;
    if (verify_schema_has_table(reader, "prservd_mark"))
        sqlite_reader_each(reader, "SELECT identity || ':' || counter FROM prservd_mark LIMIT 1",
            verify_mark_take);
    if (!mark_has_identity(found, last->identity))
        findings_add(reader->findings, FINDING_MARK, NULL,
            "this is not the database that %s-mark belongs to", reader->file);
    else if (found->counter < last->counter)
        findings_add(reader->findings, FINDING_MARK, NULL,
            "the database went back to an older state: its counter is %" PRId64
            ", and it was %" PRId64,
            found->counter, last->counter);
}

/* ---- a server ---- */

/* Adds a finding if the answer to get-stats names a rollback. */
static void verify_mark_take_stats(struct findings *findings, const char *answer)
{
    json_t *stats = json_loads(answer, JSON_ALLOW_NUL, NULL);
    const json_t *rollback = json_object_get(stats, "rollback");
    const char *mark = json_string_value(json_object_get(rollback, "mark"));

    findings->is_checked[FINDING_MARK] = true;
    if (mark)
        findings_add(findings, FINDING_MARK, NULL,
            "the database went back to an older state, or was replaced: its mark was %s", mark);
    json_decref(stats);
}

int verify_mark_server(const struct cli *cli, struct findings *findings)
{
    struct prserv_error error;
    struct prserv *server;
    char *answer;
    int status = cli_connect(cli, &server);
    int result;

    if (status != CLI_OK)
        return status == CLI_FAILED ? CLI_USAGE : status;
    result = prserv_get_stats(server, &answer, &error);
    prserv_close(server);
    if (result == 0)
        verify_mark_take_stats(findings, answer);
    free(answer);
    /* BitBake's own server does not know the request, and closes the connection. */
    if (result == 0 || result == PRSERV_ERROR_CONNECTION)
        return CLI_OK;
    status = cli_report_error(&error);
    return status == CLI_FAILED ? CLI_USAGE : status;
}

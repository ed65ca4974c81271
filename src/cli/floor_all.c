/* SPDX-License-Identifier: MIT */
/* The floors are computed while the server exports the greatest revision of each package, and kept
 * in a row set, which may be larger than memory. They are sent after the export, so that it can't
 * show them, and in batches.
 *
 * If the server's database is rolled back (doc/semantics.md), the last request accepts that: all
 * packages that the server has are above what was given before. */
#include "cli/floor_all.h"

#include "cli/audit_greatest.h"
#include "cli/connect.h"
#include "cli/progress.h"
#include "cli/row_batch.h"
#include "cli/rows/row_set.h"
#include "client/field.h"
#include "revision/floor.h"
#include "revision/revision.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define COMPUTED 1 /* the row set's only origin */
#define BATCH_ROWS 512
#define BATCH_BYTES ((size_t)1024 * 1024)

struct floor_all {
    const struct cli *cli;
    struct prserv *server;
    const char *margin;
    struct row_set *set;
    struct progress progress;
    struct error error; /* why the export was stopped */
    uint64_t total;     /* packages to be raised */
    uint64_t raised;
    uint64_t refused;
    struct audit_greatest *audit; /* where the floors come from; NULL: the server's revisions */
    char *rollback;               /* the mark of the rollback that is to be accepted, or NULL */
    int status;                   /* of sending */
    struct row_batch batch;
    struct prserv_request requests[BATCH_ROWS];
};

static int floor_all_fail(const struct floor_all *run, const struct error *error)
{
    return cli_fail(run->cli, CLI_FAILED, "%s", error->text);
}

/* ---- computing the floors ---- */

/* Adds the floor of the package to which a row with the greatest revision belongs. Several rows may
 * have it: their floor is the same row. */
static int floor_all_add(struct floor_all *run, const struct row *row)
{
    char *greatest = strndup(row->value.bytes, row->value.length);
    char *value = greatest ? revision_add(greatest, run->margin ? run->margin : "0") : NULL;
    char *checksum = value ? floor_checksum(value) : NULL;
    bool is_new = false;
    int result;

    if (checksum) {
        const struct row floor = {.version = row->version,
            .pkgarch = row->pkgarch,
            .checksum = text_of(checksum),
            .value = text_of(value)};

        result = row_set_add(run->set, &floor, COMPUTED, &is_new, &run->error);
    } else {
        result = error_set_memory(&run->error);
    }
    run->total += is_new;
    free(checksum);
    free(value);
    free(greatest);
    return result;
}

/* Takes a row of the export. A server other than prservd may send values that are not revisions. */
static int floor_all_on_row(void *context, const struct prserv_row *received)
{
    struct floor_all *run = context;
    const struct row row = field_row(received);

    progress_row(&run->progress, 0, 0);
    if (!row.value.bytes || !revision_is_valid(row.value.bytes, row.value.length))
        return 0;
    if (run->audit) {
        audit_greatest_cover(run->audit, &row);
        return 0;
    }
    return floor_all_add(run, &row);
}

/* Adds the floors of packages whose greatest revision in the audit log the server does not have. */
static int floor_all_compute_from_audit(struct floor_all *run)
{
    const struct audit_package_entry *package;

    STAILQ_FOREACH (package, &run->audit->list, next) {
        const struct row row = {
            .version = {.bytes = package->texts, .length = package->version_bytes},
            .pkgarch = {.bytes = package->texts + package->version_bytes,
                .length = package->pkgarch_bytes},
            .value = text_of(package->value),
        };

        if (!package->is_covered && floor_all_add(run, &row) != 0)
            return floor_all_fail(run, &run->error);
    }
    return CLI_OK;
}

static int floor_all_compute(struct floor_all *run)
{
    const struct prserv_export request = {.row = floor_all_on_row, .context = run};
    struct prserv_error error;
    int result;

    progress_begin(&run->progress, "loaded from the server");
    result = prserv_export(run->server, &request, &error);
    progress_clear(&run->progress);
    if (result == PRSERV_ERROR_STOPPED)
        return floor_all_fail(run, &run->error);
    if (result != 0)
        return cli_report_error(&error);
    return run->audit ? floor_all_compute_from_audit(run) : CLI_OK;
}

/* ---- sending them ---- */

static void floor_all_refuse(struct floor_all *run, const struct row *row, const char *reason)
{
    struct error line; /* makes its text printable */

    progress_clear(&run->progress);
    (void)error_set(&line, ERROR_INPUT, "version %.*s, pkgarch %.*s was not raised: %s",
        (int)row->version.length, row->version.bytes, (int)row->pkgarch.length, row->pkgarch.bytes,
        reason);
    (void)floor_all_fail(run, &line);
    run->refused++;
}

/* Sends the batch and counts the answers. */
static int floor_all_send(struct floor_all *run)
{
    const struct row_batch *batch = &run->batch;
    struct prserv_error error;
    int result;

    for (size_t i = 0; i < batch->n; i++)
        run->requests[i].row = field_of_row(&batch->rows[i]);
    result = prserv_batch(run->server, run->requests, batch->n, &error);
    for (size_t i = 0; i < batch->n; i++) {
        const struct prserv_error *answer = &run->requests[i].error;

        if (answer->code == 0)
            run->raised++;
        else if (answer->code == PRSERV_ERROR_REFUSED || answer->code == PRSERV_ERROR_ARGUMENT)
            floor_all_refuse(run, &batch->rows[i], answer->text);
    }
    if (result == 0)
        return CLI_OK;
    progress_clear(&run->progress);
    return cli_report_error(&error);
}

static void floor_all_flush(struct floor_all *run)
{
    struct error error;

    if (row_batch_seal(&run->batch, &error) != 0)
        run->status = floor_all_fail(run, &error);
    else if (run->batch.n > 0)
        run->status = floor_all_send(run);
    row_batch_empty(&run->batch);
}

/* Takes a floor of the row set. After a failure it does nothing. */
static void floor_all_on_floor(void *context, const struct row *floor, int origins)
{
    struct floor_all *run = context;

    (void)origins;
    if (run->status != CLI_OK)
        return;
    row_batch_add(&run->batch, floor);
    progress_row(&run->progress, run->raised + run->refused + run->batch.n, run->total);
    if (row_batch_is_full(&run->batch, BATCH_ROWS, BATCH_BYTES))
        floor_all_flush(run);
}

static int floor_all_send_all(struct floor_all *run)
{
    struct error error;
    int result;

    progress_begin(&run->progress, "raised");
    result = row_set_each_not_in_all(run->set, 0, floor_all_on_floor, run, &error);
    if (run->status == CLI_OK && result != 0)
        run->status = floor_all_fail(run, &error);
    if (run->status == CLI_OK)
        floor_all_flush(run);
    progress_clear(&run->progress);
    if (run->status == CLI_OK)
        return CLI_OK;
    return cli_fail(run->cli, run->status,
        "%" PRIu64 " of %" PRIu64 " packages were raised before; run the command again, which "
        "raises those a second time",
        run->raised, run->total);
}

/* ---- a rollback ---- */

/* Asks whether the database is rolled back. BitBake's own server does not know the request, and
 * closes the connection. */
static int floor_all_find_rollback(struct floor_all *run)
{
    struct prserv_error error;
    char *answer;
    const char *mark;
    json_t *stats;
    int result = prserv_get_stats(run->server, &answer, &error);

    if (result == PRSERV_ERROR_CONNECTION)
        return CLI_OK;
    if (result != 0)
        return cli_report_error(&error);
    stats = json_loads(answer, JSON_ALLOW_NUL, NULL);
    mark = json_string_value(json_object_get(json_object_get(stats, "rollback"), "mark"));
    run->rollback = mark ? floor_checksum(mark) : NULL;
    result = mark && !run->rollback ? cli_fail(run->cli, CLI_FAILED, "out of memory") : CLI_OK;
    json_decref(stats);
    free(answer);
    return result;
}

static int floor_all_accept_rollback(struct floor_all *run)
{
    const struct prserv_row row = {.version = prserv_text(""),
        .pkgarch = prserv_text(""),
        .checksum = prserv_text(run->rollback),
        .value = prserv_text("0")};
    struct prserv_error error;

    if (prserv_import_one(run->server, &row, &error) == 0)
        return CLI_OK;
    return cli_report_error(&error);
}

/* ---- the report ---- */

static void floor_all_report_json(const struct floor_all *run, const char *accepted)
{
    (void)printf("{\"raised\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"margin\":\"%s\"", run->raised,
        run->refused, run->margin ? run->margin : "0");
    if (accepted)
        (void)printf(",\"accepted\":\"%s\"}\n", accepted);
    else
        (void)printf(",\"accepted\":null}\n");
}

static int floor_all_report(const struct floor_all *run)
{
    const bool is_accepted = run->rollback && run->refused == 0;
    const char *accepted = is_accepted ? run->rollback + strlen(FLOOR_PREFIX) : NULL;

    if (run->cli->json) {
        floor_all_report_json(run, accepted);
    } else {
        if (run->audit)
            (void)printf("%" PRIu64 " package%s raised to what the audit log has; records of the "
                         "last seconds before a crash may be missing in it\n",
                run->raised, run->raised == 1 ? "" : "s");
        else
            (void)printf(
                "%" PRIu64 " package%s raised by %s\n"
                "each run raises all packages again; packages that are not in the database "
                "are not covered\n",
                run->raised, run->raised == 1 ? "" : "s", run->margin);
        if (accepted)
            (void)printf("the rollback %s is over: new content gets revisions again\n", accepted);
    }
    return run->refused == 0 ? CLI_OK : CLI_FAILED;
}

static int floor_all_run(
    const struct cli *cli, struct prserv *server, const char *margin, struct audit_greatest *audit)
{
    struct floor_all *run = calloc(1, sizeof *run); /* too large for the stack */
    struct error error;
    int status;

    if (!run)
        return cli_fail(cli, CLI_FAILED, "out of memory");
    run->cli = cli;
    run->server = server;
    run->margin = margin;
    run->audit = audit;
    status = row_set_open(&run->set, &error) == 0 ? CLI_OK : floor_all_fail(run, &error);
    if (status == CLI_OK)
        status = floor_all_find_rollback(run);
    if (status == CLI_OK)
        status = floor_all_compute(run);
    if (status == CLI_OK)
        status = floor_all_send_all(run);
    if (status == CLI_OK && !run->rollback) /* the server may have noticed it meanwhile */
        status = floor_all_find_rollback(run);
    if (status == CLI_OK && run->rollback && run->refused == 0)
        status = floor_all_accept_rollback(run);
    if (status == CLI_OK)
        status = floor_all_report(run);
    row_batch_deinit(&run->batch);
    row_set_close(run->set);
    free(run->rollback);
    free(run);
    return status;
}

int floor_all(const struct cli *cli, struct prserv *server, const char *margin)
{
    return floor_all_run(cli, server, margin, NULL);
}

int floor_from_audit(
    const struct cli *cli, struct prserv *server, const char *audit_file, const char *margin)
{
    struct audit_greatest greatest;
    struct error error;
    int status;

    if (audit_greatest_load(&greatest, audit_file, &error) == 0)
        status = floor_all_run(cli, server, margin, &greatest);
    else
        status = cli_fail(cli, CLI_USAGE, "%s", error.text);
    audit_greatest_free(&greatest);
    return status;
}

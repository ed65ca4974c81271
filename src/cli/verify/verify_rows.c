/* SPDX-License-Identifier: MIT */
/* The rows go to a row set, which may be larger than memory and finds the shared values. */
#include "cli/verify/verify_rows.h"

#include "cli/connect.h"
#include "cli/progress.h"
#include "cli/row_load.h"
#include "revision/revision.h"
#include "store/scan.h"

#include <inttypes.h>

#define LOADED 1 /* the row set's only origin */

/* ---- findings ---- */

static bool verify_rows_has_revision(const struct row *row)
{
    return row->value.bytes && revision_is_valid(row->value.bytes, row->value.length);
}

void verify_rows_check_value(struct findings *findings, const struct row *row)
{
    if (!row->value.bytes)
        findings_add(findings, FINDING_INVALID_ROW, row, "the value is NULL or a blob");
    else if (!verify_rows_has_revision(row))
        findings_add(findings, FINDING_INVALID_ROW, row, "the value '%.*s' is not a revision",
            (int)row->value.length, row->value.bytes);
}

void verify_rows_add_shared(
    struct findings *findings, const struct row *row, struct text other_checksum, uint64_t n_rows)
{
    if (verify_rows_has_revision(row))
        findings_add(findings, FINDING_SHARED_VALUE, row,
            "the value %.*s is also that of checksum %.*s; %" PRIu64 " rows have it",
            (int)row->value.length, row->value.bytes, (int)other_checksum.length,
            other_checksum.bytes, n_rows);
}

static void verify_rows_on_row(void *context, const struct row *row, int origins)
{
    struct findings *findings = context;

    (void)origins;
    findings->rows++;
    verify_rows_check_value(findings, row);
}

static void verify_rows_on_shared(
    void *context, const struct row *row, struct text other_checksum, uint64_t n_rows)
{
    verify_rows_add_shared(context, row, other_checksum, n_rows);
}

/* ---- loading ---- */

static int verify_rows_scan(const struct cli *cli, struct row_set *set, struct store *store)
{
    static const struct store_filter all = {.version = {NULL, 0}};
    struct progress progress;
    struct row row;
    struct error error;
    int more;

    if (store_begin_read(store, NULL, STORE_BLOCK, &error) != 0 ||
        store_scan_begin(store, &all, &error) != 0)
        return cli_fail(cli, CLI_NO_CONNECTION, "%s", error.text);
    progress_begin(&progress, "loaded from the database");
    while ((more = store_scan_next(store, &row, &error)) == 1) {
        progress_row(&progress, 0, 0);
        if (row_set_add(set, &row, LOADED, NULL, &error) != 0)
            break;
    }
    progress_clear(&progress);
    if (more == 0)
        return CLI_OK;
    return cli_fail(cli, more == 1 ? CLI_USAGE : CLI_NO_CONNECTION, "%s", error.text);
}

static void verify_rows_on_fault(void *context, bool is_damage, const char *text)
{
    findings_add(context, is_damage ? FINDING_DAMAGE : FINDING_SCHEMA, NULL, "%s", text);
}

/* Adds a finding if a server has found out that the database went back to an older state. */
static void verify_rows_check_mark(struct findings *findings, struct store *store)
{
    struct error ignored;
    char name[MARK_TEXT_BYTES];

    findings->is_checked[FINDING_MARK] = true;
    if (store_begin_read(store, NULL, STORE_BLOCK, &ignored) != 0 ||
        store_check_mark(store, &ignored) != 0 || !store->rollback.is_rolled_back)
        return;
    mark_format(&store->rollback.mark, name);
    findings_add(findings, FINDING_MARK, NULL,
        "the database went back to an older state: a server's mark was %s, and its counter is "
        "%" PRId64,
        name, store->rollback.counter);
}

/* Tables that have faults may be unreadable: then there are only these findings. */
static int verify_rows_load_database(
    const struct cli *cli, struct findings *findings, struct row_set *set, const char *uri)
{
    static const atomic_bool not_shutting_down;
    static const atomic_ullong never = UINT64_MAX;
    struct store_options options = {.file = uri,
        .read_only = true,
        .is_startup = true,
        .shutting_down = &not_shutting_down,
        .read_deadline_ms = &never};
    struct store *store;
    struct error error;
    int result;
    int status;

    findings->is_checked[FINDING_DAMAGE] = findings->is_checked[FINDING_SCHEMA] = true;
    if (store_verify(uri, verify_rows_on_fault, findings, &error) != 0)
        return cli_fail(cli, CLI_NO_CONNECTION, "%s", error.text);
    if (log_open(&options.log, NULL, LOG_WARNING, &error) != 0)
        return cli_fail(cli, CLI_USAGE, "%s", error.text);
    result = store_open(&store, &options, STORE_READER, &error);
    if (result == 0) {
        verify_rows_check_mark(findings, store);
        status = verify_rows_scan(cli, set, store);
        store_rollback(store);
        store_close(store);
    } else if (result == ERROR_STORE && findings_count(findings) > 0) {
        status = CLI_OK;
    } else {
        status = cli_fail(cli, CLI_NO_CONNECTION, "%s", error.text);
    }
    log_close(options.log);
    return status;
}

static int verify_rows_load_server(const struct cli *cli, struct row_set *set)
{
    struct prserv *server;
    int status = cli_connect(cli, &server);

    if (status == CLI_OK) {
        status = row_load_server(set, LOADED, server, NULL, true);
        prserv_close(server);
    }
    return status == CLI_FAILED ? CLI_USAGE : status;
}

int verify_rows(const struct cli *cli, struct findings *findings, const char *uri)
{
    struct row_set *set;
    struct error error;
    int status;

    if (row_set_open(&set, &error) != 0)
        return cli_fail(cli, CLI_USAGE, "%s", error.text);
    findings->is_checked[FINDING_INVALID_ROW] = true;
    findings->is_checked[FINDING_SHARED_VALUE] = true;
    status = uri ? verify_rows_load_database(cli, findings, set, uri)
                 : verify_rows_load_server(cli, set);
    if (status == CLI_OK &&
        (row_set_each_not_in_all(set, 0, verify_rows_on_row, findings, &error) != 0 ||
            row_set_each_shared(set, verify_rows_on_shared, findings, &error) != 0))
        status = cli_fail(cli, CLI_USAGE, "%s", error.text);
    row_set_close(set);
    return status;
}

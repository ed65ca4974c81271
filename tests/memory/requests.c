/* SPDX-License-Identifier: MIT */
#include "requests.h"

#include "failing.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool is_error(int result, const struct prserv_error *error)
{
    FAILING_REQUIRE(result == 0 || (error->code == result && error->text[0] != '\0'));
    return result != 0;
}

static int see_row(void *context, const struct prserv_row *row)
{
    struct asked *asked = context;

    for (int i = 0; i < BATCH; i++) {
        if (row->checksum.length == strlen(asked->checksums[i]) &&
            memcmp(row->checksum.bytes, asked->checksums[i], row->checksum.length) == 0)
            return 0;
    }
    failing_complain(__FILE__, __LINE__, "a row's checksum was sent");
}

static bool ask_batch(struct prserv *server, struct asked *asked)
{
    struct prserv_request requests[BATCH] = {0};
    struct prserv_error error;
    int result;
    bool all;

    for (int i = 0; i < BATCH; i++)
        requests[i].row = (struct prserv_row){.version = prserv_text(asked->version),
            .pkgarch = prserv_text("all"),
            .checksum = prserv_text(asked->checksums[i])};
    result = prserv_batch(server, requests, BATCH, &error);
    all = !is_error(result, &error);
    for (int i = 0; i < BATCH; i++) {
        FAILING_REQUIRE((requests[i].error.code == 0) == (requests[i].revision != NULL));
        all = all && requests[i].revision;
        if (requests[i].revision)
            (void)snprintf(asked->values[i], 32, "%s", requests[i].revision);
        free(requests[i].revision);
    }
    return all;
}

static bool ask_known(struct prserv *server, const struct asked *asked)
{
    struct prserv_error error;
    char *revision;
    char *json;
    bool known = false;
    bool all = !is_error(prserv_test_pr(server, prserv_text(asked->version), prserv_text("all"),
                             prserv_text(asked->checksums[0]), false, &revision, &error),
        &error);

    FAILING_REQUIRE(
        !all || !asked->values[0][0] || (revision && strcmp(revision, asked->values[0]) == 0));
    free(revision);
    all = !is_error(prserv_test_package(
                        server, prserv_text(asked->version), prserv_text("all"), &known, &error),
              &error) &&
          all;
    FAILING_REQUIRE(!all || !asked->values[0][0] || known);
    all = !is_error(prserv_get_stats(server, &json, &error), &error) && all;
    free(json);
    return !is_error(prserv_ping(server, &error), &error) && all;
}

static bool ask_export(struct prserv *server, struct asked *asked)
{
    const struct prserv_export export = {.version = prserv_text(asked->version),
        .history = true,
        .colinfo = true,
        .row = see_row,
        .context = asked};
    struct prserv_error error;

    return !is_error(prserv_export(server, &export, &error), &error);
}

static int see_record(void *context, struct prserv_text record)
{
    (void)record;
    (void)context;
    return 0;
}

static bool ask_audit(struct prserv *server, const struct asked *asked)
{
    struct prserv_log log = {.limit = 3, .record = see_record};
    struct prserv_error error;
    bool all = !is_error(prserv_get_log(server, &log, &error), &error);
    char *json;

    all = !is_error(prserv_get_why(
                        server, prserv_text(asked->version), prserv_text("all"), &json, &error),
              &error) &&
          all;
    free(json);
    all = !is_error(prserv_get_churn(server, 0, 3, &json, &error), &error) && all;
    free(json);
    return all;
}

void check_database(const char *file, const struct asked *asked)
{
    sqlite3 *database;
    sqlite3_stmt *statement;

    FAILING_REQUIRE(sqlite3_open(file, &database) == SQLITE_OK);
    FAILING_REQUIRE(sqlite3_busy_timeout(database, 10000) == SQLITE_OK);
    FAILING_REQUIRE(
        sqlite3_prepare_v2(database,
            "SELECT count(*), (SELECT count(*) - count(DISTINCT value) FROM PRMAIN WHERE "
            "version = ?1) FROM PRMAIN WHERE version = ?1 AND checksum = ?2 AND value = ?3",
            -1, &statement, NULL) == SQLITE_OK);
    for (int i = 0; i < BATCH; i++) {
        if (!asked->values[i][0])
            continue;
        (void)sqlite3_bind_text(statement, 1, asked->version, -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(statement, 2, asked->checksums[i], -1, SQLITE_STATIC);
        (void)sqlite3_bind_text(statement, 3, asked->values[i], -1, SQLITE_STATIC);
        FAILING_REQUIRE(sqlite3_step(statement) == SQLITE_ROW);
        FAILING_REQUIRE(sqlite3_column_int(statement, 0) == 1);
        FAILING_REQUIRE(sqlite3_column_int(statement, 1) == 0);
        (void)sqlite3_reset(statement);
    }
    (void)sqlite3_finalize(statement);
    (void)sqlite3_close(database);
}

bool ask_all(struct prserv *server, unsigned long run, struct asked *asked)
{
    bool all;

    (void)snprintf(asked->version, sizeof asked->version, "package-1.0-r%lu", run);
    for (int i = 0; i < BATCH; i++)
        (void)snprintf(asked->checksums[i], sizeof asked->checksums[i], "%060d\xc3\xa9\"", i);
    all = ask_batch(server, asked);
    all = ask_known(server, asked) && all;
    all = ask_export(server, asked) && all;
    return ask_audit(server, asked) && all;
}

/* ---- a server ---- */

static void *serve(void *server)
{
    server_run(server);
    return NULL;
}

void serving_start(struct serving *serving, const struct server_options *options)
{
    struct error error;

    if (server_create(&serving->server, options, &error) != 0 ||
        server_open(serving->server, &error) != 0)
        failing_complain(__FILE__, __LINE__, error.text);
    server_start(serving->server);
    FAILING_REQUIRE(pthread_create(&serving->thread, NULL, serve, serving->server) == 0);
}

void serving_stop(struct serving *serving)
{
    server_stop(serving->server);
    FAILING_REQUIRE(pthread_join(serving->thread, NULL) == 0);
    FAILING_REQUIRE(server_free(serving->server));
}

struct server_options serving_options(const char *file, const struct server_inherited *inherited)
{
    return (struct server_options){.file = file,
        .sync = STORE_SYNC_OFF,
        .audit = true,
        .audit_keep_days = 400,
        .max_message_bytes = 65536,
        .max_memory_bytes = (size_t)64 * 1024 * 1024,
        .inherited = inherited,
        .n_inherited = 1};
}

void remove_database(const char *file)
{
    static const char *const ends[] = {
        "", "-wal", "-shm", "-mark", "-audit", "-audit-wal", "-audit-shm"};
    char name[200];

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        (void)snprintf(name, sizeof name, "%s%s", file, ends[i]);
        (void)unlink(name);
    }
}

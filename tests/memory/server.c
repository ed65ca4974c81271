/* SPDX-License-Identifier: MIT */
/* Failing allocations in a whole server, including libuv's, and in libprserv as its client. The
 * server has its own thread; the client runs on this one. Only the allocations of one side fail
 * at a time, so that the other can check the answers. */
#include "failing.h"

#include "base/clock.h"
#include "client/prserv.h"
#include "revision/revision.h"
#include "server/server.h"

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FILE_NAME "memory_server.sqlite3"
#define SOCKET_NAME "memory_server.socket"
#define TIMEOUT_MS 20000
#define BATCH 3

struct rig {
    struct server *server;
    pthread_t thread;
    unsigned long n_runs;
    struct prserv *kept; /* NULL if each run connects */
    char address[4200];
};

/* ---- the server ---- */

static void *serve(void *server)
{
    server_run(server);
    return NULL;
}

static int listen_to(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    (void)unlink(path);
    (void)snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    FAILING_REQUIRE(bind(descriptor, (struct sockaddr *)&name, sizeof name) == 0);
    FAILING_REQUIRE(listen(descriptor, 64) == 0);
    return descriptor;
}

static void start_server(struct rig *rig)
{
    static struct server_inherited inherited;
    static struct server_options options;
    struct error error;

    inherited = (struct server_inherited){.descriptor = listen_to(SOCKET_NAME)};
    options = (struct server_options){.file = FILE_NAME,
        .sync = STORE_SYNC_OFF,
        .audit = true,
        .audit_keep_days = 400,
        .max_message_bytes = 65536,
        .max_memory_bytes = (size_t)64 * 1024 * 1024,
        .inherited = &inherited,
        .n_inherited = 1};
    FAILING_REQUIRE(server_create(&rig->server, &options, &error) == 0);
    FAILING_REQUIRE(server_open(rig->server, &error) == 0);
    server_start(rig->server);
    FAILING_REQUIRE(pthread_create(&rig->thread, NULL, serve, rig->server) == 0);
}

static void stop_server(struct rig *rig)
{
    server_stop(rig->server);
    FAILING_REQUIRE(pthread_join(rig->thread, NULL) == 0);
    FAILING_REQUIRE(server_free(rig->server));
}

/* ---- requests ---- */

struct asked {
    char version[40];
    char checksums[BATCH][80];
    char values[BATCH][32]; /* answered values */
};

static bool is_error(int result, const struct prserv_error *error)
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

/* Returns true if the request was answered. */
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

/* ---- a run ---- */

/* Checks, while nothing fails, that each answered row is stored and no value was given twice. */
static void check_database(const struct asked *asked)
{
    sqlite3 *database;
    sqlite3_stmt *statement;

    FAILING_REQUIRE(sqlite3_open(FILE_NAME, &database) == SQLITE_OK);
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

static enum failing_outcome run(void *context)
{
    struct rig *rig = context;
    struct asked asked = {0};
    struct prserv_error error;
    struct prserv *server = rig->kept;
    bool all =
        server || !is_error(prserv_connect(&server, rig->address, TIMEOUT_MS, &error), &error);

    (void)snprintf(asked.version, sizeof asked.version, "package-1.0-r%lu", ++rig->n_runs);
    for (int i = 0; i < BATCH; i++)
        (void)snprintf(asked.checksums[i], sizeof asked.checksums[i], "%060d\xc3\xa9\"", i);
    if (server) {
        all = ask_batch(server, &asked) && all;
        all = ask_known(server, &asked) && all;
        all = ask_export(server, &asked) && all;
        all = ask_audit(server, &asked) && all;
    }
    if (!rig->kept)
        prserv_close(server);
    (void)failing_disarm();
    check_database(&asked);
    return all ? FAILING_RIGHT : FAILING_ERROR;
}

static void remove_files(void)
{
    (void)unlink(FILE_NAME);
    (void)unlink(FILE_NAME "-wal");
    (void)unlink(FILE_NAME "-shm");
    (void)unlink(FILE_NAME "-mark");
    (void)unlink(FILE_NAME "-audit");
    (void)unlink(FILE_NAME "-audit-wal");
    (void)unlink(FILE_NAME "-audit-shm");
    (void)unlink(SOCKET_NAME);
}

int main(int n_arguments, char **arguments)
{
    static struct rig rig;
    const struct failing_case library = {"libprserv", run, &rig, true, false};
    const struct failing_case kept = {"libprserv, kept", run, &rig, true, true};
    const struct failing_case server = {"server", run, &rig, false, true};
    unsigned long every = failing_read_options(n_arguments, arguments);
    struct prserv_error error;
    char folder[4000];
    long live;

    FAILING_REQUIRE(getcwd(folder, sizeof folder) != NULL);
    (void)snprintf(rig.address, sizeof rig.address, "unix://%s/" SOCKET_NAME, folder);
    (void)signal(SIGPIPE, SIG_IGN);
    failing_adopt_libraries();
    remove_files();
    start_server(&rig);
    stop_server(&rig); /* what the process keeps has been created */
    live = failing_live();
    start_server(&rig);
    failing_try(&library, every > 3 ? every / 3 : 1);
    FAILING_REQUIRE(prserv_connect(&rig.kept, rig.address, TIMEOUT_MS, &error) == 0);
    failing_try(&kept, every > 3 ? every / 3 : 1);
    prserv_close(rig.kept);
    rig.kept = NULL;
    failing_exempt_thread();
    failing_try(&server, every);
    stop_server(&rig);
    FAILING_REQUIRE(failing_live() == live);
    remove_files();
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* Failing allocations in modules that use the database: store, package cache, package,
 * invalid_rows, writer, reader, export, and the executor with its threads. SQLite's allocations
 * fail, too. Answers are compared with the database at the end of each run. */
#include "failing.h"

#include "base/clock.h"
#include "exec/executor.h"
#include "exec/export.h"
#include "exec/invalid_rows.h"
#include "exec/reader.h"
#include "exec/writer.h"
#include "revision/revision.h"
#include "store/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "memory.sqlite3"
#define LEGACY_NAME "legacy.sqlite3"
#define ACCENTED "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb787\xc3\xa9"
#define NEW 3 /* number of new checksums in each run */
#define WAIT_MS 60000

/* ---- the rig ---- */

struct rig {
    struct store_options options;
    atomic_bool shutting_down;
    atomic_ullong read_deadline_ms;
    struct invalid_rows *invalid_rows;
    struct writer *writer;
    struct reader *reader;
    struct executor *executor;
    unsigned long n_runs; /* each run has its own package, or N would grow with the rows */
    unsigned long n_checksums;
    char package[32];
    char greatest[32]; /* answered value of the package */
};

/* An answer of a run. */
struct answered {
    char checksum[80];
    char value[32];
};

static int open_rig(struct rig *rig)
{
    struct error error;
    int result;

    rig->invalid_rows = invalid_rows_create(NULL);
    if (!rig->invalid_rows)
        return ERROR_MEMORY;
    result = writer_create(&rig->writer, &rig->options, rig->invalid_rows, &error);
    if (result == 0)
        result = reader_create(&rig->reader, &rig->options, rig->invalid_rows, rig->writer, &error);
    return result;
}

static void close_rig(struct rig *rig)
{
    reader_free(rig->reader);
    writer_free(rig->writer);
    invalid_rows_free(rig->invalid_rows);
    rig->reader = NULL;
    rig->writer = NULL;
    rig->invalid_rows = NULL;
}

/* ---- jobs ---- */

static void job_done(struct job *job, void *context)
{
    bool *done = context;

    (void)job;
    *done = true;
}

/* Runs jobs on the threads of the executor. */
static void submit(struct rig *rig, struct job *job)
{
    const struct timespec pause = {.tv_nsec = 100000};
    uint64_t until_ms = clock_ms() + WAIT_MS;
    bool done = false;

    job->done = job_done;
    job->context = &done;
    executor_submit(rig->executor, job);
    while (!done) {
        (void)executor_turn(rig->executor);
        executor_deliver(rig->executor);
        FAILING_REQUIRE(clock_ms() < until_ms);
        if (!done)
            (void)nanosleep(&pause, NULL);
    }
}

static void work_on_export(struct rig *rig, struct job *job)
{
    struct store *store = NULL;
    bool is_begun = false;

    job->result = store_open(&store, &rig->options, STORE_READER, &job->error);
    if (job->result == 0)
        job->result = store_begin_read(store, NULL, STORE_BLOCK, &job->error);
    if (job->result == 0)
        job->result = export_make_piece(job, store, rig->invalid_rows, &is_begun, &job->error);
    store_close(store);
}

static void work(struct rig *rig, struct job *job)
{
    struct job_list arrived = STAILQ_HEAD_INITIALIZER(arrived);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);

    if (rig->executor) {
        submit(rig, job);
        return;
    }
    if (job->kind == JOB_SCAN) {
        work_on_export(rig, job);
        return;
    }
    STAILQ_INSERT_TAIL(&arrived, job, entry);
    if (job->kind == JOB_LOOK) {
        reader_work(rig->reader, &arrived, &finished, STORE_BLOCK);
    } else {
        writer_read_pass(rig->writer, &arrived, &finished, STORE_BLOCK);
        writer_store_pass(rig->writer, &finished);
    }
    FAILING_REQUIRE(STAILQ_FIRST(&finished) == job);
}

static struct request about(const struct rig *rig, enum request_kind kind, const char *checksum)
{
    return (struct request){.kind = kind,
        .version = text_of(rig->package),
        .pkgarch = text_of("all"),
        .checksum = text_of(checksum)};
}

static bool has_failed(const struct job *job)
{
    FAILING_REQUIRE(job->result == 0 || job->result == ERROR_MEMORY || job->result == ERROR_STORE ||
                    job->result == ERROR_LOCKED);
    FAILING_REQUIRE(job->result == 0 || job->error.text[0] != '\0');
    return job->result != 0;
}

/* Returns true if the request was answered. */
static bool ask_value(struct rig *rig, enum job_kind kind, const struct request *request,
    const char *expected, char *value)
{
    struct job job = {.kind = kind, .request = request};

    work(rig, &job);
    if (has_failed(&job)) {
        free(job.value);
        return false;
    }
    FAILING_REQUIRE(job.value != NULL);
    FAILING_REQUIRE(!expected || strcmp(job.value, expected) == 0);
    if (value)
        (void)snprintf(value, 32, "%s", job.value);
    free(job.value);
    return true;
}

/* ---- a run ---- */

/* Asks for new content, whose value is greater than all before, and again for known content. */
static bool ask_for_new(struct rig *rig, struct answered *answered)
{
    struct request request;
    bool all;

    (void)snprintf(
        answered->checksum, sizeof answered->checksum, "%060lu\xc3\xa9\"", ++rig->n_checksums);
    request = about(rig, REQUEST_GET_PR, answered->checksum);
    if (!ask_value(rig, JOB_DECIDE, &request, NULL, answered->value))
        return false;
    FAILING_REQUIRE(!rig->greatest[0] || revision_compare(answered->value, rig->greatest) > 0);
    (void)snprintf(rig->greatest, sizeof rig->greatest, "%s", answered->value);
    request.kind = REQUEST_TEST_PR;
    all = ask_value(rig, JOB_LOOK, &request, answered->value, NULL);
    request.kind = REQUEST_GET_PR;
    all = ask_value(rig, JOB_DECIDE, &request, answered->value, NULL) && all;
    request.kind = REQUEST_MAX_PACKAGE_PR;
    return ask_value(rig, JOB_DECIDE, &request, answered->value, NULL) && all;
}

static bool ask_for_package(struct rig *rig)
{
    struct request request = about(rig, REQUEST_TEST_PACKAGE, "");
    struct job job = {.kind = JOB_LOOK, .request = &request};

    request.version = text_of("fixed");
    request.pkgarch = text_of("a long name of an architecture");
    work(rig, &job);
    if (has_failed(&job))
        return false;
    FAILING_REQUIRE(job.found);
    return true;
}

/* The rows of the other package never change, nor does their export. */
static bool export_rows(struct rig *rig, bool history)
{
    static const char rows[] =
        "]},\"datainfo\":[{\"version\":\"fixed\",\"pkgarch\":\"a long name of an architecture\","
        "\"checksum\":\"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb787\\u00E9\","
        "\"value\":\"7\"}]}";
    static const char columns[] = "{\"name\":\"pkgarch\",\"type\":\"TEXT\",\"notnull\":1,"
                                  "\"dflt_value\":null,\"pk\":2}";
    const struct request request = {
        .kind = REQUEST_EXPORT, .version = text_of("fixed"), .history = history, .colinfo = true};
    struct job job = {.kind = JOB_SCAN, .request = &request, .piece_bytes = 4096};
    bool all;

    work(rig, &job);
    all = !has_failed(&job);
    if (all) {
        buffer_append(&job.piece, "", 1);
        FAILING_REQUIRE(!job.more);
        all = !buffer_failed(&job.piece);
        FAILING_REQUIRE(!all || strstr(job.piece.bytes, columns) != NULL);
        FAILING_REQUIRE(!all || strstr(job.piece.bytes, rows) != NULL);
    }
    export_free(job.scan);
    buffer_free(&job.piece);
    return all;
}

/* Runs import-one and get-pr of one client together: the latter, of known content, sees the
 * former. */
static bool ask_in_order(struct rig *rig, const char *imported, const char *known)
{
    struct request import = about(rig, REQUEST_IMPORT_ONE, imported);
    const struct request ask = about(rig, REQUEST_GET_PR, known);
    struct job first = {.kind = JOB_DECIDE, .request = &import, .client = rig};
    struct job second = {.kind = JOB_DECIDE, .request = &ask, .client = rig};
    struct job_list arrived = STAILQ_HEAD_INITIALIZER(arrived);
    struct job_list finished = STAILQ_HEAD_INITIALIZER(finished);
    bool all;

    if (rig->executor)
        return true;
    import.value = text_of("50");
    STAILQ_INSERT_TAIL(&arrived, &first, entry);
    STAILQ_INSERT_TAIL(&arrived, &second, entry);
    writer_read_pass(rig->writer, &arrived, &finished, STORE_BLOCK);
    writer_store_pass(rig->writer, &finished);
    all = !has_failed(&first);
    if (has_failed(&second))
        all = false;
    else
        FAILING_REQUIRE(!all || strcmp(second.value, "51") == 0);
    free(second.value);
    return all;
}

static bool run_requests(struct rig *rig, struct answered answered[NEW])
{
    bool all = true;

    (void)snprintf(rig->package, sizeof rig->package, "package-1.0-r%lu", ++rig->n_runs);
    rig->greatest[0] = '\0';
    for (int i = 0; i < NEW; i++)
        all = ask_for_new(rig, &answered[i]) && all;
    if (answered[NEW - 1].value[0])
        all = ask_in_order(rig, answered[0].checksum, answered[NEW - 1].checksum) && all;
    all = ask_for_package(rig) && all;
    all = export_rows(rig, true) && all;
    return export_rows(rig, false) && all;
}

/* ---- the rows of the database ---- */

static int64_t count(sqlite3 *database, const char *sql, const char *const bound[3])
{
    sqlite3_stmt *statement;
    int64_t rows;

    FAILING_REQUIRE(sqlite3_prepare_v2(database, sql, -1, &statement, NULL) == SQLITE_OK);
    for (int i = 0; i < sqlite3_bind_parameter_count(statement); i++)
        FAILING_REQUIRE(
            sqlite3_bind_text(statement, i + 1, bound[i], -1, SQLITE_STATIC) == SQLITE_OK);
    FAILING_REQUIRE(sqlite3_step(statement) == SQLITE_ROW);
    rows = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    return rows;
}

/* Called while nothing fails. */
static void check_database(const struct rig *rig, const struct answered answered[NEW])
{
    sqlite3 *database;

    FAILING_REQUIRE(sqlite3_open(FILE_NAME, &database) == SQLITE_OK);
    for (int i = 0; i < NEW; i++) {
        const char *const bound[] = {rig->package, answered[i].checksum, answered[i].value};

        FAILING_REQUIRE(!answered[i].value[0] ||
                        count(database,
                            "SELECT count(*) FROM PRMAIN WHERE version = ? AND checksum = ? "
                            "AND value = ? AND pkgarch = 'all'",
                            bound) == 1);
        FAILING_REQUIRE(count(database,
                            "SELECT count(*) FROM (SELECT 1 FROM PRMAIN WHERE version = ? "
                            "GROUP BY value HAVING count(*) > 1)",
                            bound) == 0);
        FAILING_REQUIRE(count(database,
                            "SELECT count(*) FROM PRMAIN WHERE version = ? "
                            "AND length(checksum) <> 62",
                            bound) == 0);
    }
    (void)sqlite3_close(database);
}

/* ---- the cases ---- */

/* Opens and closes everything in the run. */
static enum failing_outcome run_opened(void *context)
{
    struct rig *rig = context;
    struct answered answered[NEW] = {0};
    bool all = open_rig(rig) == 0 && run_requests(rig, answered);

    close_rig(rig);
    (void)failing_disarm();
    check_database(rig, answered);
    return all ? FAILING_RIGHT : FAILING_ERROR;
}

/* Uses what was opened before. */
static enum failing_outcome run_kept(void *context)
{
    struct rig *rig = context;
    struct answered answered[NEW] = {0};
    bool all = run_requests(rig, answered);

    (void)failing_disarm();
    check_database(rig, answered);
    return all ? FAILING_RIGHT : FAILING_ERROR;
}

static void wake(void *context)
{
    (void)context; /* submit() polls by itself */
}

static int open_executor(struct rig *rig)
{
    const struct store_options options = {.file = FILE_NAME, .sync = STORE_SYNC_OFF};
    struct error error;

    return executor_create(&rig->executor, &options, wake, NULL, &error);
}

static enum failing_outcome run_executor(void *context)
{
    struct rig *rig = context;
    struct answered answered[NEW] = {0};
    bool all = open_executor(rig) == 0 && run_requests(rig, answered);

    executor_free(rig->executor);
    rig->executor = NULL;
    (void)failing_disarm();
    check_database(rig, answered);
    return all ? FAILING_RIGHT : FAILING_ERROR;
}

static void run_sql(const char *file, const char *sql)
{
    sqlite3 *database;

    FAILING_REQUIRE(sqlite3_open(file, &database) == SQLITE_OK);
    FAILING_REQUIRE(sqlite3_exec(database, sql, NULL, NULL, NULL) == SQLITE_OK);
    (void)sqlite3_close(database);
}

static void remove_database(const char *file)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal", "-mark"};
    char name[64];

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        (void)snprintf(name, sizeof name, "%s%s", file, ends[i]);
        (void)unlink(name);
    }
}

static void make_legacy(void)
{
    remove_database(LEGACY_NAME);
    run_sql(LEGACY_NAME,
        "CREATE TABLE PRMAIN_nohist (version TEXT, pkgarch TEXT, checksum TEXT, value INTEGER,"
        " PRIMARY KEY (version, pkgarch, checksum));"
        "INSERT INTO PRMAIN_nohist VALUES ('v', 'all', 'a', 1), ('v', 'all', 'b', 2),"
        " ('w', 'all', 'c', 12345678901234567)");
}

/* Checks that a database of an older format is taken over completely or not at all. */
static enum failing_outcome run_legacy(void *context)
{
    const struct rig *rig = context;
    struct store_options options = rig->options;
    struct store *store = NULL;
    struct error error;
    sqlite3 *database;
    int result;

    options.file = LEGACY_NAME;
    result = store_open(&store, &options, STORE_WRITER, &error);
    store_close(store);
    (void)failing_disarm();
    FAILING_REQUIRE(sqlite3_open(LEGACY_NAME, &database) == SQLITE_OK);
    if (result == 0)
        FAILING_REQUIRE(count(database, "SELECT count(*) FROM PRMAIN", NULL) == 3);
    if (count(database, "SELECT count(*) FROM sqlite_master WHERE name = 'PRMAIN'", NULL) == 1)
        FAILING_REQUIRE(count(database, "SELECT count(*) IN (0, 3) FROM PRMAIN", NULL) == 1);
    (void)sqlite3_close(database);
    make_legacy();
    return result == 0 ? FAILING_RIGHT : FAILING_ERROR;
}

/* ---- the program ---- */

/* Creates a table with rows that never change, one of which is another program's. */
static void make_database(struct rig *rig)
{
    remove_database(FILE_NAME);
    remove_database(LEGACY_NAME);
    run_sql(FILE_NAME,
        "CREATE TABLE PRMAIN (version TEXT NOT NULL, pkgarch TEXT NOT NULL, checksum TEXT NOT NULL,"
        " value TEXT, PRIMARY KEY (version, pkgarch, checksum, value)) WITHOUT ROWID;"
        "INSERT INTO PRMAIN VALUES"
        " ('fixed', 'a long name of an architecture', '" ACCENTED "', '7')");
    *rig = (struct rig){.n_runs = 0};
    atomic_store(&rig->read_deadline_ms, UINT64_MAX);
    rig->options = (struct store_options){.file = FILE_NAME,
        .sync = STORE_SYNC_OFF,
        .shutting_down = &rig->shutting_down,
        .read_deadline_ms = &rig->read_deadline_ms};
}

int main(int n_arguments, char **arguments)
{
    static struct rig rig;
    const struct failing_case opened = {"opened and closed", run_opened, &rig, false, false};
    const struct failing_case kept = {"kept open", run_kept, &rig, false, true};
    const struct failing_case threads = {"executor", run_executor, &rig, false, false};
    const struct failing_case threads_kept = {"executor, kept", run_kept, &rig, false, true};
    const struct failing_case legacy = {"taking over", run_legacy, &rig, false, false};
    unsigned long every = failing_read_options(n_arguments, arguments);
    long live;

    failing_adopt_libraries();
    make_database(&rig);
    (void)run_opened(&rig); /* creates what SQLite keeps for the process */
    live = failing_live();
    failing_try(&opened, every);
    FAILING_REQUIRE(open_rig(&rig) == 0);
    failing_try(&kept, every);
    close_rig(&rig);
    FAILING_REQUIRE(failing_live() == live);
    failing_try(&threads, every);
    FAILING_REQUIRE(open_executor(&rig) == 0);
    failing_try(&threads_kept, every);
    executor_free(rig.executor);
    rig.executor = NULL;
    FAILING_REQUIRE(failing_live() == live);
    make_legacy();
    failing_try(&legacy, every);
    remove_database(FILE_NAME);
    remove_database(LEGACY_NAME);
    return 0;
}

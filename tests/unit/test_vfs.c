/* SPDX-License-Identifier: MIT */
/* SQLite on the VFS of this program, over one that records what reaches the files: "w" for a write
 * to the WAL, "s" for its sync, "b" for a barrier, "l" and "u" for taking and leaving the lock of
 * writers. */
#include "unit.h"

#include "store/sqlite/vfs.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct recorder {
    sqlite3_vfs vfs;
    sqlite3_vfs *usual;
    char calls[8192];
    size_t n;
    bool fails;  /* writes to the WAL */
    int largest; /* write to the WAL */
} recorder;

struct recorded_file {
    sqlite3_io_methods methods;
    const sqlite3_io_methods *usual;
};

static struct recorded_file *recorded(sqlite3_file *file)
{
    return (
        struct recorded_file *)(void *)((char *)file + (recorder.usual->szOsFile + 15) / 16 * 16);
}

static void record(char call)
{
    if (recorder.n < sizeof recorder.calls - 1)
        recorder.calls[recorder.n++] = call;
    recorder.calls[recorder.n] = '\0';
}

static int record_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    record('w');
    recorder.largest = size > recorder.largest ? size : recorder.largest;
    return recorder.fails ? SQLITE_FULL : recorded(file)->usual->xWrite(file, data, size, offset);
}

static int record_sync(sqlite3_file *file, int flags)
{
    record('s');
    return recorded(file)->usual->xSync(file, flags);
}

static int record_shm_lock(sqlite3_file *file, int first, int n, int flags)
{
    if (first == 0 && n == 1)
        record(flags & SQLITE_SHM_UNLOCK ? 'u' : 'l');
    return recorded(file)->usual->xShmLock(file, first, n, flags);
}

static void record_barrier(sqlite3_file *file)
{
    record('b');
    recorded(file)->usual->xShmBarrier(file);
}

static int record_open(
    sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
    int code = recorder.usual->xOpen(recorder.usual, name, file, flags, out_flags);

    (void)vfs;
    if (code != SQLITE_OK)
        return code;
    *recorded(file) = (struct recorded_file){.methods = *file->pMethods, .usual = file->pMethods};
    if (flags & SQLITE_OPEN_WAL) {
        recorded(file)->methods.xWrite = record_write;
        recorded(file)->methods.xSync = record_sync;
    } else if (flags & SQLITE_OPEN_MAIN_DB) {
        recorded(file)->methods.xShmLock = record_shm_lock;
        recorded(file)->methods.xShmBarrier = record_barrier;
    }
    file->pMethods = &recorded(file)->methods;
    return SQLITE_OK;
}

struct fixture {
    char folder[64];
    char file[80];
    sqlite3 *writer;
    sqlite3 *other; /* opened with SQLite's own VFS */
};

static void run(sqlite3 *database, const char *sql, int expected)
{
    const int code = sqlite3_exec(database, sql, NULL, NULL, NULL);

    if (code != expected)
        print_error("%s: %s\n", sql, sqlite3_errmsg(database));
    assert_int_equal(code, expected);
}

static void forget_calls(void)
{
    recorder.n = 0;
    recorder.calls[0] = '\0';
    recorder.largest = 0;
}

/* Returns the number that the SQL asks for. */
static int ask(sqlite3 *database, const char *sql)
{
    sqlite3_stmt *statement;
    int number;

    assert_int_equal(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    number = sqlite3_column_int(statement, 0);
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return number;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    (void)snprintf(fixture->folder, sizeof fixture->folder, "/tmp/test_vfs.XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    (void)snprintf(fixture->file, sizeof fixture->file, "%s/pr", fixture->folder);
    assert_int_equal(
        sqlite3_open_v2(fixture->file, &fixture->writer,
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, sqlite_vfs_name()),
        SQLITE_OK);
    run(fixture->writer,
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
        "CREATE TABLE t (n INTEGER PRIMARY KEY, bytes BLOB)",
        SQLITE_OK);
    assert_int_equal(sqlite3_open_v2(fixture->file, &fixture->other, SQLITE_OPEN_READWRITE,
                         recorder.usual->zName),
        SQLITE_OK);
    recorder.fails = false;
    forget_calls();
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(sqlite3_close(fixture->other), SQLITE_OK);
    assert_int_equal(sqlite3_close(fixture->writer), SQLITE_OK);
    (void)unlink(fixture->file);
    assert_int_equal(rmdir(fixture->folder), 0);
    free(fixture);
    return 0;
}

#define TEN_ROWS                                                                   \
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10)" \
    "INSERT INTO t (bytes) SELECT zeroblob(4000) FROM c"
#define THOUSAND_ROWS                                                                \
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000)" \
    "INSERT INTO t (bytes) SELECT zeroblob(4000) FROM c"

static void test_a_commit_is_one_write_and_one_sync_before_it_is_published(void **state)
{
    struct fixture *fixture = *state;

    run(fixture->writer, TEN_ROWS, SQLITE_OK);
    assert_non_null(strstr(recorder.calls, "wsb"));
    assert_null(strstr(recorder.calls, "ww"));
    assert_null(strstr(strstr(recorder.calls, "wsb") + 1, "w"));
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM t"), 10);
}

static void test_without_syncs_a_commit_is_written_before_it_is_published(void **state)
{
    struct fixture *fixture = *state;

    run(fixture->writer, "PRAGMA synchronous=OFF", SQLITE_OK);
    forget_calls();
    run(fixture->writer, TEN_ROWS, SQLITE_OK);
    assert_non_null(strstr(recorder.calls, "wb"));
    assert_null(strstr(strstr(recorder.calls, "wb") + 1, "w"));
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM t"), 10);
}

static void test_a_large_transaction_is_written_in_pieces_below_128_kib(void **state)
{
    struct fixture *fixture = *state;

    run(fixture->writer, THOUSAND_ROWS, SQLITE_OK);
    assert_in_range(recorder.largest, 120000, 131071);
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM t"), 1000);
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM pragma_integrity_check"), 1);
}

static void test_nothing_is_written_behind_the_lock_of_writers(void **state)
{
    struct fixture *fixture = *state;

    run(fixture->writer, "PRAGMA cache_size=10; BEGIN", SQLITE_OK);
    run(fixture->writer, THOUSAND_ROWS, SQLITE_OK);
    run(fixture->writer, "ROLLBACK", SQLITE_OK);
    assert_non_null(strstr(recorder.calls, "w")); /* the cache was too small */
    forget_calls();
    run(fixture->other, "INSERT INTO t (bytes) VALUES (x'01')", SQLITE_OK);
    forget_calls();
    assert_int_equal(ask(fixture->writer, "SELECT count(*) FROM t"), 1);
    run(fixture->writer, "INSERT INTO t (bytes) VALUES (x'02')", SQLITE_OK);
    assert_int_equal(recorder.calls[strcspn(recorder.calls, "wl")], 'l');
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM t"), 2);
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM pragma_integrity_check"), 1);
}

static void test_a_transaction_reads_its_own_pages_that_were_collected(void **state)
{
    struct fixture *fixture = *state;

    run(fixture->writer, "PRAGMA cache_size=10; BEGIN", SQLITE_OK);
    run(fixture->writer, THOUSAND_ROWS, SQLITE_OK);
    assert_int_equal(ask(fixture->writer, "SELECT min(length(bytes)) FROM "
                                          "(SELECT bytes FROM t ORDER BY n DESC LIMIT 20)"),
        4000);
    run(fixture->writer, "UPDATE t SET bytes = zeroblob(3000)", SQLITE_OK);
    assert_int_equal(ask(fixture->writer, "SELECT sum(length(bytes)) FROM t"), 3000000);
    run(fixture->writer, "COMMIT", SQLITE_OK);
    assert_int_equal(ask(fixture->other, "SELECT sum(length(bytes)) FROM t"), 3000000);
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM pragma_integrity_check"), 1);
}

static void test_a_write_that_fails_late_fails_the_transaction(void **state)
{
    struct fixture *fixture = *state;

    run(fixture->writer, "PRAGMA cache_size=10; BEGIN", SQLITE_OK);
    run(fixture->writer, TEN_ROWS, SQLITE_OK);
    run(fixture->writer, TEN_ROWS, SQLITE_OK);
    assert_null(strstr(recorder.calls, "w")); /* all of it was collected */
    recorder.fails = true;
    run(fixture->writer, "COMMIT", SQLITE_FULL);
    recorder.fails = false;
    run(fixture->writer, "ROLLBACK", SQLITE_ERROR); /* SQLite has ended it */
    run(fixture->writer, TEN_ROWS, SQLITE_OK);
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM t"), 10);
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM pragma_integrity_check"), 1);
}

/* A barrier can't report that a write has failed, so the commit does. */
static void test_a_rollback_ends_a_failure(void **state)
{
    struct fixture *fixture = *state;
    sqlite3_file *file = NULL;

    run(fixture->writer, "PRAGMA cache_size=10; BEGIN", SQLITE_OK);
    run(fixture->writer, TEN_ROWS, SQLITE_OK);
    run(fixture->writer, TEN_ROWS, SQLITE_OK);
    recorder.fails = true;
    (void)sqlite3_file_control(fixture->writer, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    file->pMethods->xShmBarrier(file);
    assert_non_null(strstr(recorder.calls, "w"));
    recorder.fails = false;
    assert_int_not_equal(
        sqlite3_exec(fixture->writer, TEN_ROWS "; COMMIT", NULL, NULL, NULL), SQLITE_OK);
    if (!sqlite3_get_autocommit(fixture->writer))
        run(fixture->writer, "ROLLBACK", SQLITE_OK);
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM t"), 0);
    run(fixture->writer, TEN_ROWS, SQLITE_OK);
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM t"), 10);
    assert_int_equal(ask(fixture->other, "SELECT count(*) FROM pragma_integrity_check"), 1);
}

/* The methods of the database file write what its WAL has collected; SQLite happens to call them
 * when there is nothing, except for the end of a transaction. */
static void test_barriers_and_locks_write_what_was_collected(void **state)
{
    struct fixture *fixture = *state;
    sqlite3_file *file = NULL;
    void volatile *region;
    sqlite3_int64 size;

    for (int i = 0; i < 6; i++) {
        run(fixture->writer, "PRAGMA cache_size=10; BEGIN", SQLITE_OK);
        run(fixture->writer, TEN_ROWS, SQLITE_OK);
        run(fixture->writer, TEN_ROWS, SQLITE_OK);
        assert_null(strstr(recorder.calls, "w"));
        (void)sqlite3_file_control(fixture->writer, "main",
            i < 5 ? SQLITE_FCNTL_FILE_POINTER : SQLITE_FCNTL_JOURNAL_POINTER, &file);
        if (i == 0)
            file->pMethods->xShmBarrier(file);
        if (i == 1)
            (void)file->pMethods->xShmMap(file, 0, 32768, 0, &region);
        if (i == 2)
            (void)file->pMethods->xShmLock(file, 7, 1, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED);
        if (i == 3)
            (void)file->pMethods->xLock(file, SQLITE_LOCK_SHARED);
        if (i == 4)
            (void)file->pMethods->xUnlock(file, SQLITE_LOCK_SHARED);
        if (i == 5)
            (void)file->pMethods->xFileSize(file, &size);
        assert_non_null(strstr(recorder.calls, "w"));
        if (i == 2)
            (void)file->pMethods->xShmLock(file, 7, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
        run(fixture->writer, "ROLLBACK", SQLITE_OK);
        forget_calls();
    }
}

static void test_others_read_and_write_behind_zeros(void **state)
{
    struct fixture *fixture = *state;
    sqlite3 *copy;
    char command[640];

    run(fixture->writer, TEN_ROWS, SQLITE_OK);
    run(fixture->other, TEN_ROWS, SQLITE_OK);
    /* Whoever has the index anew finds the last frame by itself. */
    (void)snprintf(command, sizeof command,
        "cp %s %s.copy && cp %s-wal %s.copy-wal && test $(stat -c %%s %s-wal) = 1048576",
        fixture->file, fixture->file, fixture->file, fixture->file, fixture->file);
    assert_int_equal(system(command), 0);
    (void)snprintf(command, sizeof command, "%s.copy", fixture->file);
    assert_int_equal(sqlite3_open(command, &copy), SQLITE_OK);
    assert_int_equal(ask(copy, "SELECT count(*) FROM t"), 20);
    assert_int_equal(sqlite3_close(copy), SQLITE_OK);
    (void)unlink(command);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_commit_is_one_write_and_one_sync_before_it_is_published),
        TEST(without_syncs_a_commit_is_written_before_it_is_published),
        TEST(a_large_transaction_is_written_in_pieces_below_128_kib),
        TEST(nothing_is_written_behind_the_lock_of_writers),
        TEST(a_transaction_reads_its_own_pages_that_were_collected),
        TEST(a_write_that_fails_late_fails_the_transaction),
        TEST(a_rollback_ends_a_failure),
        TEST(barriers_and_locks_write_what_was_collected),
        TEST(others_read_and_write_behind_zeros),
    };

    recorder.usual = sqlite3_vfs_find(NULL);
    recorder.vfs = *recorder.usual;
    recorder.vfs.pNext = NULL;
    recorder.vfs.zName = "recorder";
    recorder.vfs.szOsFile = recorder.usual->szOsFile + 16 + (int)sizeof(struct recorded_file);
    recorder.vfs.xOpen = record_open;
    if (sqlite3_vfs_register(&recorder.vfs, 1) != SQLITE_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

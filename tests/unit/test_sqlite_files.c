/* SPDX-License-Identifier: MIT */
/* A reader does not trust rows that another connection may have stored in a removed WAL. */
#include "unit.h"

#include "store/scan.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct fixture {
    char folder[64];
    char file[80];
    char wal[88];
    atomic_bool shutting_down;
    atomic_ullong read_deadline_ms;
    struct store_options options;
    struct store *writer;
    struct store *reader;
    sqlite3 *other; /* commits without looking at the files, as BitBake's server does */
    struct error error;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    (void)snprintf(fixture->folder, sizeof fixture->folder, "/tmp/test_sqlite_files.XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    (void)snprintf(fixture->file, sizeof fixture->file, "%s/pr", fixture->folder);
    (void)snprintf(fixture->wal, sizeof fixture->wal, "%s-wal", fixture->file);
    atomic_store(&fixture->read_deadline_ms, UINT64_MAX);
    fixture->options = (struct store_options){.file = fixture->file,
        .shutting_down = &fixture->shutting_down,
        .read_deadline_ms = &fixture->read_deadline_ms};
    assert_int_equal(
        store_open(&fixture->writer, &fixture->options, STORE_WRITER, &fixture->error), 0);
    assert_int_equal(
        store_open(&fixture->reader, &fixture->options, STORE_READER, &fixture->error), 0);
    assert_int_equal(sqlite3_open(fixture->file, &fixture->other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(fixture->other, "SELECT * FROM PRMAIN", NULL, NULL, NULL), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    static const char *const ends[] = {"", "-wal", "-shm", "-mark"};
    char path[96];

    assert_int_equal(sqlite3_close(fixture->other), SQLITE_OK);
    store_close(fixture->reader);
    store_close(fixture->writer);
    for (size_t i = 0; i < COUNT(ends); i++) {
        (void)snprintf(path, sizeof path, "%s%s", fixture->file, ends[i]);
        (void)remove(path);
    }
    assert_int_equal(rmdir(fixture->folder), 0);
    free(fixture);
    return 0;
}

/* Removes the WAL, and stores a row in it all the same. */
static void lose_a_row(struct fixture *fixture)
{
    assert_int_equal(unlink(fixture->wal), 0);
    assert_int_equal(sqlite3_exec(fixture->other, "INSERT INTO PRMAIN VALUES ('v', 'a', 'c', '0')",
                         NULL, NULL, NULL),
        0);
}

static void rows_that_came_after_the_check_are_not_answered_from(void **state)
{
    static const struct store_batch batch = {.first = NULL, .until_ms = UINT64_MAX};
    struct fixture *fixture = *state;
    enum store_changes changes;

    assert_int_equal(store_begin_read(fixture->reader, &batch, STORE_BLOCK, &fixture->error), 0);
    lose_a_row(fixture);
    assert_int_equal(store_find_changes(fixture->reader, &changes, &fixture->error), ERROR_LOCKED);
    assert_int_equal(changes, STORE_CHANGED);
    store_rollback(fixture->reader);
}

static void rows_that_came_after_the_check_are_not_exported(void **state)
{
    static const struct store_batch batch = {.first = NULL, .until_ms = UINT64_MAX};
    static const struct store_filter filter = {.version = {.length = 0}};
    struct fixture *fixture = *state;

    assert_int_equal(store_begin_read(fixture->reader, &batch, STORE_BLOCK, &fixture->error), 0);
    lose_a_row(fixture);
    assert_int_equal(store_scan_begin(fixture->reader, &filter, &fixture->error), ERROR_LOCKED);
    store_rollback(fixture->reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            rows_that_came_after_the_check_are_not_answered_from, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            rows_that_came_after_the_check_are_not_exported, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

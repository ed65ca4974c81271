/* SPDX-License-Identifier: MIT */
/* The writes to a WAL are joined, and nobody sees a commit before its frames are in the file. The
 * file is a text of calls: "w 32+4120" writes 4120 bytes at 32, "s" syncs, "t 8" cuts. */
#include "unit.h"

#include "store/sqlite/wal_writes.h"

#include <stdio.h>
#include <stdlib.h>

#define HEADER 24
#define PAGE 4096
#define FRAME (HEADER + PAGE)
#define KIB128 131072

struct fixture {
    sqlite3_file file; /* first */
    char calls[4096];
    int largest;           /* write */
    int fail_after;        /* this many more writes work; -1: all */
    sqlite3_int64 size;    /* of the file */
    uint8_t bytes[200000]; /* the beginning of the file */
    struct wal_writes writes;
    uint8_t header[HEADER];
    uint8_t page[PAGE];
};

static void note(struct fixture *fixture, const char *call, sqlite3_int64 offset, int size)
{
    const size_t n = strlen(fixture->calls);

    (void)snprintf(fixture->calls + n, sizeof fixture->calls - n, "%s %lld+%d,", call,
        (long long)offset, size);
}

static int file_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 offset)
{
    struct fixture *fixture = (struct fixture *)file;

    note(fixture, "w", offset, size);
    fixture->largest = size > fixture->largest ? size : fixture->largest;
    if (fixture->fail_after == 0)
        return SQLITE_FULL;
    if (fixture->fail_after > 0)
        fixture->fail_after--;
    if ((size_t)offset + (size_t)size <= sizeof fixture->bytes)
        memcpy(fixture->bytes + offset, data, (size_t)size);
    if (offset + size > fixture->size)
        fixture->size = offset + size;
    return SQLITE_OK;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct fixture *fixture = (struct fixture *)file;

    note(fixture, "t", size, 0);
    fixture->size = size;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    *size = ((struct fixture *)file)->size;
    return SQLITE_OK;
}

static int set_up(void **state)
{
    static const sqlite3_io_methods methods = {
        .iVersion = 1, .xWrite = file_write, .xTruncate = file_truncate, .xFileSize = file_size};
    struct fixture *fixture = calloc(1, sizeof *fixture);

    assert_non_null(fixture);
    fixture->fail_after = -1;
    memset(fixture->page, 7, sizeof fixture->page);
    wal_writes_open(&fixture->writes, &fixture->file, &methods);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    wal_writes_close(&fixture->writes);
    free(fixture);
    return 0;
}

/* Adds a frame, as SQLite writes it. */
static int add_frame(struct fixture *fixture, int number, bool commits)
{
    const sqlite3_int64 offset = 32 + (sqlite3_int64)number * FRAME;
    int code;

    fixture->header[3] = 1;
    fixture->header[7] = commits ? 9 : 0;
    code = wal_writes_add(&fixture->writes, fixture->header, HEADER, offset);
    return code == SQLITE_OK
               ? wal_writes_add(&fixture->writes, fixture->page, PAGE, offset + HEADER)
               : code;
}

static void test_a_transaction_is_written_at_once_with_its_last_frame(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add_frame(fixture, 0, false), SQLITE_OK);
    assert_int_equal(add_frame(fixture, 1, false), SQLITE_OK);
    assert_string_equal(fixture->calls, "");
    assert_int_equal(add_frame(fixture, 2, true), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 32+12360,");
    assert_int_equal(fixture->bytes[32 + FRAME + 3], 1);
    assert_memory_equal(fixture->bytes + 32 + 2 * FRAME + HEADER, fixture->page, PAGE);
}

static void test_the_last_page_is_written_also_if_its_header_went_before(void **state)
{
    struct fixture *fixture = *state;

    fixture->header[7] = 9;
    assert_int_equal(wal_writes_add(&fixture->writes, fixture->header, HEADER, 32), SQLITE_OK);
    assert_int_equal(wal_writes_flush(&fixture->writes), SQLITE_OK);
    assert_int_equal(wal_writes_add(&fixture->writes, fixture->page, PAGE, 56), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 32+24,w 56+4096,");
}

static void test_each_write_is_shorter_than_128_kib(void **state)
{
    struct fixture *fixture = *state;
    const int all = KIB128 / 64;

    /* 64 writes would be 128 KiB. */
    for (int i = 0; i < 64; i++)
        assert_int_equal(
            wal_writes_add(&fixture->writes, fixture->page, all, 32 + i * all), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 32+129024,");
    assert_int_equal(wal_writes_flush(&fixture->writes), SQLITE_OK);
    /* A byte less is joined. */
    fixture->calls[0] = '\0';
    for (int i = 0; i < 64; i++)
        assert_int_equal(wal_writes_add(&fixture->writes, fixture->page, i < 63 ? all : all - 1,
                             200000 + i * all),
            SQLITE_OK);
    assert_int_equal(wal_writes_flush(&fixture->writes), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 200000+131071,");
}

static void test_frames_of_many_pages_stay_below_the_limit(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 100; i++)
        assert_int_equal(add_frame(fixture, i, i == 99), SQLITE_OK);
    assert_true(fixture->largest < KIB128);
    assert_int_equal(fixture->size, 32 + 100 * FRAME);
}

static void test_the_header_of_the_file_is_written_at_once(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(wal_writes_add(&fixture->writes, fixture->page, 32, 0), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 0+32,");
}

static void test_a_page_that_is_written_again_comes_behind_what_was_collected(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add_frame(fixture, 0, false), SQLITE_OK);
    assert_int_equal(add_frame(fixture, 1, false), SQLITE_OK);
    assert_int_equal(wal_writes_add(&fixture->writes, fixture->header, 8, 40), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 32+8240,w 40+8,");
}

static void test_a_read_of_collected_bytes_writes_them_first(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add_frame(fixture, 1, false), SQLITE_OK);
    assert_int_equal(wal_writes_prepare_read(&fixture->writes, FRAME, 32), SQLITE_OK);
    assert_string_equal(fixture->calls, "");
    assert_int_equal(wal_writes_prepare_read(&fixture->writes, FRAME + 1, 32), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 4152+4120,");
}

static void test_after_a_failed_write_the_transaction_cannot_commit(void **state)
{
    struct fixture *fixture = *state;

    fixture->fail_after = 0;
    assert_int_equal(add_frame(fixture, 0, false), SQLITE_OK);
    assert_int_equal(wal_writes_flush(&fixture->writes), SQLITE_FULL);
    fixture->fail_after = -1;
    assert_int_equal(add_frame(fixture, 1, true), SQLITE_FULL);
    assert_int_equal(wal_writes_prepare_sync(&fixture->writes), SQLITE_FULL);
    assert_int_equal(wal_writes_prepare_read(&fixture->writes, 1, 32), SQLITE_FULL);
    assert_int_equal(wal_writes_prepare_read(&fixture->writes, 32, 0), SQLITE_OK);
    wal_writes_end_transaction(&fixture->writes);
    assert_int_equal(add_frame(fixture, 0, true), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 32+4120,w 32+4120,");
}

static void test_a_failure_of_the_last_write_is_reported_with_the_last_frame(void **state)
{
    struct fixture *fixture = *state;

    fixture->fail_after = 0;
    assert_int_equal(add_frame(fixture, 0, false), SQLITE_OK);
    assert_int_equal(add_frame(fixture, 1, true), SQLITE_FULL);
}

static void test_the_next_transaction_may_begin_where_one_was_rolled_back(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add_frame(fixture, 0, false), SQLITE_OK);
    wal_writes_end_transaction(&fixture->writes);
    assert_string_equal(fixture->calls, "w 32+4120,");
    fixture->calls[0] = '\0';
    assert_int_equal(add_frame(fixture, 0, false), SQLITE_OK);
    assert_int_equal(add_frame(fixture, 1, true), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 32+8240,");
}

static void test_before_a_sync_the_file_gets_its_size_for_the_next_ones(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add_frame(fixture, 0, true), SQLITE_OK);
    assert_int_equal(wal_writes_prepare_sync(&fixture->writes), SQLITE_OK);
    assert_int_equal(fixture->size, 1048576);
    assert_memory_equal(fixture->bytes + 32 + HEADER, fixture->page, PAGE);
    assert_int_equal(fixture->bytes[32 + FRAME], 0);
    wal_writes_end_transaction(&fixture->writes);
    fixture->calls[0] = '\0';
    assert_int_equal(add_frame(fixture, 1, true), SQLITE_OK);
    assert_int_equal(wal_writes_prepare_sync(&fixture->writes), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 4152+4120,");
}

static void test_a_longer_file_is_left_as_it_is(void **state)
{
    struct fixture *fixture = *state;

    fixture->size = 5000000;
    assert_int_equal(add_frame(fixture, 0, true), SQLITE_OK);
    assert_int_equal(wal_writes_prepare_sync(&fixture->writes), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 32+4120,");
}

static void test_without_space_a_file_keeps_its_size(void **state)
{
    struct fixture *fixture = *state;

    fixture->fail_after = 3;
    assert_int_equal(add_frame(fixture, 0, true), SQLITE_OK);
    assert_int_equal(wal_writes_prepare_sync(&fixture->writes), SQLITE_OK);
    assert_int_equal(fixture->size, 32 + FRAME);
    /* It is not tried again before it would be needed again. */
    fixture->fail_after = -1;
    fixture->calls[0] = '\0';
    assert_int_equal(add_frame(fixture, 1, true), SQLITE_OK);
    assert_int_equal(wal_writes_prepare_sync(&fixture->writes), SQLITE_OK);
    assert_string_equal(fixture->calls, "w 4152+4120,");
}

static void test_a_sync_without_a_transaction_changes_nothing(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(add_frame(fixture, 0, true), SQLITE_OK);
    wal_writes_end_transaction(&fixture->writes);
    fixture->calls[0] = '\0';
    assert_int_equal(wal_writes_prepare_sync(&fixture->writes), SQLITE_OK);
    assert_string_equal(fixture->calls, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_transaction_is_written_at_once_with_its_last_frame),
        TEST(the_last_page_is_written_also_if_its_header_went_before),
        TEST(each_write_is_shorter_than_128_kib),
        TEST(frames_of_many_pages_stay_below_the_limit),
        TEST(the_header_of_the_file_is_written_at_once),
        TEST(a_page_that_is_written_again_comes_behind_what_was_collected),
        TEST(a_read_of_collected_bytes_writes_them_first),
        TEST(after_a_failed_write_the_transaction_cannot_commit),
        TEST(a_failure_of_the_last_write_is_reported_with_the_last_frame),
        TEST(the_next_transaction_may_begin_where_one_was_rolled_back),
        TEST(before_a_sync_the_file_gets_its_size_for_the_next_ones),
        TEST(a_longer_file_is_left_as_it_is),
        TEST(without_space_a_file_keeps_its_size),
        TEST(a_sync_without_a_transaction_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

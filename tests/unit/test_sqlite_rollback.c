/* SPDX-License-Identifier: MIT */
/* What reads for too long is interrupted; the end of its transaction is not. */
#include "unit.h"

#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

/* SQLite asks whether to go on after so many steps of one statement, all its runs counted. */
#define TRANSACTIONS 20000

static void remove_all(const char *folder)
{
    static const char *const names[] = {"/pr", "/pr-wal", "/pr-shm", "/pr-mark", ""};
    char path[64];

    for (size_t i = 0; i < COUNT(names); i++) {
        (void)snprintf(path, sizeof path, "%s%s", folder, names[i]);
        assert_int_equal(remove(path), 0);
    }
}

static void a_reader_whose_time_is_up_can_begin_again(void **state)
{
    char folder[] = "/tmp/test_sqlite_rollback.XXXXXX";
    char file[sizeof folder + 8];
    atomic_bool shutting_down = false;
    atomic_ullong read_deadline_ms = UINT64_MAX;
    struct store_options options = {
        .file = file, .shutting_down = &shutting_down, .read_deadline_ms = &read_deadline_ms};
    struct store *writer = NULL;
    struct store *reader = NULL;
    struct error error = {.text = ""};

    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(file, sizeof file, "%s/pr", folder);
    assert_int_equal(store_open(&writer, &options, STORE_WRITER, &error), 0);
    assert_int_equal(store_open(&reader, &options, STORE_READER, &error), 0);
    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        atomic_store(&read_deadline_ms, UINT64_MAX);
        if (store_begin_read(reader, NULL, STORE_BLOCK, &error) != 0)
            fail_msg("transaction %u: %s", i, error.text);
        atomic_store(&read_deadline_ms, 0);
        store_rollback(reader);
    }
    store_close(reader);
    store_close(writer);
    remove_all(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_whose_time_is_up_can_begin_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

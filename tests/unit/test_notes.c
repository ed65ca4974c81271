/* SPDX-License-Identifier: MIT */
/* What was noted for the audit log: all of it comes out, once, in batches. */
#include "audit/notes.h"

#include "unit.h"

#include <stdio.h>

struct fixture {
    struct notes notes;
    struct notes_batch batch;
};

static int begin(void **state)
{
    struct fixture *fixture = test_calloc(1, sizeof *fixture);

    notes_init(&fixture->notes);
    *state = fixture;
    return 0;
}

static int end(void **state)
{
    struct fixture *fixture = *state;

    notes_clear(&fixture->notes);
    test_free(fixture);
    return 0;
}

/* Returns a number as text, until the next call. */
static const char *number_text(int number)
{
    static char text[16];

    (void)snprintf(text, sizeof text, "%d", number);
    return text;
}

static void add_revision(struct fixture *fixture, int number)
{
    const char *value = number_text(number);
    const struct audit_revision revision = {
        .time_us = number,
        .version = text_of("m4"),
        .pkgarch = text_of("all"),
        .checksum = text_of("c"),
        .value = text_of(value),
        .request = AUDIT_IMPORT_ONE,
        .is_return = true,
        .peer = text_of("10.0.0.7"),
        .rights = text_of("rw"),
    };

    assert_true(notes_add_revision(&fixture->notes, &revision));
}

static void records_come_out_in_their_order(void **state)
{
    struct fixture *fixture = *state;
    const int n = 2 * NOTES_BATCH + 7;
    int seen = 0;

    for (int i = 0; i < n; i++)
        add_revision(fixture, i);
    while (!notes_is_empty(&fixture->notes)) {
        notes_peek(&fixture->notes, &fixture->batch);
        assert_true(fixture->batch.batch.n_revisions > 0);
        for (size_t i = 0; i < fixture->batch.batch.n_revisions; i++, seen++) {
            const struct audit_revision *revision = &fixture->batch.revisions[i];

            assert_int_equal(revision->time_us, seen);
            assert_true(text_is(revision->value, number_text(seen)));
            assert_true(text_is(revision->version, "m4") && text_is(revision->peer, "10.0.0.7"));
            assert_true(revision->is_return && revision->request == AUDIT_IMPORT_ONE);
            assert_int_equal(revision->annotations.length, 0);
        }
        notes_take(&fixture->notes, &fixture->batch);
    }
    assert_int_equal(seen, n);
}

static void requests_for_a_content_are_counted_together(void **state)
{
    struct fixture *fixture = *state;
    const struct text version = text_of("m4");
    const struct text pkgarch = text_of("all");

    for (int i = 1; i <= 5; i++)
        assert_true(notes_add_use(&fixture->notes, version, pkgarch, text_of("a"), i));
    assert_true(notes_add_use(&fixture->notes, version, pkgarch, text_of("b"), 9));
    assert_true(notes_add_use(&fixture->notes, text_of("m4a"), text_of("ll"), text_of("a"), 9));
    notes_peek(&fixture->notes, &fixture->batch);
    assert_int_equal(fixture->batch.batch.n_uses, 3);
    assert_int_equal(fixture->batch.n, 7);
    assert_int_equal(fixture->batch.uses[0].count, 5);
    assert_int_equal(fixture->batch.uses[0].last_us, 5);
    assert_true(text_is(fixture->batch.uses[0].checksum, "a"));
    assert_true(text_is(fixture->batch.uses[2].version, "m4a"));
    assert_true(text_is(fixture->batch.uses[2].pkgarch, "ll"));
    notes_take(&fixture->notes, &fixture->batch);
    assert_true(notes_is_empty(&fixture->notes));
}

static void a_batch_that_is_not_taken_comes_again(void **state)
{
    struct fixture *fixture = *state;

    add_revision(fixture, 1);
    notes_peek(&fixture->notes, &fixture->batch);
    notes_peek(&fixture->notes, &fixture->batch);
    assert_int_equal(fixture->batch.batch.n_revisions, 1);
    assert_false(notes_is_empty(&fixture->notes));
}

static void memory_grows_with_the_notes(void **state)
{
    struct fixture *fixture = *state;
    const size_t before = notes_bytes(&fixture->notes);

    add_revision(fixture, 1);
    assert_true(notes_bytes(&fixture->notes) > before);
}

#define NOTES_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        NOTES_TEST(records_come_out_in_their_order),
        NOTES_TEST(requests_for_a_content_are_counted_together),
        NOTES_TEST(a_batch_that_is_not_taken_comes_again),
        NOTES_TEST(memory_grows_with_the_notes),
    };

    return cmocka_run_group_tests_name("notes", tests, NULL, NULL);
}

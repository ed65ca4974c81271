/* SPDX-License-Identifier: MIT */
/* Buffers: what is appended is there, and a failure is remembered until the end. */
#include "base/buffer.h"

#include "unit.h"

static void an_empty_buffer_holds_nothing(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;

    (void)state;
    assert_int_equal(buffer_text(&buffer).length, 0);
    assert_false(buffer_failed(&buffer));
    buffer_append(&buffer, NULL, 0);
    buffer_append_string(&buffer, "");
    buffer_drop_front(&buffer, 0);
    buffer_reset(&buffer, 0);
    assert_int_equal(buffer_text(&buffer).length, 0);
    assert_false(buffer_failed(&buffer));
    buffer_free(&buffer);
}

static void pieces_are_appended_in_order(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;

    (void)state;
    buffer_append(&buffer, "abc", 2);
    buffer_append_text(&buffer, TEXT("c\0d"));
    buffer_append_string(&buffer, "ef");
    assert_text_equal(buffer_text(&buffer), TEXT("abc\0def"));
    buffer_free(&buffer);
    assert_int_equal(buffer_text(&buffer).length, 0);
}

static void a_buffer_grows_as_needed(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;

    (void)state;
    for (size_t i = 0; i < 10000; i++)
        buffer_append(&buffer, &"0123456789"[i % 10], 1);
    assert_false(buffer_failed(&buffer));
    assert_int_equal(buffer.length, 10000);
    assert_true(buffer.capacity >= buffer.length);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(buffer.bytes[i], '0' + (int)(i % 10));
    buffer_free(&buffer);
}

static void what_is_dropped_at_the_front_moves_the_rest_up(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;

    (void)state;
    buffer_append_string(&buffer, "0123456789");
    buffer_drop_front(&buffer, 3);
    assert_text_is(buffer_text(&buffer), "3456789");
    buffer_append_string(&buffer, "x");
    assert_text_is(buffer_text(&buffer), "3456789x");
    buffer_drop_front(&buffer, 8);
    assert_int_equal(buffer.length, 0);
    buffer_free(&buffer);
}

static void a_reset_keeps_memory_only_up_to_the_limit(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;
    size_t capacity;

    (void)state;
    buffer_append_string(&buffer, "some text");
    capacity = buffer.capacity;
    buffer_reset(&buffer, capacity);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(buffer.capacity, capacity);
    buffer_append_string(&buffer, "other");
    assert_text_is(buffer_text(&buffer), "other");
    buffer_reset(&buffer, capacity - 1);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(buffer.capacity, 0);
    assert_null(buffer.bytes);
    buffer_free(&buffer);
}

static void a_buffer_that_got_no_memory_stays_failed(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;

    (void)state;
    buffer_append_string(&buffer, "before");
    buffer_append(&buffer, "never read", SIZE_MAX / 2);
    assert_true(buffer_failed(&buffer));
    buffer_append_string(&buffer, "after");
    assert_true(buffer_failed(&buffer));
    assert_int_equal(buffer.length, strlen("before"));
    buffer_free(&buffer);
}

static void a_reset_makes_a_failed_buffer_usable_again(void **state)
{
    struct buffer buffer = BUFFER_EMPTY;

    (void)state;
    buffer_append(&buffer, "never read", SIZE_MAX / 2);
    assert_true(buffer_failed(&buffer));
    buffer_reset(&buffer, 4096);
    assert_false(buffer_failed(&buffer));
    buffer_append_string(&buffer, "again");
    assert_text_is(buffer_text(&buffer), "again");
    buffer_free(&buffer);
    assert_false(buffer_failed(&buffer));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_holds_nothing),
        cmocka_unit_test(pieces_are_appended_in_order),
        cmocka_unit_test(a_buffer_grows_as_needed),
        cmocka_unit_test(what_is_dropped_at_the_front_moves_the_rest_up),
        cmocka_unit_test(a_reset_keeps_memory_only_up_to_the_limit),
        cmocka_unit_test(a_buffer_that_got_no_memory_stays_failed),
        cmocka_unit_test(a_reset_makes_a_failed_buffer_usable_again),
    };

    return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}

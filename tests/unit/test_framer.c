/* SPDX-License-Identifier: MIT */
/* Bytes to messages: lines, chunk streams, their limits. */
#include "wire/framer.h"

#include "unit.h"

#define START "{\"chunk-stream\": null}\n"
#define LIMIT ((size_t)200000)

struct wire {
    struct framer framer;
    struct error error;
};

static int open_wire(void **state)
{
    struct wire *wire = test_calloc(1, sizeof *wire);

    framer_init(&wire->framer, LIMIT);
    *state = wire;
    return 0;
}

static int close_wire(void **state)
{
    struct wire *wire = *state;

    framer_free(&wire->framer);
    test_free(wire);
    return 0;
}

static void feed_text(struct wire *wire, struct text text)
{
    assert_int_equal(framer_feed(&wire->framer, text.bytes, text.length, &wire->error), 0);
}

static void feed(struct wire *wire, const char *string)
{
    feed_text(wire, text_of(string));
}

/* Bytes that are gone after the call, so that nobody can keep pointing to them. */
static void feed_repeated(struct wire *wire, char byte, size_t count)
{
    char *bytes = test_malloc(count + 1);

    memset(bytes, byte, count);
    feed_text(wire, (struct text){bytes, count});
    test_free(bytes);
}

static enum framer_result next(struct wire *wire, struct text *message)
{
    return framer_next_message(&wire->framer, message, &wire->error);
}

static void expect_message(struct wire *wire, const char *expected)
{
    struct text message;

    assert_int_equal(next(wire, &message), FRAMER_READY);
    assert_text_is(message, expected);
}

static void expect_more(struct wire *wire)
{
    struct text message;

    assert_int_equal(next(wire, &message), FRAMER_MORE);
}

static void expect_lost(struct wire *wire, const char *words)
{
    struct text message;

    assert_int_equal(next(wire, &message), FRAMER_LOST);
    assert_says(&wire->error, words);
}

/* ---- incoming lines ---- */

static void a_line_is_a_message(void **state)
{
    expect_more(*state);
    feed(*state, "{\"ping\": {}}\n");
    expect_message(*state, "{\"ping\": {}}");
    expect_more(*state);
}

static void a_line_waits_for_its_end(void **state)
{
    feed(*state, "{\"ping\"");
    expect_more(*state);
    expect_more(*state);
    feed(*state, "");
    expect_more(*state);
    feed(*state, ": {}}");
    expect_more(*state);
    feed(*state, "\nnu");
    expect_message(*state, "{\"ping\": {}}");
    expect_more(*state);
    feed(*state, "ll\n");
    expect_message(*state, "null");
}

static void requests_sent_together_come_one_after_another(void **state)
{
    feed(*state, "1\n22\n" START "3\n\n4\nhalf");
    expect_message(*state, "1");
    expect_message(*state, "22");
    expect_message(*state, "3");
    expect_message(*state, "4");
    expect_more(*state);
    feed(*state, "\n");
    expect_message(*state, "half");
}

static void a_line_end_may_be_cr_lf(void **state)
{
    feed(*state, "one\r\n" START "two\r\n\r\n");
    expect_message(*state, "one");
    expect_message(*state, "two");
    feed(*state, "{\"chunk-stream\": null}\r\nthree\r");
    expect_more(*state);
    feed(*state, "\n\r");
    expect_more(*state);
    feed(*state, "\n");
    expect_message(*state, "three");
}

static void only_one_cr_before_the_lf_belongs_to_the_line_end(void **state)
{
    feed(*state, "a\rb\n\rc\r\r\n\r\r\n");
    expect_message(*state, "a\rb");
    expect_message(*state, "\rc\r");
    expect_message(*state, "\r");
}

static void blanks_and_nuls_of_a_line_are_kept(void **state)
{
    struct text message;

    feed_text(*state, TEXT(" a\0b \t\n \n"));
    assert_int_equal(next(*state, &message), FRAMER_READY);
    assert_text_equal(message, TEXT(" a\0b \t"));
    expect_message(*state, " ");
}

static void an_empty_line_is_no_message(void **state)
{
    feed(*state, "null\n\n");
    expect_message(*state, "null");
    expect_lost(*state, "empty line");
}

static void an_empty_line_with_cr_is_no_message(void **state)
{
    feed(*state, "\r\n");
    expect_lost(*state, "empty line");
}

static void a_conversation_can_come_a_byte_at_a_time(void **state)
{
    static const char bytes[] = "one\n" START "two \r\n, three\n\nfour\r\n"
                                "{ \"chunk-stream\" :null }\r\nfive\r\n\r\n";
    static const char *const expected[] = {"one", "two , three", "four", "five"};
    size_t messages = 0;

    for (size_t i = 0; i < strlen(bytes); i++) {
        struct text message;

        feed_text(*state, (struct text){bytes + i, 1});
        if (next(*state, &message) != FRAMER_READY)
            continue;
        assert_true(messages < COUNT(expected));
        assert_text_is(message, expected[messages++]);
        expect_more(*state);
    }
    assert_int_equal(messages, COUNT(expected));
}

static void lines_are_read_before_messages(void **state)
{
    struct wire *wire = *state;
    struct text line;

    feed(wire, "PRSERVICE 1.0\n\r\nnull\n");
    assert_int_equal(framer_next_line(&wire->framer, 100, &line, &wire->error), FRAMER_READY);
    assert_text_is(line, "PRSERVICE 1.0");
    assert_int_equal(framer_next_line(&wire->framer, 100, &line, &wire->error), FRAMER_READY);
    assert_int_equal(line.length, 0);
    expect_message(wire, "null");
    assert_int_equal(framer_next_line(&wire->framer, 100, &line, &wire->error), FRAMER_MORE);
}

/* ---- incoming chunk streams ---- */

static void a_chunk_stream_is_the_message_of_its_chunks(void **state)
{
    feed(*state, START);
    expect_more(*state);
    feed(*state, "{\"pi\n");
    expect_more(*state);
    feed(*state, "ng\": \n{}}\n");
    expect_more(*state);
    feed(*state, "\n");
    expect_message(*state, "{\"ping\": {}}");
    feed(*state, START "again\n\n");
    expect_message(*state, "again");
}

static void a_chunk_stream_may_be_empty(void **state)
{
    feed(*state, START "\n" START "x\n\n" START "\n");
    expect_message(*state, "");
    expect_message(*state, "x");
    expect_message(*state, "");
}

static void inside_a_chunk_stream_a_start_is_a_chunk(void **state)
{
    feed(*state, START START "x\n\n");
    expect_message(*state, "{\"chunk-stream\": null}x");
}

static void the_start_of_a_chunk_stream_may_have_blanks_as_json_has(void **state)
{
    static const char *const starts[] = {"{\"chunk-stream\":null}\n",
        " { \"chunk-stream\" : null } \n", "{\t\"chunk-stream\"\t:\tnull\t}\r\n"};

    for (size_t i = 0; i < COUNT(starts); i++) {
        feed(*state, starts[i]);
        expect_more(*state);
        feed(*state, "chunk\n\n");
        expect_message(*state, "chunk");
    }
}

static void other_lines_start_no_chunk_stream(void **state)
{
    static const char *const lines[] = {"{\"chunk-stream\": 1}", "{\"chunk-stream\": nul}",
        "{\"chunk-stream\": null, \"ping\": {}}", "{\"chunk-stream\": null}}",
        "{\"chunk-stream\": null", "\"chunk-stream\"", "{\"chunk-stream \": null}",
        "{\"chunk -stream\": null}", "{\"CHUNK-STREAM\": null}", "{chunk-stream: null}", "{", "{}"};

    for (size_t i = 0; i < COUNT(lines); i++) {
        feed(*state, lines[i]);
        feed(*state, "\n");
        expect_message(*state, lines[i]);
    }
}

/* ---- limits of what comes in ---- */

static void a_line_may_be_64_kib_long(void **state)
{
    struct text message;

    for (int cr = 0; cr < 2; cr++) {
        feed_repeated(*state, 'x', 65536);
        expect_more(*state);
        feed(*state, cr ? "\r\n" : "\n");
        assert_int_equal(next(*state, &message), FRAMER_READY);
        assert_int_equal(message.length, 65536);
        assert_int_equal(message.bytes[0], 'x');
        assert_int_equal(message.bytes[65535], 'x');
    }
}

static void a_longer_line_is_refused(void **state)
{
    feed_repeated(*state, 'x', 65537);
    feed(*state, "\n");
    expect_lost(*state, "65536");
}

static void a_longer_line_with_cr_is_refused(void **state)
{
    feed_repeated(*state, 'x', 65537);
    feed(*state, "\r\n");
    expect_lost(*state, "65536");
}

static void a_longer_line_is_refused_before_it_ends(void **state)
{
    feed_repeated(*state, 'x', 65538);
    expect_lost(*state, "65536");
}

static void a_longer_chunk_is_refused(void **state)
{
    feed(*state, START);
    feed_repeated(*state, 'x', 65537);
    feed(*state, "\n");
    expect_lost(*state, "65536");
}

static void a_lines_limit_is_the_callers(void **state)
{
    struct wire *wire = *state;
    struct text line;

    feed(wire, "0123456789\n0123456789\r\n0123456789X\n");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(framer_next_line(&wire->framer, 10, &line, &wire->error), FRAMER_READY);
        assert_text_is(line, "0123456789");
    }
    assert_int_equal(framer_next_line(&wire->framer, 10, &line, &wire->error), FRAMER_LOST);
    assert_says(&wire->error, "longer than 10 bytes");
}

static void a_line_as_long_as_the_message_limit_is_taken(void **state)
{
    ((struct wire *)*state)->framer.max_message_bytes = 10;
    feed(*state, "0123456789\n0123456789\r\n0123456789X\n");
    expect_message(*state, "0123456789");
    expect_message(*state, "0123456789");
    expect_lost(*state, "a message is longer than 10 bytes; the limit is --max-message-bytes");
}

static void a_chunk_stream_as_long_as_the_message_limit_is_taken(void **state)
{
    ((struct wire *)*state)->framer.max_message_bytes = 10;
    for (int i = 0; i < 2; i++) { /* the limit is each message's */
        feed(*state, START "012345\n6789\n\n");
        expect_message(*state, "0123456789");
    }
}

static void a_longer_chunk_stream_is_refused_before_it_ends(void **state)
{
    ((struct wire *)*state)->framer.max_message_bytes = 10;
    feed(*state, START "012345\n6789\n");
    expect_more(*state);
    feed(*state, "X\n");
    expect_lost(*state, "10 bytes");
}

static void a_message_is_many_chunks_long(void **state)
{
    struct text message;

    feed(*state, START);
    for (int i = 0; i < 4; i++) {
        feed_repeated(*state, (char)('a' + i), 50000);
        feed(*state, "\n");
        expect_more(*state);
    }
    feed(*state, "\n");
    assert_int_equal(next(*state, &message), FRAMER_READY);
    assert_int_equal(message.length, LIMIT);
    for (size_t i = 0; i < LIMIT; i++)
        if (message.bytes[i] != (char)('a' + (int)(i / 50000)))
            fail_msg("byte %zu is '%c'", i, message.bytes[i]);
}

static void bytes_that_find_no_memory_are_an_error(void **state)
{
    struct wire *wire = *state;

    assert_int_equal(
        framer_feed(&wire->framer, "never read", SIZE_MAX / 2, &wire->error), ERROR_MEMORY);
    assert_says(&wire->error, "memory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_wire, close_wire)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_line_is_a_message),
        TEST(a_line_waits_for_its_end),
        TEST(requests_sent_together_come_one_after_another),
        TEST(a_line_end_may_be_cr_lf),
        TEST(only_one_cr_before_the_lf_belongs_to_the_line_end),
        TEST(blanks_and_nuls_of_a_line_are_kept),
        TEST(an_empty_line_is_no_message),
        TEST(an_empty_line_with_cr_is_no_message),
        TEST(a_conversation_can_come_a_byte_at_a_time),
        TEST(lines_are_read_before_messages),
        TEST(a_chunk_stream_is_the_message_of_its_chunks),
        TEST(a_chunk_stream_may_be_empty),
        TEST(inside_a_chunk_stream_a_start_is_a_chunk),
        TEST(the_start_of_a_chunk_stream_may_have_blanks_as_json_has),
        TEST(other_lines_start_no_chunk_stream),
        TEST(a_line_may_be_64_kib_long),
        TEST(a_longer_line_is_refused),
        TEST(a_longer_line_with_cr_is_refused),
        TEST(a_longer_line_is_refused_before_it_ends),
        TEST(a_longer_chunk_is_refused),
        TEST(a_lines_limit_is_the_callers),
        TEST(a_line_as_long_as_the_message_limit_is_taken),
        TEST(a_chunk_stream_as_long_as_the_message_limit_is_taken),
        TEST(a_longer_chunk_stream_is_refused_before_it_ends),
        TEST(a_message_is_many_chunks_long),
        TEST(bytes_that_find_no_memory_are_an_error),
    };

    return cmocka_run_group_tests_name("framer", tests, NULL, NULL);
}

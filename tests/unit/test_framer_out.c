/* SPDX-License-Identifier: MIT */
/* Messages to bytes: a line, or chunks that BitBake can read; and back again. */
#include "wire/framer.h"

#include "unit.h"

#define START "{\"chunk-stream\": null}\n"
#define CHUNK ((size_t)FRAMER_CHUNK_CHARACTERS)

/* A text of JSON's characters, none of them a blank, that does not repeat at CHUNK. */
static struct text text_without_blanks(char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)('!' + (int)(i * 31 % 89));
    return (struct text){bytes, length};
}

/* Room for the messages of a test; all tests have the same, as their state. */
#define SPACE_BYTES (4 * CHUNK)

static int make_space(void **state)
{
    *state = test_malloc(SPACE_BYTES);
    return 0;
}

static int free_space(void **state)
{
    test_free(*state);
    return 0;
}

static struct buffer written(struct text message)
{
    struct buffer out = BUFFER_EMPTY;

    framer_write(&out, message);
    assert_false(buffer_failed(&out));
    return out;
}

/* Writes the message in pieces of this size. */
static struct buffer written_in_pieces(struct text message, size_t piece_bytes)
{
    struct buffer out = BUFFER_EMPTY;
    bool is_streaming = false;

    for (size_t at = 0; at < message.length; at += piece_bytes) {
        size_t rest = message.length - at;

        framer_write_piece(&out, &is_streaming,
            (struct text){message.bytes + at, rest < piece_bytes ? rest : piece_bytes},
            rest <= piece_bytes);
    }
    assert_false(is_streaming);
    assert_false(buffer_failed(&out));
    return out;
}

/* What BitBake, which strips each line's end, must find: lines of at most CHUNK
 * characters, none of which ends in white space. */
static void check_lines(struct text sent)
{
    size_t start = 0;

    for (size_t i = 0; i < sent.length; i++) {
        if (sent.bytes[i] != '\n')
            continue;
        if (i - start > CHUNK)
            fail_msg("a line of %zu characters is sent", i - start);
        if (i > start && sent.bytes[i - 1] == ' ')
            fail_msg("the line that ends at %zu ends in a blank", i);
        start = i + 1;
    }
    assert_int_equal(start, sent.length);
}

/* Takes sent bytes in and returns the message, with \u0020 as the blank that it is. */
static struct buffer received(struct text sent, size_t piece_bytes)
{
    static const char blank[] = "\\u0020";
    struct framer framer;
    struct error error;
    struct text message = {.bytes = NULL};
    struct buffer text = BUFFER_EMPTY;

    framer_init(&framer, SPACE_BYTES * 6);
    for (size_t at = 0; at < sent.length; at += piece_bytes) {
        size_t rest = sent.length - at;

        assert_int_equal(framer_next_message(&framer, &message, &error), FRAMER_MORE);
        assert_int_equal(
            framer_feed(&framer, sent.bytes + at, rest < piece_bytes ? rest : piece_bytes, &error),
            0);
    }
    assert_int_equal(framer_next_message(&framer, &message, &error), FRAMER_READY);
    for (size_t i = 0; i < message.length; i++) {
        bool escaped = message.length - i >= strlen(blank) &&
                       memcmp(message.bytes + i, blank, strlen(blank)) == 0;

        buffer_append(&text, escaped ? " " : message.bytes + i, 1);
        i += escaped ? strlen(blank) - 1 : 0;
    }
    assert_int_equal(framer_next_message(&framer, &message, &error), FRAMER_MORE);
    framer_free(&framer);
    return text;
}

static void check_round_trip(struct text message)
{
    struct buffer sent = written(message);
    struct buffer back;

    check_lines(buffer_text(&sent));
    back = received(buffer_text(&sent), 4000);
    assert_text_equal(buffer_text(&back), message);
    buffer_free(&back);
    buffer_free(&sent);
}

/* ---- lines and chunks ---- */

static void a_short_message_is_a_line(void **state)
{
    struct buffer out = BUFFER_EMPTY;

    (void)state;
    framer_write(&out, text_of("{\"alive\":true}"));
    framer_write(&out, text_of("null"));
    assert_text_is(buffer_text(&out), "{\"alive\":true}\nnull\n");
    buffer_free(&out);
}

static void the_longest_line_has_32766_characters(void **state)
{
    char *space = *state;
    struct text message = text_without_blanks(space, 32766);
    struct buffer out = written(message);

    assert_int_equal(out.length, 32766 + 1);
    assert_memory_equal(out.bytes, message.bytes, message.length);
    assert_int_equal(out.bytes[32766], '\n');
    buffer_free(&out);
}

/* Compares with a chunk stream put together here. */
static void check_chunks(char *space, size_t length)
{
    struct text message = text_without_blanks(space, length);
    struct buffer out = written(message);
    struct buffer expected = BUFFER_EMPTY;

    buffer_append_string(&expected, START);
    for (size_t at = 0; at < length; at += 32767) {
        buffer_append(&expected, message.bytes + at, length - at < 32767 ? length - at : 32767);
        buffer_append_string(&expected, "\n");
    }
    buffer_append_string(&expected, "\n");
    assert_int_equal(out.length, expected.length);
    assert_memory_equal(out.bytes, expected.bytes, expected.length);
    buffer_free(&expected);
    buffer_free(&out);
}

static void a_message_of_32767_characters_is_one_chunk(void **state)
{
    check_chunks(*state, 32767);
}

static void a_message_of_32768_characters_is_two_chunks(void **state)
{
    check_chunks(*state, 32768);
}

static void a_long_message_is_full_chunks_and_the_rest(void **state)
{
    check_chunks(*state, 2 * 32767 - 1);
    check_chunks(*state, 2 * 32767);
    check_chunks(*state, 2 * 32767 + 1);
    check_chunks(*state, 3 * 32767 + 100);
}

/* ---- blanks ---- */

static void blanks_inside_a_line_stay(void **state)
{
    struct buffer out = written(text_of("{\"message\":\"what is wrong\"}"));

    (void)state;
    assert_text_is(buffer_text(&out), "{\"message\":\"what is wrong\"}\n");
    buffer_free(&out);
}

static void a_blank_that_would_end_a_chunk_is_escaped(void **state)
{
    char *space = *state;
    for (size_t at = CHUNK - 10; at < CHUNK + 10; at++) {
        struct text message = text_without_blanks(space, 2 * CHUNK + 100);

        space[at] = ' ';
        check_round_trip(message);
    }
}

static void a_run_of_blanks_never_ends_a_chunk(void **state)
{
    char *space = *state;
    for (size_t run = 2; run < 12; run++) {
        for (size_t at = CHUNK - 14; at < CHUNK + 2; at++) {
            struct text message = text_without_blanks(space, CHUNK + 1000);

            memset(space + at, ' ', run);
            check_round_trip(message);
        }
    }
}

static void a_message_may_be_nearly_all_blanks(void **state)
{
    char *space = *state;
    struct text message = {.bytes = space, .length = 3 * CHUNK};

    memset(space, ' ', message.length);
    space[0] = '"';
    space[message.length - 1] = '"';
    check_round_trip(message);
}

static void blanks_elsewhere_are_not_escaped(void **state)
{
    char *space = *state;
    struct text message = text_without_blanks(space, CHUNK + 50);
    struct buffer out;

    space[0] = ' ';
    space[CHUNK - 2] = ' ';
    space[CHUNK] = ' ';
    out = written(message);
    assert_null(memmem(out.bytes, out.length, "\\u0020", strlen("\\u0020")));
    buffer_free(&out);
}

/* ---- messages made piece by piece ---- */

static void pieces_make_the_message(void **state)
{
    char *space = *state;
    static const size_t lengths[] = {1, 32766, 32767, 32768, 65533, 65534, 65535, 100000};
    static const size_t pieces[] = {1, 7, 32766, 32767, 32768, 100000};

    for (size_t i = 0; i < COUNT(lengths); i++) {
        for (size_t j = 0; j < COUNT(pieces); j++) {
            struct text message = text_without_blanks(space, lengths[i]);
            struct buffer out = written_in_pieces(message, pieces[j]);
            struct buffer back = received(buffer_text(&out), 30000);

            check_lines(buffer_text(&out));
            if (!text_equal(buffer_text(&back), message))
                fail_msg("%zu characters in pieces of %zu differ", lengths[i], pieces[j]);
            buffer_free(&back);
            buffer_free(&out);
        }
    }
}

static void blanks_are_escaped_in_pieces_too(void **state)
{
    char *space = *state;
    static const size_t pieces[] = {1, 1000, 32767};

    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct text message = text_without_blanks(space, 2 * CHUNK + 5);
        struct buffer out;
        struct buffer back;

        memset(space + CHUNK - 3, ' ', 3);
        memset(space + 2 * CHUNK - 10, ' ', 11);
        out = written_in_pieces(message, pieces[i]);
        check_lines(buffer_text(&out));
        back = received(buffer_text(&out), 30000);
        assert_text_equal(buffer_text(&back), message);
        buffer_free(&back);
        buffer_free(&out);
    }
}

static void a_piece_is_sent_before_the_message_ends(void **state)
{
    char *space = *state;
    struct buffer out = BUFFER_EMPTY;
    bool is_streaming = false;

    framer_write_piece(&out, &is_streaming, text_without_blanks(space, 10), false);
    assert_int_equal(out.length, strlen(START) + 10 + 1);
    framer_write_piece(&out, &is_streaming, text_without_blanks(space, CHUNK + 1), false);
    assert_int_equal(out.length, strlen(START) + 10 + 1 + CHUNK + 1 + 1 + 1);
    framer_write_piece(&out, &is_streaming, TEXT("y"), true);
    assert_int_equal(out.length, strlen(START) + 10 + 1 + CHUNK + 1 + 1 + 1 + strlen("y\n\n"));
    assert_false(is_streaming);
    buffer_free(&out);
}

static void a_short_message_in_one_piece_is_a_line(void **state)
{
    struct buffer out = BUFFER_EMPTY;
    bool is_streaming = false;

    (void)state;
    framer_write_piece(&out, &is_streaming, TEXT("null"), true);
    assert_text_is(buffer_text(&out), "null\n");
    buffer_free(&out);
}

static void a_piece_that_finds_no_memory_fails_the_output(void **state)
{
    struct buffer out = {.failed = true};
    bool is_streaming = false;

    (void)state;
    framer_write_piece(&out, &is_streaming, TEXT("x"), false);
    assert_true(buffer_failed(&out));
    buffer_free(&out);
}

/* ---- round trips ---- */

static void what_is_written_is_read_back(void **state)
{
    char *space = *state;
    static const size_t lengths[] = {
        1, 2, 4095, 4096, 32765, 32766, 32767, 32768, 65533, 65534, 65535, 65536, 65537, 131000};

    for (size_t i = 0; i < COUNT(lengths); i++)
        check_round_trip(text_without_blanks(space, lengths[i]));
}

static void what_is_written_is_read_back_a_byte_at_a_time(void **state)
{
    char *space = *state;
    struct text message = text_without_blanks(space, CHUNK + 10);
    struct buffer sent = written(message);
    struct buffer back = received(buffer_text(&sent), 1);

    assert_text_equal(buffer_text(&back), message);
    buffer_free(&back);
    buffer_free(&sent);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_message_is_a_line),
        cmocka_unit_test(the_longest_line_has_32766_characters),
        cmocka_unit_test(a_message_of_32767_characters_is_one_chunk),
        cmocka_unit_test(a_message_of_32768_characters_is_two_chunks),
        cmocka_unit_test(a_long_message_is_full_chunks_and_the_rest),
        cmocka_unit_test(blanks_inside_a_line_stay),
        cmocka_unit_test(a_blank_that_would_end_a_chunk_is_escaped),
        cmocka_unit_test(a_run_of_blanks_never_ends_a_chunk),
        cmocka_unit_test(a_message_may_be_nearly_all_blanks),
        cmocka_unit_test(blanks_elsewhere_are_not_escaped),
        cmocka_unit_test(pieces_make_the_message),
        cmocka_unit_test(blanks_are_escaped_in_pieces_too),
        cmocka_unit_test(a_piece_is_sent_before_the_message_ends),
        cmocka_unit_test(a_short_message_in_one_piece_is_a_line),
        cmocka_unit_test(a_piece_that_finds_no_memory_fails_the_output),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(what_is_written_is_read_back_a_byte_at_a_time),
    };

    return cmocka_run_group_tests_name("framer_out", tests, make_space, free_space);
}

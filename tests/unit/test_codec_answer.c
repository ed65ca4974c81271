/* SPDX-License-Identifier: MIT */
/* Answers to JSON text, and the client's side: requests written, answers read. */
#include "wire/codec.h"

#include "unit.h"

#include <stdlib.h>

static int make_buffer(void **state)
{
    *state = test_calloc(1, sizeof(struct buffer));
    return 0;
}

static int free_buffer(void **state)
{
    buffer_free(*state);
    test_free(*state);
    return 0;
}

/* What was written; the buffer is then empty. */
static void expect(struct buffer *out, const char *expected)
{
    assert_false(buffer_failed(out));
    assert_text_is(buffer_text(out), expected);
    buffer_reset(out, 0);
}

/* ---- answers ---- */

static void an_answer_is_compact_json(void **state)
{
    codec_write_alive(*state);
    expect(*state, "{\"alive\":true}");
    codec_write_found(*state, true);
    expect(*state, "{\"value\":true}");
    codec_write_found(*state, false);
    expect(*state, "{\"value\":false}");
    codec_write_null(*state);
    expect(*state, "null");
}

static void a_server_says_what_it_is(void **state)
{
    struct codec_peer peer = {.is_read_only = true};
    struct codec_peer read;
    struct error error;

    codec_write_peer(*state, &peer);
    expect(*state, "{\"readonly\":true,\"instances\":[]}");
    instances_add(&peer.instances, text_of("a"));
    instances_add(&peer.instances, text_of("b"));
    peer = (struct codec_peer){.is_stale = true, .instances = peer.instances};
    codec_write_peer(*state, &peer);
    assert_int_equal(codec_read_peer(buffer_text(*state), &read, &error), 0);
    assert_false(read.is_read_only);
    assert_true(read.is_stale);
    assert_int_equal(read.instances.n, 2);
    expect(*state, "{\"readonly\":false,\"instances\":[\"a\",\"b\"],\"stale\":true}");
}

static void a_length_is_that_of_the_text(void **state)
{
    static const char *const texts[] = {"", "plain", "\"\\\b\f\n\r\t", "\x01\x1f\x7f",
        "gr\xc3\xbc\xc3\x9f", "\xe5\xae\xbd", "\xf0\x9f\x98\x80!", "\xff\xfe", "cut \xc3"};

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct request request = {.kind = REQUEST_TEST_PR,
            .version = text_of(texts[i]),
            .pkgarch = text_of("a"),
            .checksum = text_of(texts[i]),
            .history = i % 2 == 0};
        const struct request get_pr = {.kind = REQUEST_GET_PR,
            .version = request.version,
            .pkgarch = request.pkgarch,
            .checksum = request.checksum,
            .history = request.history};
        const struct request import = {.kind = REQUEST_IMPORT_ONE, .value = text_of("3")};
        const struct request export = {.kind = REQUEST_EXPORT, .colinfo = true};
        const struct request ping = {.kind = REQUEST_PING};
        const struct request *const all[] = {&request, &import, &export, &ping};

        codec_write_string(*state, request.version);
        assert_int_equal(codec_string_bytes(request.version), buffer_text(*state).length);
        buffer_reset(*state, 0);
        for (size_t j = 0; j < COUNT(all); j++) {
            codec_write_request(*state, all[j]);
            assert_int_equal(codec_request_bytes(all[j]), buffer_text(*state).length);
            buffer_reset(*state, 0);
        }
        assert_int_equal(codec_request_bytes(&get_pr), codec_request_bytes(&request));
    }
}

static void a_revision_is_answered_as_a_string(void **state)
{
    codec_write_value(*state, "3");
    expect(*state, "{\"value\":\"3\"}");
    codec_write_value(*state, "1.0");
    expect(*state, "{\"value\":\"1.0\"}");
    codec_write_value(*state, NULL);
    expect(*state, "{\"value\":null}");
}

static void an_import_is_answered_in_the_type_in_which_it_came(void **state)
{
    static const struct {
        const char *message;
        const char *answer;
    } cases[] = {
        {"{\"import-one\": {\"version\": \"v\", \"pkgarch\": \"p\", \"checksum\": \"c\", "
         "\"value\": \"3\"}}",
            "{\"value\":\"3\"}"},
        {"{\"import-one\": {\"version\": \"v\", \"pkgarch\": \"p\", \"checksum\": \"c\", "
         "\"value\": 3}}",
            "{\"value\":3}"},
        {"{\"import-one\": {\"version\": \"v\", \"pkgarch\": \"p\", \"checksum\": \"c\", "
         "\"value\": 9223372036854775807}}",
            "{\"value\":9223372036854775807}"},
        {"{\"import-one\": {\"version\": \"v\", \"pkgarch\": \"p\", \"checksum\": \"c\", "
         "\"value\": \"1.2\"}}",
            "{\"value\":\"1.2\"}"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct request request;
        struct error error;

        assert_int_equal(
            codec_read_request(text_of(cases[i].message), &request, &error), CODEC_REQUEST);
        codec_write_imported(*state, &request);
        codec_release(&request);
        expect(*state, cases[i].answer);
    }
}

static void an_error_is_an_invoke_error(void **state)
{
    codec_write_error(*state, "get-pr: argument 'version' is missing");
    expect(*state, "{\"invoke-error\":{\"message\":\"get-pr: argument 'version' is missing\"}}");
    codec_write_error(*state, "");
    expect(*state, "{\"invoke-error\":{\"message\":\"\"}}");
}

/* ---- strings ---- */

/* Writes a row with the text in it, and expects what stands for the text. */
static void check_string(struct buffer *out, struct text text, const char *expected)
{
    struct buffer row = BUFFER_EMPTY;

    buffer_append_string(&row, "{\"version\":");
    buffer_append_string(&row, expected);
    buffer_append_string(&row, ",\"pkgarch\":\"\",\"checksum\":\"\",\"value\":null}");
    codec_write_export_row(out, true, &(struct row){.version = text});
    assert_false(buffer_failed(out));
    assert_text_equal(buffer_text(out), buffer_text(&row));
    buffer_reset(out, 0);
    buffer_free(&row);
}

static void plain_text_is_written_as_it_is(void **state)
{
    check_string(*state, TEXT(""), "\"\"");
    check_string(*state, TEXT("m4-1.4.19-r0"), "\"m4-1.4.19-r0\"");
    check_string(*state, TEXT(" a / 'b' <c> ~"), "\" a / 'b' <c> ~\"");
}

static void quotes_backslashes_and_controls_are_escaped(void **state)
{
    check_string(*state, TEXT("a\"b"), "\"a\\\"b\"");
    check_string(*state, TEXT("a\\b"), "\"a\\\\b\"");
    check_string(*state, TEXT("\n\r\t"), "\"\\n\\r\\t\"");
    check_string(*state, TEXT("\b\f"), "\"\\b\\f\"");
    check_string(*state, TEXT("a\0b\x01\x1f"), "\"a\\u0000b\\u0001\\u001F\"");
}

static void characters_outside_ascii_are_escaped(void **state)
{
    check_string(*state, TEXT("gr\xc3\xbc\xc3\x9f"), "\"gr\\u00FC\\u00DF\"");
    check_string(*state, TEXT("\xe2\x82\xac"), "\"\\u20AC\"");
    check_string(*state, TEXT("\xf0\x9f\x98\x80"), "\"\\uD83D\\uDE00\"");
}

static void bytes_that_are_no_utf8_are_repaired(void **state)
{
    check_string(*state, TEXT("a\xff"), "\"a\\uFFFD\"");
    check_string(*state, TEXT("\x80\xbf"), "\"\\uFFFD\\uFFFD\"");
    check_string(*state, TEXT("\xc3("), "\"\\uFFFD(\"");
    check_string(*state, TEXT("a\xe2\x82"), "\"a\\uFFFD\\uFFFD\"");
    check_string(*state, TEXT("\xc3\xbc\xfc\xe2\x82\xac"), "\"\\u00FC\\uFFFD\\u20AC\"");
    check_string(
        *state, TEXT("\xf0\x9f\x98\x80\xf0\x9f\x98"), "\"\\uD83D\\uDE00\\uFFFD\\uFFFD\\uFFFD\"");
    check_string(*state, TEXT("\xed\xa0\x80"), "\"\\uFFFD\\uFFFD\\uFFFD\"");
    check_string(*state, TEXT("\xff\"\\\0"), "\"\\uFFFD\\\"\\\\\\u0000\"");
}

static void an_error_that_was_cut_inside_a_character_is_repaired(void **state)
{
    codec_write_error(*state, "unknown request '\xc3");
    expect(*state, "{\"invoke-error\":{\"message\":\"unknown request '\\uFFFD\"}}");
}

static void every_byte_is_written_as_printable_ascii(void **state)
{
    struct buffer *out = *state;
    char bytes[256];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)i;
    codec_write_export_row(
        out, true, &(struct row){{bytes, sizeof bytes}, TEXT("p"), TEXT("c"), TEXT("\xff")});
    assert_false(buffer_failed(out));
    for (size_t i = 0; i < out->length; i++)
        assert_in_range(out->bytes[i], 0x20, 0x7f);
}

/* ---- exports ---- */

static void an_export_without_rows_is_two_empty_members(void **state)
{
    codec_write_export_begin(*state, NULL);
    codec_write_export_rows(*state, false);
    codec_write_export_end(*state);
    expect(*state, "{\"metainfo\":{},\"datainfo\":[]}");
}

static void an_export_lists_its_rows(void **state)
{
    codec_write_export_begin(*state, NULL);
    codec_write_export_rows(*state, false);
    codec_write_export_row(
        *state, true, &(struct row){TEXT("v"), TEXT("p"), TEXT("c"), TEXT("1.0")});
    codec_write_export_row(*state, false, &(struct row){TEXT("w"), TEXT("q"), TEXT("d"), TEXT("")});
    codec_write_export_row(*state, false,
        &(struct row){.version = TEXT("x"), .pkgarch = TEXT("r"), .checksum = TEXT("e")});
    codec_write_export_end(*state);
    expect(*state, "{\"metainfo\":{},\"datainfo\":["
                   "{\"version\":\"v\",\"pkgarch\":\"p\",\"checksum\":\"c\",\"value\":\"1.0\"},"
                   "{\"version\":\"w\",\"pkgarch\":\"q\",\"checksum\":\"d\",\"value\":\"\"},"
                   "{\"version\":\"x\",\"pkgarch\":\"r\",\"checksum\":\"e\",\"value\":null}]}");
}

static void an_export_with_column_info_describes_the_table(void **state)
{
    static const struct codec_column version = {"version", "TEXT", true, NULL, 1};
    static const struct codec_column value = {"value", "TEXT", false, "'0'", 0};

    codec_write_export_begin(*state, "0.1 \"x\"");
    codec_write_export_column(*state, true, &version);
    codec_write_export_column(*state, false, &value);
    codec_write_export_rows(*state, true);
    codec_write_export_end(*state);
    expect(*state,
        "{\"metainfo\":{\"tbl_name\":\"PRMAIN\",\"core_ver\":\"0.1 \\\"x\\\"\",\"col_info\":["
        "{\"name\":\"version\",\"type\":\"TEXT\",\"notnull\":1,\"dflt_value\":null,\"pk\":1},"
        "{\"name\":\"value\",\"type\":\"TEXT\",\"notnull\":0,\"dflt_value\":\"'0'\",\"pk\":0}"
        "]},\"datainfo\":[]}");
}

/* ---- requests of a client ---- */

static void a_request_is_written_as_it_is_read(void **state)
{
    static const char *const messages[] = {
        "{\"ping\":{}}",
        "{\"is-readonly\":{}}",
        "{\"get-pr\":{\"version\":\"v\",\"pkgarch\":\"p\",\"checksum\":\"c\",\"history\":false}}",
        "{\"get-pr\":{\"version\":\"\\u00FC\",\"pkgarch\":\"\",\"checksum\":\"\\\"\",\"history\":"
        "true}}",
        "{\"test-pr\":{\"version\":\"a\\u0000\",\"pkgarch\":\"p\",\"checksum\":\"c\",\"history\":"
        "true}}",
        "{\"test-package\":{\"version\":\"v\",\"pkgarch\":\"p\"}}",
        "{\"max-package-pr\":{\"version\":\"v\",\"pkgarch\":\"p\"}}",
    };

    for (size_t i = 0; i < COUNT(messages); i++) {
        struct request request;
        struct error error;

        assert_int_equal(codec_read_request(text_of(messages[i]), &request, &error), CODEC_REQUEST);
        codec_write_request(*state, &request);
        codec_release(&request);
        expect(*state, messages[i]);
    }
}

/* ---- answers that a client reads ---- */

static void a_revision_or_null_is_read(void **state)
{
    static const struct {
        const char *message;
        const char *revision;
    } cases[] = {
        {"{\"value\": \"3\"}", "3"},
        {"{\"value\":\"1.0\"}", "1.0"},
        {"{\"more\": [], \"value\": \"99999999999999999999\"}", "99999999999999999999"},
        {"{\"value\": null}", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *revision = (char *)"untouched";
        struct error error;

        assert_int_equal(
            codec_read_value(text_of(cases[i].message), CODEC_INTEGERS_REFUSED, &revision, &error),
            0);
        if (cases[i].revision)
            assert_string_equal(revision, cases[i].revision);
        else
            assert_null(revision);
        free(revision);
    }
}

static void check_no_value(struct text message, int code, const char *words)
{
    char *revision = (char *)"untouched";
    struct error error = {""};

    if (codec_read_value(message, CODEC_INTEGERS_REFUSED, &revision, &error) != code)
        fail_msg("%.*s: %s", (int)message.length, message.bytes, error.text);
    assert_null(revision);
    assert_says(&error, words);
}

static void an_integer_is_read_where_it_is_taken(void **state)
{
    char *revision;
    struct error error;

    (void)state;
    assert_int_equal(
        codec_read_value(text_of("{\"value\": 12}"), CODEC_INTEGERS_TAKEN, &revision, &error), 0);
    assert_string_equal(revision, "12");
    free(revision);
    assert_int_equal(
        codec_read_value(text_of("{\"value\": -1}"), CODEC_INTEGERS_TAKEN, &revision, &error),
        ERROR_INPUT);
}

static void a_refusal_is_read_in_the_servers_own_words(void **state)
{
    (void)state;
    check_no_value(text_of("{\"invoke-error\": {\"message\": \"disk \\u0025s full\"}}"),
        ERROR_INPUT, "disk %s full");
}

static void a_value_that_is_no_revision_is_an_error(void **state)
{
    static const struct text messages[] = {TEXT("{\"value\": \"\"}"), TEXT("{\"value\": \"1.\"}"),
        TEXT("{\"value\": \"None\"}"), TEXT("{\"value\": \"3\\u0000\"}"), TEXT("{\"value\": 3}"),
        TEXT("{\"value\": true}"), TEXT("{\"value\": []}")};

    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++)
        check_no_value(messages[i], ERROR_INPUT, "not a revision");
}

static void what_is_no_answer_is_an_error_of_the_framing(void **state)
{
    static const struct text messages[] = {TEXT(""), TEXT("{"), TEXT("null"), TEXT("[]"),
        TEXT("{}"), TEXT("{\"alive\": true}"), TEXT("{\"invoke-error\": {}}"),
        TEXT("{\"invoke-error\": \"x\"}"), TEXT("{\"invoke-error\": {\"message\": 7}}"),
        TEXT("{\"value\": \"\xff\"}"), TEXT("220 mail.example.org ESMTP")};

    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++)
        check_no_value(messages[i], ERROR_FRAMING, "invalid answer");
}

static void a_long_answer_is_cut_in_the_error(void **state)
{
    char message[5000];

    (void)state;
    memset(message, 'n', sizeof message);
    check_no_value((struct text){message, sizeof message}, ERROR_FRAMING, "nnnn");
}

static void a_flag_is_read(void **state)
{
    struct error error;
    bool flag = false;

    (void)state;
    assert_int_equal(codec_read_flag(text_of("{\"alive\": true}"), "alive", &flag, &error), 0);
    assert_true(flag);
    assert_int_equal(
        codec_read_flag(text_of("{\"readonly\":false}"), "readonly", &flag, &error), 0);
    assert_false(flag);
    assert_int_equal(codec_read_flag(text_of("{\"value\": true}"), "value", &flag, &error), 0);
    assert_true(flag);
}

static void a_flag_that_is_no_boolean_is_an_error(void **state)
{
    static const char *const messages[] = {"{\"value\": null}", "{\"value\": 1}",
        "{\"value\": \"true\"}", "{\"alive\": true}", "{}", "true", "nonsense"};
    struct error error;
    bool flag = true;

    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++)
        if (codec_read_flag(text_of(messages[i]), "value", &flag, &error) != ERROR_FRAMING)
            fail_msg("%s holds no flag 'value'", messages[i]);
    assert_int_equal(
        codec_read_flag(text_of("{\"invoke-error\": {\"message\": \"no such thing\"}}"), "value",
            &flag, &error),
        ERROR_INPUT);
    assert_string_equal(error.text, "no such thing");
}

static void an_error_that_is_written_is_read_back(void **state)
{
    char *revision;
    struct error error;

    codec_write_error(*state, "what's \"wrong\" \\ here: gr\xc3\xbc\xc3\x9f");
    assert_int_equal(codec_read_value(buffer_text(*state), CODEC_INTEGERS_TAKEN, &revision, &error),
        ERROR_INPUT);
    assert_string_equal(error.text, "what's \"wrong\" \\ here: gr\xc3\xbc\xc3\x9f");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_buffer, free_buffer)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(an_answer_is_compact_json),
        TEST(a_server_says_what_it_is),
        TEST(a_length_is_that_of_the_text),
        TEST(a_revision_is_answered_as_a_string),
        TEST(an_import_is_answered_in_the_type_in_which_it_came),
        TEST(an_error_is_an_invoke_error),
        TEST(plain_text_is_written_as_it_is),
        TEST(quotes_backslashes_and_controls_are_escaped),
        TEST(characters_outside_ascii_are_escaped),
        TEST(bytes_that_are_no_utf8_are_repaired),
        TEST(an_error_that_was_cut_inside_a_character_is_repaired),
        TEST(every_byte_is_written_as_printable_ascii),
        TEST(an_export_without_rows_is_two_empty_members),
        TEST(an_export_lists_its_rows),
        TEST(an_export_with_column_info_describes_the_table),
        TEST(a_request_is_written_as_it_is_read),
        TEST(a_revision_or_null_is_read),
        TEST(an_integer_is_read_where_it_is_taken),
        TEST(a_refusal_is_read_in_the_servers_own_words),
        TEST(a_value_that_is_no_revision_is_an_error),
        TEST(what_is_no_answer_is_an_error_of_the_framing),
        TEST(a_long_answer_is_cut_in_the_error),
        TEST(a_flag_is_read),
        TEST(a_flag_that_is_no_boolean_is_an_error),
        TEST(an_error_that_is_written_is_read_back),
    };

    return cmocka_run_group_tests_name("codec_answer", tests, NULL, NULL);
}

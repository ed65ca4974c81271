/* SPDX-License-Identifier: MIT */
/* JSON text to requests: what is read from a message that is right. */
#include "wire/codec.h"

#include "unit.h"

#include <time.h>

#define PACKAGE "\"version\": \"m4-1.4.19-r0\", \"pkgarch\": \"core2-64\""
#define CONTENT PACKAGE ", \"checksum\": \"51bf\""

/* Reads a request that is right. It must not be copied, so it is filled in place. */
static void read_request(struct text message, struct request *request)
{
    struct error error = {""};

    if (codec_read_request(message, request, &error) != CODEC_REQUEST)
        fail_msg("%.*s: %s", (int)message.length, message.bytes, error.text);
}

/* ---- every request ---- */

static void requests_without_arguments_are_read(void **state)
{
    static const struct {
        const char *message;
        enum request_kind kind;
    } cases[] = {
        {"{\"ping\": {}}", REQUEST_PING},
        {"{\"is-readonly\": {}}", REQUEST_IS_READONLY},
        {" {\t\"ping\" : { \"more\": [1, {}] } } ", REQUEST_PING},
    };
    struct request request;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        read_request(text_of(cases[i].message), &request);
        assert_int_equal(request.kind, cases[i].kind);
        codec_release(&request);
    }
}

static void requests_about_content_are_read(void **state)
{
    static const struct {
        const char *message;
        enum request_kind kind;
        bool history;
    } cases[] = {
        {"{\"get-pr\": {" CONTENT "}}", REQUEST_GET_PR, false},
        {"{\"get-pr\": {" CONTENT ", \"history\": null}}", REQUEST_GET_PR, false},
        {"{\"get-pr\": {" CONTENT ", \"history\": false}}", REQUEST_GET_PR, false},
        {"{\"get-pr\": {" CONTENT ", \"history\": true}}", REQUEST_GET_PR, true},
        {"{\"get-pr\": {\"history\": true, \"other\": 1.5, " CONTENT "}}", REQUEST_GET_PR, true},
        {"{\"test-pr\": {" CONTENT "}}", REQUEST_TEST_PR, false},
        {"{\"test-pr\": {" CONTENT ", \"history\": null}}", REQUEST_TEST_PR, false},
        {"{\"test-pr\":{" CONTENT ",\"history\":true}}", REQUEST_TEST_PR, true},
    };
    struct request request;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        read_request(text_of(cases[i].message), &request);
        assert_int_equal(request.kind, cases[i].kind);
        assert_text_is(request.version, "m4-1.4.19-r0");
        assert_text_is(request.pkgarch, "core2-64");
        assert_text_is(request.checksum, "51bf");
        assert_int_equal(request.history, cases[i].history);
        codec_release(&request);
    }
}

static void requests_about_a_package_are_read(void **state)
{
    static const struct {
        const char *message;
        enum request_kind kind;
    } cases[] = {
        {"{\"test-package\": {" PACKAGE "}}", REQUEST_TEST_PACKAGE},
        {"{\"max-package-pr\": {" PACKAGE "}}", REQUEST_MAX_PACKAGE_PR},
        {"{\"max-package-pr\": {" PACKAGE ", \"checksum\": 7}}", REQUEST_MAX_PACKAGE_PR},
    };
    struct request request;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        read_request(text_of(cases[i].message), &request);
        assert_int_equal(request.kind, cases[i].kind);
        assert_text_is(request.version, "m4-1.4.19-r0");
        assert_text_is(request.pkgarch, "core2-64");
        codec_release(&request);
    }
}

static void an_import_takes_a_revision_as_string_or_integer(void **state)
{
    static const struct {
        const char *message;
        const char *value;
        bool is_integer;
    } cases[] = {
        {"{\"import-one\": {" CONTENT ", \"value\": \"3\"}}", "3", false},
        {"{\"import-one\": {" CONTENT ", \"value\": \"2.0.11\"}}", "2.0.11", false},
        {"{\"import-one\": {" CONTENT ", \"value\": \"99999999999999999999\"}}",
            "99999999999999999999", false},
        {"{\"import-one\": {" CONTENT ", \"value\": 0}}", "0", true},
        {"{\"import-one\": {" CONTENT ", \"value\": 3}}", "3", true},
        {"{\"import-one\": {" CONTENT ", \"value\": 9223372036854775807}}", "9223372036854775807",
            true},
    };
    struct request request;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        read_request(text_of(cases[i].message), &request);
        assert_int_equal(request.kind, REQUEST_IMPORT_ONE);
        assert_text_is(request.checksum, "51bf");
        assert_text_is(request.value, cases[i].value);
        assert_int_equal(request.value_is_integer, cases[i].is_integer);
        codec_release(&request);
    }
}

static void an_exports_filters_may_be_null_absent_or_empty(void **state)
{
    static const char *const messages[] = {"{\"export\": {}}",
        "{\"export\": {\"version\": null, \"pkgarch\": null, \"checksum\": null}}",
        "{\"export\": {\"colinfo\": null, \"history\": null}}",
        "{\"export\": {\"version\": \"\", \"pkgarch\": \"\", \"checksum\": \"\"}}"};
    struct request request;

    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++) {
        read_request(text_of(messages[i]), &request);
        assert_int_equal(request.kind, REQUEST_EXPORT);
        assert_int_equal(request.version.length, 0);
        assert_int_equal(request.pkgarch.length, 0);
        assert_int_equal(request.checksum.length, 0);
        assert_false(request.colinfo);
        assert_false(request.history);
        codec_release(&request);
    }
}

static void an_exports_filters_and_flags_are_read(void **state)
{
    struct request request;

    (void)state;
    read_request(
        text_of("{\"export\": {" CONTENT ", \"colinfo\": true, \"history\": false}}"), &request);
    assert_text_is(request.version, "m4-1.4.19-r0");
    assert_text_is(request.pkgarch, "core2-64");
    assert_text_is(request.checksum, "51bf");
    assert_true(request.colinfo);
    assert_false(request.history);
    codec_release(&request);
    read_request(text_of("{\"export\": {\"pkgarch\": \"all\", \"history\": true}}"), &request);
    assert_int_equal(request.version.length, 0);
    assert_text_is(request.pkgarch, "all");
    assert_false(request.colinfo);
    assert_true(request.history);
    codec_release(&request);
}

/* ---- texts ---- */

static void a_request_owns_its_texts(void **state)
{
    char message[] = "{\"test-package\": {\"version\": \"v\", \"pkgarch\": \"p\"}}";
    struct request request;

    (void)state;
    read_request((struct text){message, strlen(message)}, &request);
    memset(message, 'x', sizeof message);
    assert_text_is(request.version, "v");
    assert_text_is(request.pkgarch, "p");
    codec_release(&request);
}

static void texts_may_hold_anything_that_json_can_say(void **state)
{
    struct request request;

    (void)state;
    read_request(TEXT("{\"get-pr\": {\"version\": \"a\\u0000b\", \"pkgarch\": \"\", "
                      "\"checksum\": \"\\\"\\\\\\n\\u00fc\xc3\xbc\\ud83d\\ude00\"}}"),
        &request);
    assert_text_equal(request.version, TEXT("a\0b"));
    assert_text_is(request.pkgarch, "");
    assert_text_is(request.checksum, "\"\\\n\xc3\xbc\xc3\xbc\xf0\x9f\x98\x80");
    codec_release(&request);
}

static void the_last_of_two_members_of_one_name_counts(void **state)
{
    struct request request;

    (void)state;
    read_request(text_of("{\"get-pr\": {\"version\": \"old\", " CONTENT
                         ", \"history\": 7, \"history\": true}}"),
        &request);
    assert_text_is(request.version, "m4-1.4.19-r0");
    assert_true(request.history);
    codec_release(&request);
}

/* ---- which request ---- */

static void of_several_requests_the_first_of_the_table_counts(void **state)
{
    static const enum request_kind table[] = {REQUEST_PING, REQUEST_GET_PR, REQUEST_TEST_PR,
        REQUEST_TEST_PACKAGE, REQUEST_MAX_PACKAGE_PR, REQUEST_IMPORT_ONE, REQUEST_EXPORT,
        REQUEST_IS_READONLY};
    static const char arguments[] = "\": {" CONTENT ", \"value\": 1}";

    (void)state;
    for (size_t first = 0; first < COUNT(table); first++) {
        struct buffer message = BUFFER_EMPTY;
        struct request request;

        buffer_append_string(&message, "{\"no-request\": null");
        for (size_t i = COUNT(table); i > first; i--) { /* the last of the table first */
            buffer_append_string(&message, ", \"");
            buffer_append_string(&message, request_name(table[i - 1]));
            buffer_append_string(&message, arguments);
        }
        buffer_append_string(&message, "}");
        read_request(buffer_text(&message), &request);
        assert_int_equal(request.kind, table[first]);
        codec_release(&request);
        buffer_free(&message);
    }
}

static void what_else_is_in_the_message_is_not_looked_at(void **state)
{
    struct request request;

    (void)state;
    read_request(text_of("{\"get-pr\": {}, \"export\": 7, \"ping\": {}}"), &request);
    assert_int_equal(request.kind, REQUEST_PING);
    codec_release(&request);
}

/* ---- bytes ---- */

static void what_no_request_needs_is_read_over(void **state)
{
    static const char *const messages[] = {"{\"ping\": {\"x\": 99999999999999999999}}",
        "{\"ping\": {\"x\": -1e999}}", "{\"ping\": {\"\\u0000\": 1}}",
        "{\"ping\\u0000\": 1, \"ping\": {}}", "{\"p\\u0069ng\": {}}"};
    struct request request;

    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++) {
        read_request(text_of(messages[i]), &request);
        assert_int_equal(request.kind, REQUEST_PING);
        codec_release(&request);
    }
}

static void escapes_mean_what_they_stand_for_everywhere(void **state)
{
    struct request request;

    (void)state;
    read_request(text_of("{\"import\\u002done\": {\"v\\u0065rsion\": \"\\u0076\", \"pkgarch\": "
                         "\"p\\n\", \"checksum\": \"\\ud83d\\ude00\", \"value\": \"1\\u002e2\"}}"),
        &request);
    assert_int_equal(request.kind, REQUEST_IMPORT_ONE);
    assert_text_is(request.version, "v");
    assert_text_is(request.pkgarch, "p\n");
    assert_text_is(request.checksum, "\xf0\x9f\x98\x80");
    assert_text_is(request.value, "1.2");
    codec_release(&request);
}

static void only_the_messages_bytes_are_read(void **state)
{
    static const char bytes[] = "{\"ping\": {}}, and more";
    struct request request;

    (void)state;
    read_request((struct text){bytes, strlen("{\"ping\": {}}")}, &request);
    assert_int_equal(request.kind, REQUEST_PING);
    codec_release(&request);
}

static void utf8_is_told_from_other_bytes(void **state)
{
    static const struct text valid[] = {TEXT(""), TEXT("a"), TEXT("a\0b"), TEXT("\xc3\xbc"),
        TEXT("\xe2\x82\xac"), TEXT("\xf0\x9f\x98\x80"), TEXT("\xf4\x8f\xbf\xbf")};
    static const struct text invalid[] = {TEXT("\xff"), TEXT("a\x80"), TEXT("\xc3"), TEXT("\xc3("),
        TEXT("\xc0\xaf"), TEXT("\xe2\x82"), TEXT("\xed\xa0\x80"), TEXT("\xf4\x90\x80\x80")};

    (void)state;
    assert_true(text_is_utf8((struct text){.bytes = NULL}));
    for (size_t i = 0; i < COUNT(valid); i++)
        assert_true(text_is_utf8(valid[i]));
    for (size_t i = 0; i < COUNT(invalid); i++)
        assert_false(text_is_utf8(invalid[i]));
}

/* ---- time ---- */

#define HOSTILE_BYTES ((size_t)512 * 1024)
#define TRIES 5

static double cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Returns the shorter of a time and the processor time since began. */
static double shorter(double least, double began)
{
    const double took = cpu_ns() - began;

    return took < least ? took : least;
}

/* Fills out with begin, part again and again, and end. */
static void fill(struct buffer *out, const char *begin, const char *part, const char *end)
{
    buffer_append_string(out, begin);
    while (out->length < HOSTILE_BYTES)
        buffer_append_string(out, part);
    buffer_append_string(out, end);
    assert_false(buffer_failed(out));
}

/* Returns the shortest processor time for a byte of such a message. */
static double reading_ns(const char *begin, const char *part, const char *end)
{
    struct buffer message = BUFFER_EMPTY;
    double least = 1e12;

    fill(&message, begin, part, end);
    for (int i = 0; i < TRIES; i++) {
        struct request request;
        double began = cpu_ns();

        read_request(buffer_text(&message), &request);
        least = shorter(least, began);
        codec_release(&request);
    }
    least /= (double)message.length;
    buffer_free(&message);
    return least;
}

static void reading_a_hostile_name_takes_hardly_longer_than_another(void **state)
{
    const double usual = reading_ns("{\"ping\":{", "\"a\":1,", "\"b\":2}}");

    (void)state;
    assert_true(reading_ns("{\"ping\":{", "\"\\n\":1,", "\"b\":2}}") < 3 * usual);
    assert_true(reading_ns("{", "\"\\n\":1,", "\"ping\":{}}") < 3 * usual);
    assert_true(reading_ns("{", "\"get-stat\\u0073\":{},", "\"ping\":{}}") < 3 * usual);
    assert_true(reading_ns("{\"ping\":{\"x\":\"", "\\\"", "\"}}") < 3 * usual);
    assert_true(reading_ns("{\"ping\":{\"x\":\"", "\xc3\xa9", "\"}}") < 3 * usual);
}

/* Returns the shortest processor time for a byte of a string that is written. */
static double writing_ns(const char *part)
{
    struct buffer text = BUFFER_EMPTY;
    double least = 1e12;

    fill(&text, "", part, "");
    for (int i = 0; i < TRIES; i++) {
        struct buffer out = BUFFER_EMPTY;
        double began = cpu_ns();

        codec_write_string(&out, buffer_text(&text));
        least = shorter(least, began);
        buffer_free(&out);
    }
    least /= (double)text.length;
    buffer_free(&text);
    return least;
}

static void writing_an_escape_costs_no_more_than_reading_it(void **state)
{
    const double usual = reading_ns("{\"ping\":{", "\"a\":1,", "\"b\":2}}");

    (void)state;
    assert_true(writing_ns("\n") < 10 * usual);
    assert_true(writing_ns("\x01") < 10 * usual);
    assert_true(writing_ns("\xc3\xa9") < 10 * usual);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_without_arguments_are_read),
        cmocka_unit_test(requests_about_content_are_read),
        cmocka_unit_test(requests_about_a_package_are_read),
        cmocka_unit_test(an_import_takes_a_revision_as_string_or_integer),
        cmocka_unit_test(an_exports_filters_may_be_null_absent_or_empty),
        cmocka_unit_test(an_exports_filters_and_flags_are_read),
        cmocka_unit_test(a_request_owns_its_texts),
        cmocka_unit_test(texts_may_hold_anything_that_json_can_say),
        cmocka_unit_test(the_last_of_two_members_of_one_name_counts),
        cmocka_unit_test(of_several_requests_the_first_of_the_table_counts),
        cmocka_unit_test(what_else_is_in_the_message_is_not_looked_at),
        cmocka_unit_test(what_no_request_needs_is_read_over),
        cmocka_unit_test(escapes_mean_what_they_stand_for_everywhere),
        cmocka_unit_test(only_the_messages_bytes_are_read),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
        cmocka_unit_test(reading_a_hostile_name_takes_hardly_longer_than_another),
        cmocka_unit_test(writing_an_escape_costs_no_more_than_reading_it),
    };

    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}

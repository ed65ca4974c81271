/* JSON text to requests: what is read from a message that is right. */
#include "wire/codec.h"

#include "unit.h"

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
        cmocka_unit_test(only_the_messages_bytes_are_read),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
    };

    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}

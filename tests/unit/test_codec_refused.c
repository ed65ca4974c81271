/* SPDX-License-Identifier: MIT */
/* Messages that are no request: refused with the argument's name, or given up. */
#include "wire/codec.h"

#include "unit.h"

#include <stdio.h>

#define CONTENT "\"version\": \"v\", \"pkgarch\": \"p\", \"checksum\": \"c\""

static void check_not_a_request(
    struct text message, enum codec_result expected, const char *const words[], size_t count)
{
    struct request request;
    struct error error = {""};
    enum codec_result result = codec_read_request(message, &request, &error);

    if (result != expected)
        fail_msg("%.*s: result %d, not %d", (int)message.length, message.bytes, (int)result,
            (int)expected);
    for (size_t i = 0; i < count; i++)
        if (!strstr(error.text, words[i]))
            fail_msg("%.*s: '%s' does not say '%s'", (int)message.length, message.bytes, error.text,
                words[i]);
}

static void check_refused(const char *message, const char *name, const char *words)
{
    const char *const both[] = {name, words};

    check_not_a_request(text_of(message), CODEC_REFUSED, both, 2);
}

static void check_lost(struct text message)
{
    static const char *const words[] = {"not JSON"};

    check_not_a_request(message, CODEC_LOST, words, 1);
}

/* ---- the message null ---- */

static void null_asks_for_nothing(void **state)
{
    (void)state;
    check_not_a_request(text_of("null"), CODEC_END, NULL, 0);
    check_not_a_request(text_of(" null "), CODEC_END, NULL, 0);
}

/* ---- what is refused, and can be followed by another request ---- */

static void a_message_that_names_no_request_is_refused(void **state)
{
    (void)state;
    check_refused("{}", "names no request", "{}");
    check_refused("{\"get_pr\": {}}", "unknown request", "'get_pr'");
    check_refused("{\"GET-PR\": {}}", "unknown request", "'GET-PR'");
    check_refused("{\"\": {}}", "unknown request", "''");
    check_refused("[]", "an object", "a list");
    check_refused("[{\"ping\": {}}]", "an object", "a list");
    check_refused("\"ping\"", "an object", "a string");
    check_refused("7", "an object", "a number");
    check_refused("true", "an object", "true or false");
}

static void arguments_that_are_no_object_are_refused(void **state)
{
    (void)state;
    check_refused("{\"ping\": null}", "ping", "must be an object, not null");
    check_refused("{\"get-pr\": []}", "get-pr", "must be an object, not a list");
    check_refused("{\"export\": \"\"}", "export", "must be an object, not a string");
    check_refused(
        "{\"is-readonly\": false}", "is-readonly", "must be an object, not true or false");
}

/* Each argument in turn is left out, null, and of another type. */
static void check_needed(const char *request, const char *const *arguments, size_t count)
{
    static const char *const wrong[] = {NULL, "null", "7", "1.5", "true", "{}", "[\"a\"]"};
    static const char *const shown[] = {"missing", "not null", "not a number", "not a number",
        "not true or false", "not an object", "not a list"};

    for (size_t i = 0; i < count * COUNT(wrong); i++) {
        const char *value = wrong[i % COUNT(wrong)];
        const char *name = arguments[i / COUNT(wrong)];
        char quoted[40] = "";
        const char *const words[] = {request, quoted, shown[i % COUNT(wrong)]};
        struct buffer message = BUFFER_EMPTY;

        (void)snprintf(quoted, sizeof quoted, "argument '%s'", name);
        buffer_append_string(&message, "{\"");
        buffer_append_string(&message, request);
        buffer_append_string(&message, "\": {\"value\": \"1\"");
        for (size_t j = 0; j < count; j++) {
            bool it = arguments[j] == name;

            if (it && !value)
                continue;
            buffer_append_string(&message, ", \"");
            buffer_append_string(&message, arguments[j]);
            buffer_append_string(&message, "\": ");
            buffer_append_string(&message, it ? value : "\"text\"");
        }
        buffer_append_string(&message, "}}");
        check_not_a_request(buffer_text(&message), CODEC_REFUSED, words, COUNT(words));
        buffer_free(&message);
    }
}

static void an_argument_that_is_missing_or_no_string_is_named(void **state)
{
    static const char *const arguments[] = {"version", "pkgarch", "checksum"};

    (void)state;
    check_needed("get-pr", arguments, 3);
    check_needed("test-pr", arguments, 3);
    check_needed("import-one", arguments, 3);
    check_needed("test-package", arguments, 2);
    check_needed("max-package-pr", arguments, 2);
}

static void a_get_pr_of_a_floor_is_refused(void **state)
{
    static const char content[] = "{\"version\": \"v\", \"pkgarch\": \"a\", \"checksum\": ";
    struct buffer message = BUFFER_EMPTY;

    (void)state;
    buffer_append_string(&message, "{\"get-pr\": ");
    buffer_append_string(&message, content);
    buffer_append_string(&message, "\"\\u0066loor:7\"}}");
    buffer_append(&message, "", 1);
    check_refused(message.bytes, "get-pr: argument 'checksum' must not", "\"floor:\"");
    buffer_free(&message);
}

static void a_filter_that_is_no_string_is_named(void **state)
{
    (void)state;
    check_refused("{\"export\": {\"version\": 7}}", "export: argument 'version'", "not a number");
    check_refused("{\"export\": {\"pkgarch\": []}}", "export: argument 'pkgarch'", "not a list");
    check_refused("{\"export\": {\"checksum\": {}}}", "export: argument 'checksum'", "an object");
}

static void a_flag_that_is_no_boolean_is_named(void **state)
{
    static const char *const messages[] = {"{\"get-pr\": {" CONTENT ", \"history\": 1}}",
        "{\"get-pr\": {" CONTENT ", \"history\": \"true\"}}",
        "{\"test-pr\": {" CONTENT ", \"history\": {}}}", "{\"export\": {\"history\": 0}}",
        "{\"export\": {\"history\": \"\"}}"};

    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++)
        check_refused(messages[i], "argument 'history'", "must be true or false");
    check_refused("{\"export\": {\"colinfo\": \"yes\"}}", "export: argument 'colinfo'", "a string");
}

static void an_imports_value_must_be_a_revision(void **state)
{
    static const char *const values[] = {"\"\"", "\"1.\"", "\"007\"", "\" 1\"", "\"-1\"",
        "\"None\"", "\"3\\u0000\"", "-1", "3.0", "1.5", "1e2", "1e999", "true", "null", "[3]",
        "{}"};
    char message[200];

    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        (void)snprintf(
            message, sizeof message, "{\"import-one\": {" CONTENT ", \"value\": %s}}", values[i]);
        check_refused(message, "import-one: argument 'value'", "revision");
    }
    check_refused("{\"import-one\": {" CONTENT "}}", "argument 'value'", "missing");
}

static void an_integer_that_is_too_large_is_refused(void **state)
{
    static const char *const values[] = {
        "9223372036854775808", "99999999999999999999999999", "-9223372036854775809"};
    char message[200];

    (void)state;
    for (size_t i = 0; i < COUNT(values); i++) {
        (void)snprintf(
            message, sizeof message, "{\"import-one\": {" CONTENT ", \"value\": %s}}", values[i]);
        check_refused(message, "too large", "as strings");
    }
}

static void only_the_request_that_counts_is_checked(void **state)
{
    (void)state;
    check_refused("{\"export\": {}, \"get-pr\": {}}", "get-pr", "missing");
    check_refused("{\"ping\": 7, \"get-pr\": {" CONTENT "}}", "ping", "not a number");
}

static void a_long_name_is_cut_in_the_error(void **state)
{
    char message[5000] = "{\"";
    struct request request;
    struct error error;

    (void)state;
    memset(message + 2, 'n', sizeof message - 9);
    memcpy(message + sizeof message - 7, "\": {}}", sizeof "\": {}}");
    assert_int_equal(codec_read_request(text_of(message), &request, &error), CODEC_REFUSED);
    assert_says(&error, "unknown request 'nnnn");
    assert_true(strlen(error.text) < 200);
}

/* ---- what can't be read at all ---- */

static void what_is_not_json_is_lost(void **state)
{
    static const struct text messages[] = {TEXT(""), TEXT(" "), TEXT("{"), TEXT("{\"ping\": {}"),
        TEXT("{\"ping\": {}}}"), TEXT("{\"ping\": {}} {\"ping\": {}}"), TEXT("{'ping': {}}"),
        TEXT("{ping: {}}"), TEXT("{\"ping\": {},}"), TEXT("{\"ping\": NaN}"), TEXT("nul"),
        TEXT("None"), TEXT("True"), TEXT("+1"), TEXT("01"), TEXT("\"\\x\""), TEXT("\"a\tb\""),
        TEXT("\"open"), TEXT("{\"ping\": {}}\0"), TEXT("\0"), TEXT("\"a\0b\""),
        TEXT("{\"ping\": {\"x\": 1\0}}"), TEXT("\"\\ud83d\""), TEXT("GET / HTTP/1.1")};

    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++)
        check_lost(messages[i]);
    check_lost((struct text){.bytes = NULL});
}

static void what_is_not_utf8_is_lost(void **state)
{
    static const struct text messages[] = {TEXT("\"\xff\""), TEXT("\"\xc3\""), TEXT("\"\x80\""),
        TEXT("\"\xc0\x80\""), TEXT("\"\xed\xa0\x80\""), TEXT("\"\xf4\x90\x80\x80\""),
        TEXT("{\"get-pr\": {\"version\": \"gr\xfc\xdf"
             "e\"}}"),
        TEXT("\xfe\xff{}")};

    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++)
        check_lost(messages[i]);
}

static void a_message_that_is_cut_off_is_lost(void **state)
{
    static const char message[] = "{\"import-one\": {" CONTENT ", \"value\": \"1\"}}";

    (void)state;
    for (size_t length = 0; length < strlen(message); length++)
        check_lost((struct text){message, length});
}

/* A ping with a list of lists of this depth that it does not ask for. */
static enum codec_result read_nested(size_t depth, struct error *error)
{
    struct buffer message = BUFFER_EMPTY;
    struct request request;
    enum codec_result result;

    buffer_append_string(&message, "{\"ping\": {\"more\": ");
    for (size_t i = 0; i < depth; i++)
        buffer_append_string(&message, "[");
    for (size_t i = 0; i < depth; i++)
        buffer_append_string(&message, "]");
    buffer_append_string(&message, "}}");
    result = codec_read_request(buffer_text(&message), &request, error);
    buffer_free(&message);
    codec_release(&request);
    return result;
}

static void deep_nesting_is_lost(void **state)
{
    struct error error;

    (void)state;
    assert_int_equal(read_nested(1000, &error), CODEC_REQUEST);
    assert_int_equal(read_nested(5000, &error), CODEC_LOST);
    assert_says(&error, "nested too deeply");
}

static void a_million_brackets_are_lost(void **state)
{
    struct error error;

    (void)state;
    assert_int_equal(read_nested(1000000, &error), CODEC_LOST);
    assert_says(&error, "nested too deeply at byte 2064");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_asks_for_nothing),
        cmocka_unit_test(a_message_that_names_no_request_is_refused),
        cmocka_unit_test(arguments_that_are_no_object_are_refused),
        cmocka_unit_test(an_argument_that_is_missing_or_no_string_is_named),
        cmocka_unit_test(a_get_pr_of_a_floor_is_refused),
        cmocka_unit_test(a_filter_that_is_no_string_is_named),
        cmocka_unit_test(a_flag_that_is_no_boolean_is_named),
        cmocka_unit_test(an_imports_value_must_be_a_revision),
        cmocka_unit_test(an_integer_that_is_too_large_is_refused),
        cmocka_unit_test(only_the_request_that_counts_is_checked),
        cmocka_unit_test(a_long_name_is_cut_in_the_error),
        cmocka_unit_test(what_is_not_json_is_lost),
        cmocka_unit_test(what_is_not_utf8_is_lost),
        cmocka_unit_test(a_message_that_is_cut_off_is_lost),
        cmocka_unit_test(deep_nesting_is_lost),
        cmocka_unit_test(a_million_brackets_are_lost),
    };

    return cmocka_run_group_tests_name("codec_refused", tests, NULL, NULL);
}

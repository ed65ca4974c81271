/* The short way of reading requests: it takes what BitBake sends, and what it takes is
 * what a JSON library reads. */
#include "wire/codec.h"
#include "wire/codec_plain.h"

#include "unit.h"

#include <jansson.h>
#include <stdlib.h>

#define GET_PR                                                                               \
    "{\"get-pr\": {\"version\": \"m4-1.4.19-r0\", \"pkgarch\": \"core2-64\", \"checksum\": " \
    "\"6b86b273ff34fce1\", \"history\": false}}"
#define IMPORT \
    "{\"import-one\":{\"version\":\"a\",\"pkgarch\":\"b\",\"checksum\":\"\",\"value\":\"1.2\"}}"

static void what_bitbake_sends_is_plain(void **state)
{
    static const char *const messages[] = {
        GET_PR,
        IMPORT,
        "{\"ping\": {}}",
        " { \"is-readonly\" :\t{ } } ",
        "{\"test-pr\": {\"version\": \"a\", \"pkgarch\": \"b\", \"checksum\": \"c\"}}",
        "{\"test-package\": {\"pkgarch\": \"b\", \"version\": \"a\"}}",
        "{\"max-package-pr\": {\"version\": \"a b\", \"pkgarch\": \"$[]{},:\"}}",
        "{\"get-pr\":{\"version\":\"\",\"pkgarch\":\"\",\"checksum\":\"\",\"history\":null}}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++) {
        struct request request;

        if (!codec_plain_read(text_of(messages[i]), &request))
            fail_msg("%s is not plain", messages[i]);
        codec_release(&request);
    }
}

static void its_fields_are_strings_of_their_own(void **state)
{
    char message[] = GET_PR;
    struct request request;

    (void)state;
    assert_true(codec_plain_read(text_of(message), &request));
    memset(message, 'x', sizeof message);
    assert_int_equal(request.kind, REQUEST_GET_PR);
    assert_string_equal(request.version.bytes, "m4-1.4.19-r0");
    assert_text_is(request.version, "m4-1.4.19-r0");
    assert_text_is(request.pkgarch, "core2-64");
    assert_text_is(request.checksum, "6b86b273ff34fce1");
    assert_false(request.history);
    codec_release(&request);
}

static void anything_else_is_left_alone(void **state)
{
    static const char *const messages[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"ping\": {\"x\": 1}}",
        "{\"ping\": {}, \"ping\": {}}",
        "{\"ping\": {}} x",
        "{\"pong\": {}}",
        "{\"export\": {\"version\": null}}",
        "{\"get-stats\": {}}",
        "{\"test-package\": {\"version\": \"a\"}}",
        "{\"test-package\": {\"version\": \"a\", \"version\": \"a\", \"pkgarch\": \"b\"}}",
        "{\"test-package\": {\"version\": \"a\", \"pkgarch\": \"b\", \"checksum\": \"c\"}}",
        "{\"test-package\": {\"version\": \"a\", \"pkgarch\": \"b\",}}",
        "{\"test-package\": {\"version\": \"\\u0061\", \"pkgarch\": \"b\"}}",
        "{\"test-package\": {\"version\": \"\xc3\xbc\", \"pkgarch\": \"b\"}}",
        "{\"test-package\": {\"version\": \"\x7f\", \"pkgarch\": \"b\"}}",
        "{\"test-package\": {\"version\": \"\t\", \"pkgarch\": \"b\"}}",
        "{\"test-package\": {\"version\": 1, \"pkgarch\": \"b\"}}",
        "{\"import-one\":{\"version\":\"a\",\"pkgarch\":\"b\",\"checksum\":\"\",\"value\":\"x\"}}",
        "{\"import-one\":{\"version\":\"a\",\"pkgarch\":\"b\",\"checksum\":\"\",\"value\":1}}",
        "{\"get-pr\":{\"version\":\"\",\"pkgarch\":\"\",\"checksum\":\"\",\"history\":1}}",
        "{\"get-pr\":{\"version\":\"\",\"pkgarch\":\"\",\"checksum\":\"\",\"history\":\"\"}}",
    };

    (void)state;
    assert_false(codec_plain_read((struct text){.bytes = NULL}, NULL));
    for (size_t i = 0; i < COUNT(messages); i++) {
        struct request request = {.kind = REQUEST_KINDS};

        if (codec_plain_read(text_of(messages[i]), &request))
            fail_msg("%s was taken", messages[i]);
        assert_int_equal(request.kind, REQUEST_KINDS);
    }
}

/* ---- what is taken is what a JSON library reads ---- */

static bool is_field(const json_t *arguments, const char *name, struct text field)
{
    const json_t *value = json_object_get(arguments, name);

    if (!value)
        return field.length == 0;
    return json_string_length(value) == field.length &&
           memcmp(json_string_value(value), field.bytes, field.length) == 0;
}

static void check_with_library(struct text message)
{
    struct request request;
    json_t *root;
    const json_t *arguments;

    if (!codec_plain_read(message, &request))
        return;
    root = json_loadb(message.bytes, message.length, JSON_REJECT_DUPLICATES, NULL);
    arguments = json_object_get(root, request_name(request.kind));
    if (!arguments || json_object_size(root) != 1 ||
        !is_field(arguments, "version", request.version) ||
        !is_field(arguments, "pkgarch", request.pkgarch) ||
        !is_field(arguments, "checksum", request.checksum) ||
        !is_field(arguments, "value", request.value) ||
        json_is_true(json_object_get(arguments, "history")) != request.history)
        fail_msg("taken otherwise: %.*s", (int)message.length, message.bytes);
    json_decref(root);
    codec_release(&request);
}

/* Bytes that mean something in such a message. */
static char any_byte(void)
{
    static const char bytes[] = "\"\"{}[]:,\\ \t\ntruefalsn0.1-\x7f\xc3\xbc\x01x";

    return bytes[(size_t)rand() % (sizeof bytes - 1)];
}

static void whatever_becomes_of_a_message(void **state)
{
    static const char *const messages[] = {GET_PR, IMPORT, "{\"ping\": {}}"};

    (void)state;
    srand(1);
    for (unsigned i = 0; i < 200000; i++) {
        const char *from = messages[i % COUNT(messages)];
        size_t length = strlen(from);
        char message[256];

        memcpy(message, from, length);
        for (int change = rand() % 3; change >= 0; change--) {
            size_t at = (size_t)rand() % length;

            if (rand() % 2) {
                message[at] = any_byte();
            } else {
                memmove(message + at, message + at + 1, length - at - 1);
                length--;
            }
        }
        check_with_library((struct text){message, length});
    }
}

/* ---- rows ---- */

#define ROW "{\"version\":\"a\",\"pkgarch\":\"b c\",\"checksum\":\"\",\"value\":\"1.2\"}"

static void a_row_is_read_where_it_stands(void **state)
{
    static const struct text json = TEXT(ROW);
    struct codec_row row;

    (void)state;
    assert_true(codec_plain_read_row(json, &row));
    assert_text_is(row.version, "a");
    assert_text_is(row.pkgarch, "b c");
    assert_text_is(row.checksum, "");
    assert_text_is(row.value, "1.2");
    assert_ptr_equal(row.version.bytes, json.bytes + strlen("{\"version\":\""));
    codec_release_row(&row);
}

static void another_row_is_left_alone(void **state)
{
    static const char *const rows[] = {
        "",
        "null",
        "{}",
        "{\"pkgarch\":\"b\",\"version\":\"a\",\"checksum\":\"\",\"value\":\"1\"}",
        "{\"version\":\"a\",\"pkgarch\":\"b\",\"checksum\":\"c\",\"value\":1}",
        "{\"version\":\"a\",\"pkgarch\":\"b\",\"checksum\":\"c\",\"value\":null}",
        "{\"version\":\"a\",\"pkgarch\":\"b\",\"checksum\":\"c\",\"value\":\"1\",\"x\":1}",
        "{\"version\":\"\\u0061\",\"pkgarch\":\"b\",\"checksum\":\"c\",\"value\":\"1\"}",
        ROW "x",
    };
    struct codec_row row;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (codec_plain_read_row(text_of(rows[i]), &row))
            fail_msg("%s was taken", rows[i]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_bitbake_sends_is_plain),
        cmocka_unit_test(its_fields_are_strings_of_their_own),
        cmocka_unit_test(anything_else_is_left_alone),
        cmocka_unit_test(whatever_becomes_of_a_message),
        cmocka_unit_test(a_row_is_read_where_it_stands),
        cmocka_unit_test(another_row_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

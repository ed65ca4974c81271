/* SPDX-License-Identifier: MIT */
/* The JSON reader: what JSON is, where it ends, and what its strings mean. */
#include "wire/json_reader.h"

#include "unit.h"

#include <stdlib.h>

/* Reads a text with one value. */
static bool reads(struct text text, struct json_value *value)
{
    struct json_reader reader;

    json_reader_init(&reader, text);
    json_reader_whole(&reader, value);
    return json_reader_finish(&reader);
}

static void check_kind(const char *json, enum json_kind kind, const char *text)
{
    struct json_value value;

    assert_true(reads(text_of(json), &value));
    assert_int_equal(value.kind, kind);
    assert_text_is(value.text, text);
}

static void check_invalid(struct text json)
{
    struct json_value value;

    if (reads(json, &value))
        fail_msg("%.*s was read", (int)json.length, text_not_null(json).bytes);
}

/* ---- values ---- */

static void a_value_has_a_kind_and_a_text(void **state)
{
    (void)state;
    check_kind("null", JSON_KIND_NULL, "");
    check_kind(" true ", JSON_KIND_TRUE, "");
    check_kind("\t\r\nfalse", JSON_KIND_FALSE, "");
    check_kind("0", JSON_KIND_INTEGER, "0");
    check_kind("-0", JSON_KIND_INTEGER, "0");
    check_kind("-12", JSON_KIND_INTEGER, "-12");
    check_kind("99999999999999999999", JSON_KIND_INTEGER, "99999999999999999999");
    check_kind("-0.0", JSON_KIND_REAL, "-0.0");
    check_kind("1E9", JSON_KIND_REAL, "1E9");
    check_kind("1.5e-999", JSON_KIND_REAL, "1.5e-999");
    check_kind("\"\"", JSON_KIND_STRING, "");
    check_kind("\"a b\"", JSON_KIND_STRING, "a b");
    check_kind(" { \"a\" : [] } ", JSON_KIND_OBJECT, "{ \"a\" : [] }");
    check_kind("[ ]", JSON_KIND_LIST, "[ ]");
}

static void what_is_not_a_value_is_invalid(void **state)
{
    static const struct text texts[] = {TEXT(""), TEXT(" "), TEXT("nul"), TEXT("nulL"),
        TEXT("None"), TEXT("NaN"), TEXT("-Infinity"), TEXT("+1"), TEXT("01"), TEXT("-"), TEXT("1."),
        TEXT(".1"), TEXT("1e"), TEXT("1e+"), TEXT("1.e1"), TEXT("0x1"), TEXT("1\0"), TEXT("\0"),
        TEXT("null null"), TEXT("'a'"),
        TEXT("\xef\xbb\xbf"
             "1"),
        TEXT("\xc2\xa0"
             "1"),
        TEXT("{"), TEXT("["), TEXT("}"), TEXT("]"), TEXT("{]"), TEXT("[}"), TEXT("[1"), TEXT("[1,"),
        TEXT("[1,]"), TEXT("[,1]"), TEXT("[1 2]"), TEXT("[1]]"), TEXT("{\"a\"}"), TEXT("{\"a\":}"),
        TEXT("{\"a\":1,}"), TEXT("{,\"a\":1}"), TEXT("{\"a\" 1}"), TEXT("{\"a\":1 \"b\":2}"),
        TEXT("{a:1}"), TEXT("{1:1}"), TEXT("{\"a\":1]"), TEXT("[{\"a\":[1}]"), TEXT("{}{}"),
        TEXT("[1]// no")};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        check_invalid(texts[i]);
    check_invalid((struct text){.bytes = NULL});
}

/* ---- objects and lists ---- */

static void members_and_elements_come_in_their_order(void **state)
{
    struct json_reader reader;
    struct json_value name;
    struct json_value value;

    (void)state;
    json_reader_init(&reader, TEXT(" { \"a\" : [1 , [] , \"x\"] , \"b\" : { } , \"a\" : null } "));
    assert_true(json_reader_value(&reader, &value));
    assert_int_equal(value.kind, JSON_KIND_OBJECT);
    assert_true(json_reader_member(&reader, &name));
    assert_text_is(name.text, "a");
    assert_true(json_reader_value(&reader, &value));
    assert_int_equal(value.kind, JSON_KIND_LIST);
    assert_true(json_reader_element(&reader));
    assert_true(json_reader_value(&reader, &value));
    assert_text_is(value.text, "1");
    assert_true(json_reader_element(&reader));
    json_reader_whole(&reader, &value);
    assert_text_is(value.text, "[]");
    assert_true(json_reader_element(&reader));
    assert_true(json_reader_value(&reader, &value));
    assert_text_is(value.text, "x");
    assert_false(json_reader_element(&reader));
    assert_true(json_reader_member(&reader, &name));
    assert_text_is(name.text, "b");
    assert_true(json_reader_value(&reader, &value));
    assert_false(json_reader_member(&reader, &name));
    assert_true(json_reader_member(&reader, &name));
    assert_text_is(name.text, "a");
    assert_true(json_reader_value(&reader, &value));
    assert_int_equal(value.kind, JSON_KIND_NULL);
    assert_false(json_reader_member(&reader, &name));
    assert_true(json_reader_finish(&reader));
}

static void an_error_ends_the_reading_and_says_where(void **state)
{
    struct json_reader reader;
    struct json_value value;

    (void)state;
    json_reader_init(&reader, TEXT("[1, tru, 2]"));
    assert_true(json_reader_value(&reader, &value));
    assert_true(json_reader_element(&reader));
    assert_true(json_reader_value(&reader, &value));
    assert_true(json_reader_element(&reader));
    assert_false(json_reader_value(&reader, &value));
    assert_int_equal(value.kind, JSON_KIND_NONE);
    assert_false(json_reader_element(&reader));
    assert_false(json_reader_value(&reader, &value));
    assert_false(json_reader_finish(&reader));
    assert_string_equal(reader.problem, "a value is expected");
    assert_int_equal(json_reader_position(&reader), 4);
}

/* So many lists inside each other. */
static bool reads_lists(size_t depth)
{
    struct json_value value;
    struct text text = {.length = 2 * depth};
    char *bytes = malloc(2 * depth);
    bool valid;

    assert_non_null(bytes);
    memset(bytes, '[', depth);
    memset(bytes + depth, ']', depth);
    text.bytes = bytes;
    valid = reads(text, &value);
    free(bytes);
    return valid;
}

static void nesting_has_a_limit(void **state)
{
    (void)state;
    assert_true(reads_lists(JSON_MOST_DEPTH));
    assert_false(reads_lists(JSON_MOST_DEPTH + 1));
    assert_false(reads_lists(1000000));
}

/* ---- strings ---- */

static void check_decoded(struct text json, struct text expected)
{
    struct json_value value;
    char decoded[100];

    assert_true(reads(json, &value));
    assert_int_equal(value.kind, JSON_KIND_STRING);
    assert_text_equal(((struct text){.bytes = decoded,
                          .length = (size_t)(json_value_decode(&value, decoded) - decoded)}),
        expected);
    assert_int_equal(decoded[expected.length], '\0');
    assert_true(value.text.length >= expected.length);
}

static void strings_mean_what_their_escapes_say(void **state)
{
    (void)state;
    check_decoded(TEXT("\"\""), TEXT(""));
    check_decoded(TEXT("\"plain\""), TEXT("plain"));
    check_decoded(TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), TEXT("\"\\/\b\f\n\r\t"));
    check_decoded(TEXT("\"a\\u0000b\""), TEXT("a\0b"));
    check_decoded(TEXT("\"\\u0041\\u00e9\\u20AC\""), TEXT("A\xc3\xa9\xe2\x82\xac"));
    check_decoded(TEXT("\"\\ud83d\\uDE00!\""), TEXT("\xf0\x9f\x98\x80!"));
    check_decoded(
        TEXT("\"\\ud800\\udc00\\udbff\\udfff\""), TEXT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"));
    check_decoded(TEXT("\"gr\xc3\xbc\xc3\x9f\x7f\""), TEXT("gr\xc3\xbc\xc3\x9f\x7f"));
    check_decoded(TEXT("\"\\uffff\\\\u0041\""), TEXT("\xef\xbf\xbf\\u0041"));
}

static void what_is_not_a_string_is_invalid(void **state)
{
    static const struct text texts[] = {TEXT("\""), TEXT("\"a"), TEXT("\"\\"), TEXT("\"\\\""),
        TEXT("\"\\"), TEXT("\"\\x\""), TEXT("\"\\u\""), TEXT("\"\\u004\""), TEXT("\"\\u004g\""),
        TEXT("\"\\u-041\""), TEXT("\"\\\0\""), TEXT("\"a\0b\""), TEXT("\"a\tb\""), TEXT("\"a\nb\""),
        TEXT("\"\x1f\""), TEXT("\"\\ud83d\""), TEXT("\"\\ude00\""), TEXT("\"\\ud83d\\ud83d\""),
        TEXT("\"\\ud83d\\u0041\""), TEXT("\"\\ud83dx\""), TEXT("\"\\ud83d\\n\""), TEXT("\"\\ud83d"),
        TEXT("\"\\ud83d\\ude0"), TEXT("\"\xff\""), TEXT("\"\xc3\""), TEXT("\"\xc3\\u0041\""),
        TEXT("\"\xed\xa0\x80\""), TEXT("\"\xc0\x80\""), TEXT("{\"\xff\":1}"), TEXT("[\"\\u12\"]")};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        check_invalid(texts[i]);
}

#define LONG "a text of sixty-four bytes, which is much longer than any word is"

static void a_string_is_a_word_however_it_is_written(void **state)
{
    static const struct text same[] = {TEXT("\"get-pr\""), TEXT("\"get\\u002dpr\""),
        TEXT("\"\\u0067\\u0065\\u0074\\u002D\\u0070\\u0072\"")};
    static const struct text others[] = {TEXT("\"\""), TEXT("\"get-p\""), TEXT("\"get-prs\""),
        TEXT("\"get\\\\u002dpr\""), TEXT("\"get-pr\\u0000\""), TEXT("\"get_pr\""),
        TEXT("\"" LONG LONG LONG LONG LONG "\\u0078\"")};
    struct json_value value;

    (void)state;
    for (size_t i = 0; i < COUNT(same); i++) {
        assert_true(reads(same[i], &value));
        assert_true(json_value_is(&value, "get-pr"));
    }
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_true(reads(others[i], &value));
        assert_false(json_value_is(&value, "get-pr"));
    }
}

static void a_special_byte_is_found_at_any_place(void **state)
{
    char json[2 + 20];
    struct json_value value;

    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        const bool is_plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';

        for (size_t length = 1; length <= 20; length++) {
            for (size_t at = 0; at < length; at++) {
                json[0] = json[length + 1] = '"';
                memset(json + 1, 'x', length);
                json[1 + at] = (char)byte;
                assert_int_equal(
                    reads((struct text){.bytes = json, .length = length + 2}, &value), is_plain);
                if (is_plain)
                    assert_int_equal(value.text.length, length);
            }
        }
    }
}

static void a_long_name_is_not_a_word(void **state)
{
    static const char *const words[] = {"a", "get-pr", "abcdefghijklmnopqrstuvwxyz01234"};
    static const struct {
        struct text json;
        int word;
    } names[] = {
        {TEXT("\"abcdefghijklmnopqrstuvwxyz01234\""), 2},
        {TEXT("\"\\u0061bcdefghijklmnopqrstuvwxyz01234\""), 2},
        {TEXT("\"abcdefghijklmnopqrstuvwxyz0123\\u0034\""), 2},
        {TEXT("\"abcdefghijklmnopqrstuvwxyz01234\\u0035\""), 3},
        {TEXT("\"abcdefghijklmnopqrstuvwxyz0123\\ud83d\\ude00\""), 3},
        {TEXT("\"abcdefghijklmnopqrstuvwxyz01\\ud83d\\ude00\""), 3},
        {TEXT("\"\\u0061\""), 0},
        {TEXT("\"\\u0061\\u0000\""), 3},
        {TEXT("\"" LONG "\\u0061\""), 3},
    };
    struct json_value value;

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_true(reads(names[i].json, &value));
        assert_int_equal(json_value_find(&value, words, COUNT(words)), names[i].word);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_has_a_kind_and_a_text),
        cmocka_unit_test(what_is_not_a_value_is_invalid),
        cmocka_unit_test(members_and_elements_come_in_their_order),
        cmocka_unit_test(an_error_ends_the_reading_and_says_where),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(strings_mean_what_their_escapes_say),
        cmocka_unit_test(what_is_not_a_string_is_invalid),
        cmocka_unit_test(a_string_is_a_word_however_it_is_written),
        cmocka_unit_test(a_special_byte_is_found_at_any_place),
        cmocka_unit_test(a_long_name_is_not_a_word),
    };

    return cmocka_run_group_tests_name("json_reader", tests, NULL, NULL);
}

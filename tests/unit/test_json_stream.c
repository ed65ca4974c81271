/* SPDX-License-Identifier: MIT */
/* The splitter: members and elements of a JSON object that comes in pieces. */
#include "client/json_stream.h"

#include "unit.h"

/* What was found, written down: "key:value;" a member, "key=value;" one of a list, "key.;"
 * the end of a list. */
struct notes {
    struct buffer text;
    int stop_at; /* the find, from 1, that is answered with STOPPED; 0: none */
    int finds;
};

#define STOPPED (-7)

static int note(void *context, enum json_stream_part part, struct text key, struct text value)
{
    static const char *const marks[] = {[JSON_STREAM_MEMBER_VALUE] = ":",
        [JSON_STREAM_LIST_ELEMENT] = "=",
        [JSON_STREAM_LIST_END] = "."};

    struct notes *notes = context;

    buffer_append_text(&notes->text, key);
    buffer_append_string(&notes->text, marks[part]);
    buffer_append_text(&notes->text, value);
    buffer_append_string(&notes->text, ";");
    return ++notes->finds == notes->stop_at ? STOPPED : 0;
}

static struct json_stream new_splitter(struct notes *notes)
{
    return (struct json_stream){.found = note, .context = notes};
}

/* Feeds the text in pieces of that many bytes; what it finds does not depend on that. */
static void check_found(struct text json, size_t piece_bytes, const char *expected)
{
    struct notes notes = {.text = BUFFER_EMPTY};
    struct json_stream stream = new_splitter(&notes);

    for (size_t at = 0; at < json.length; at += piece_bytes) {
        size_t left = json.length - at;
        struct text piece = {json.bytes + at, left < piece_bytes ? left : piece_bytes};

        assert_false(json_stream_is_complete(&stream));
        assert_int_equal(json_stream_feed(&stream, piece), 0);
    }
    assert_true(json_stream_is_complete(&stream));
    assert_text_is(buffer_text(&notes.text), expected);
    json_stream_deinit(&stream);
    buffer_free(&notes.text);
}

static void members_and_elements_are_found_however_they_come(void **state)
{
    static const struct {
        const char *json;
        const char *expected;
    } cases[] = {
        {"{}", ""},
        {"{\"a\":1}", "a:1;"},
        {"{\"a\":1,\"b\":null}", "a:1;b:null;"},
        {"{\"a\":{\"b\":[1,{}]},\"c\":\"x\"}", "a:{\"b\":[1,{}]};c:\"x\";"},
        {"{\"a\":[]}", "a.;"},
        {"{\"a\":[1,2],\"b\":[\"x\"]}", "a=1;a=2;a.;b=\"x\";b.;"},
        {"{\"a\":[[1,2],{\"b\":3}]}", "a=[1,2];a={\"b\":3};a.;"},
        {" { \"a\" : [ 1,\n2 ] , \"b\" : 3}", "a=1;a=2 ;a.;b:3;"},
        {"{\"a b\":1}", "a b:1;"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct text json = text_of(cases[i].json);

        for (size_t piece_bytes = 1; piece_bytes <= json.length; piece_bytes++)
            check_found(json, piece_bytes, cases[i].expected);
    }
}

static void brackets_commas_and_quotes_in_strings_mean_nothing(void **state)
{
    (void)state;
    check_found(text_of("{\"a\":\"},]{[\",\"b\":[\"]\",\"\\\"]\",\"\\\\\"]}"), 1,
        "a:\"},]{[\";b=\"]\";b=\"\\\"]\";b=\"\\\\\";b.;");
    check_found(text_of("{\"a\":[{\"k\":\"}\\\\\\\"}\"}]}"), 1, "a={\"k\":\"}\\\\\\\"}\"};a.;");
}

static void an_object_is_complete_only_at_its_end(void **state)
{
    const struct text json = text_of("{\"a\":[{\"b\":\"c\"},2],\"d\":3}");

    (void)state;
    for (size_t length = 0; length < json.length; length++) {
        struct notes notes = {.text = BUFFER_EMPTY};
        struct json_stream stream = new_splitter(&notes);

        assert_int_equal(json_stream_feed(&stream, (struct text){json.bytes, length}), 0);
        assert_false(json_stream_is_complete(&stream));
        json_stream_deinit(&stream);
        buffer_free(&notes.text);
    }
}

static void blanks_may_follow_the_end(void **state)
{
    struct notes notes = {.text = BUFFER_EMPTY};
    struct json_stream stream = new_splitter(&notes);

    (void)state;
    assert_int_equal(json_stream_feed(&stream, text_of("{} \r\n")), 0);
    assert_true(json_stream_is_complete(&stream));
    assert_int_equal(json_stream_feed(&stream, text_of("{")), JSON_STREAM_INVALID);
    json_stream_deinit(&stream);
}

static void what_is_no_object_is_nonsense(void **state)
{
    static const char *const texts[] = {"null", "[]", "\"x\"", "}", "{1", "{\"a\"1", "{\"a\":]",
        "{\"a\":[1}", "{\"a\":[}", "{\"a\":}", "{\"a\":,", "{\"a\":[,", "{\"a\":[]1", "{\"a\\",
        "{}x", "{\"a\":[]]", "{\"a\":[1,]", "{\"a\":1,}"};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct notes notes = {.text = BUFFER_EMPTY};
        struct json_stream stream = new_splitter(&notes);

        if (json_stream_feed(&stream, text_of(texts[i])) != JSON_STREAM_INVALID)
            fail_msg("'%s' was taken", texts[i]);
        json_stream_deinit(&stream);
        buffer_free(&notes.text);
    }
}

static void a_key_without_end_is_too_long(void **state)
{
    struct notes notes = {.text = BUFFER_EMPTY};
    struct json_stream stream = new_splitter(&notes);
    int result = json_stream_feed(&stream, text_of("{\""));

    (void)state;
    for (size_t i = 0; i <= JSON_STREAM_KEY_BYTES && result == 0; i++)
        result = json_stream_feed(&stream, text_of("x"));
    assert_int_equal(result, JSON_STREAM_TOO_LONG);
    json_stream_deinit(&stream);
    buffer_free(&notes.text);
}

static void what_found_returns_stops_it(void **state)
{
    (void)state;
    for (int stop_at = 1; stop_at <= 4; stop_at++) {
        struct notes notes = {.text = BUFFER_EMPTY, .stop_at = stop_at};
        struct json_stream stream = new_splitter(&notes);

        assert_int_equal(json_stream_feed(&stream, text_of("{\"a\":1,\"b\":[2,3]}")), STOPPED);
        assert_int_equal(notes.finds, stop_at);
        json_stream_deinit(&stream);
        buffer_free(&notes.text);
    }
}

static int ignore(void *context, enum json_stream_part part, struct text key, struct text value)
{
    (void)context;
    (void)part;
    (void)key;
    (void)value;
    return 0;
}

static void memory_does_not_grow_with_the_number_of_elements(void **state)
{
    struct json_stream stream = {.found = ignore};
    size_t capacity;

    (void)state;
    assert_int_equal(json_stream_feed(&stream, text_of("{\"a\":[{\"version\":\"x\"}")), 0);
    capacity = stream.value.capacity;
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(json_stream_feed(&stream, text_of(",{\"version\":\"x\"}")), 0);
    assert_int_equal(stream.value.capacity, capacity);
    assert_int_equal(json_stream_feed(&stream, text_of("]}")), 0);
    assert_true(json_stream_is_complete(&stream));
    json_stream_deinit(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_and_elements_are_found_however_they_come),
        cmocka_unit_test(brackets_commas_and_quotes_in_strings_mean_nothing),
        cmocka_unit_test(an_object_is_complete_only_at_its_end),
        cmocka_unit_test(blanks_may_follow_the_end),
        cmocka_unit_test(what_is_no_object_is_nonsense),
        cmocka_unit_test(a_key_without_end_is_too_long),
        cmocka_unit_test(what_found_returns_stops_it),
        cmocka_unit_test(memory_does_not_grow_with_the_number_of_elements),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* How a connection begins: the protocol's name, header lines, an empty line. */
#include "wire/handshake.h"

#include "unit.h"

struct client {
    struct framer framer;
    struct handshake opening;
    struct error error;
};

static int connect_client(void **state)
{
    struct client *client = test_calloc(1, sizeof *client);

    framer_init(&client->framer, 1000);
    *state = client;
    return 0;
}

static int disconnect_client(void **state)
{
    framer_free(&((struct client *)*state)->framer);
    test_free(*state);
    return 0;
}

static enum framer_result send_text(struct client *client, struct text text)
{
    assert_int_equal(framer_feed(&client->framer, text.bytes, text.length, &client->error), 0);
    return handshake_read(&client->opening, &client->framer, &client->error);
}

static enum framer_result send_string(struct client *client, const char *string)
{
    return send_text(client, text_of(string));
}

/* What a client that sends only this gets, on a connection of its own. */
static enum framer_result open_with(struct text text, bool *needs_headers)
{
    struct client client = {.error = {""}};
    enum framer_result result;

    framer_init(&client.framer, 1000);
    result = send_text(&client, text);
    if (result == FRAMER_LOST)
        assert_string_not_equal(client.error.text, "");
    *needs_headers = client.opening.needs_headers;
    framer_free(&client.framer);
    return result;
}

/* ---- openings ---- */

static void an_opening_is_the_protocol_headers_and_an_empty_line(void **state)
{
    static const char *const openings[] = {
        "PRSERVICE 1.0\n\n",
        "PRSERVICE 1.0\nneeds-headers: false\n\n",
        "PRSERVICE 1.0\nneeds-headers: false\nother: thing\n\n",
        "PRSERVICE 1.0\nname:\n\n",
        "PRSERVICE 1.0\n:\n\n",
        "PRSERVICE 1.0\na: b: c\n\n",
        "PRSERVICE 1.0\nname: gr\xc3\xbc\xc3\x9f\n\n",
        "PRSERVICE 1.0\r\nneeds-headers: false\r\n\r\n",
        "PRSERVICE 1.0 \n\n",
        HANDSHAKE_CLIENT,
        HANDSHAKE_SERVER,
    };
    bool needs_headers;

    (void)state;
    for (size_t i = 0; i < COUNT(openings); i++) {
        if (open_with(text_of(openings[i]), &needs_headers) != FRAMER_READY)
            fail_msg("this opens a connection: %s", openings[i]);
        assert_false(needs_headers);
    }
}

static void a_client_can_ask_for_headers(void **state)
{
    static const struct {
        const char *text;
        bool needs_headers;
    } cases[] = {
        {"PRSERVICE 1.0\nneeds-headers: true\n\n", true},
        {"PRSERVICE 1.0\nneeds-headers:true\n\n", true},
        {"PRSERVICE 1.0\nneeds-headers:  true \t\n\n", true},
        {"PRSERVICE 1.0\nNeeds-Headers: true\n\n", true},
        {"PRSERVICE 1.0\nNEEDS-HEADERS: true\r\n\r\n", true},
        {"PRSERVICE 1.0\nother: false\nneeds-headers: true\nanother: false\n\n", true},
        {"PRSERVICE 1.0\nneeds-headers: false\nneeds-headers: true\n\n", true},
        {"PRSERVICE 1.0\nneeds-headers: true\nneeds-headers: false\n\n", false},
        {"PRSERVICE 1.0\nneeds-headers:\n\n", false},
        {"PRSERVICE 1.0\nneeds-headers: yes\n\n", false},
        {"PRSERVICE 1.0\nneeds-headers: true: true\n\n", false},
        {"PRSERVICE 1.0\nneeds-header: true\n\n", false},
        {"PRSERVICE 1.0\nneeds-headers-not: true\n\n", false},
        {"PRSERVICE 1.0\nother: needs-headers: true\n\n", false},
    };
    bool needs_headers;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(open_with(text_of(cases[i].text), &needs_headers), FRAMER_READY);
        if (needs_headers != cases[i].needs_headers)
            fail_msg("needs headers: %d in %s", needs_headers, cases[i].text);
    }
}

static void a_server_below_says_so(void **state)
{
    static const struct {
        const char *text;
        bool is_from_server;
    } cases[] = {
        {HANDSHAKE_SERVER, true},
        {HANDSHAKE_CLIENT, false},
        {"PRSERVICE 1.0\nX-PRserv-Upstream:1 \n\n", true},
        {"PRSERVICE 1.0\nx-prserv-upstream: 0\n\n", false},
        {"PRSERVICE 1.0\nx-prserv-upstreams: 1\n\n", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct client client = {.error = {""}};

        framer_init(&client.framer, 1000);
        assert_int_equal(send_string(&client, cases[i].text), FRAMER_READY);
        assert_int_equal(client.opening.is_from_server, cases[i].is_from_server);
        framer_free(&client.framer);
    }
}

static void an_opening_that_is_not_complete_waits(void **state)
{
    static const char *const parts[] = {"", "PRSERV", "NOTHING", "PRSERVICE 1.0", "PRSERVICE 1.0\n",
        "PRSERVICE 1.0\nneeds-", "PRSERVICE 1.0\nneeds-headers: true\n",
        "PRSERVICE 1.0\nneeds-headers: true\n\r"};
    bool needs_headers;

    (void)state;
    for (size_t i = 0; i < COUNT(parts); i++)
        assert_int_equal(open_with(text_of(parts[i]), &needs_headers), FRAMER_MORE);
}

static void an_opening_can_come_a_byte_at_a_time(void **state)
{
    static const char handshake[] = "PRSERVICE 1.0\r\nneeds-headers: true\r\nother: thing\n\n";
    struct client *client = *state;

    for (size_t i = 0; i + 1 < strlen(handshake); i++)
        assert_int_equal(
            send_text(client, (struct text){.bytes = handshake + i, .length = 1}), FRAMER_MORE);
    assert_int_equal(send_string(client, "\n"), FRAMER_READY);
    assert_true(client->opening.needs_headers);
}

static void what_follows_an_opening_is_messages(void **state)
{
    struct client *client = *state;
    struct text message;

    assert_int_equal(send_string(client, "PRSERVICE 1.0\n\n{\"ping\": {}}\n[\n\n"), FRAMER_READY);
    assert_int_equal(framer_next_message(&client->framer, &message, &client->error), FRAMER_READY);
    assert_text_is(message, "{\"ping\": {}}");
    assert_int_equal(framer_next_message(&client->framer, &message, &client->error), FRAMER_READY);
    assert_text_is(message, "[");
    assert_int_equal(framer_next_message(&client->framer, &message, &client->error), FRAMER_LOST);
}

/* ---- what is refused ---- */

static void another_protocol_or_version_is_refused(void **state)
{
    static const char *const openings[] = {
        "OEHASHEQUIV 1.1\n",
        "PRSERVICE 1.1\n",
        "PRSERVICE 2.0\n",
        "PRSERVICE 1.00\n",
        "PRSERVICE 1\n",
        "PRSERVICE\n",
        "PRSERVICE \n",
        "PRSERVICE1.0\n",
        "PRSERVICES 1.0\n",
        "PRSERVICE 1.0 1.0\n",
        "prservice 1.0\n",
        "{\"ping\": {}}\n",
        "GET / HTTP/1.1\r\n",
        "\n",
        "\r\n",
    };
    bool needs_headers;

    (void)state;
    for (size_t i = 0; i < COUNT(openings); i++)
        if (open_with(text_of(openings[i]), &needs_headers) != FRAMER_LOST)
            fail_msg("this does not open a connection: %s", openings[i]);
}

static void the_error_names_the_protocol(void **state)
{
    struct client *client = *state;

    assert_int_equal(send_string(client, "GET / HTTP/1.1\r\n"), FRAMER_LOST);
    assert_says(&client->error, "PRSERVICE 1.0");
}

static void a_nul_does_not_end_the_protocols_name(void **state)
{
    bool needs_headers;

    (void)state;
    assert_int_equal(open_with(TEXT("PRSERVICE 1.0\0\n\n"), &needs_headers), FRAMER_LOST);
    assert_int_equal(open_with(TEXT("PRSERVICE\0"
                                    "1.0\n\n"),
                         &needs_headers),
        FRAMER_LOST);
}

static void a_header_line_without_a_colon_is_refused(void **state)
{
    struct client *client = *state;

    assert_int_equal(send_string(client, "PRSERVICE 1.0\n{\"ping\"}\n\n"), FRAMER_LOST);
    assert_says(&client->error, "colon");
}

static void a_header_line_that_is_not_utf8_is_refused(void **state)
{
    struct client *client = *state;

    assert_int_equal(send_string(client, "PRSERVICE 1.0\nname: \xff\n\n"), FRAMER_LOST);
    assert_says(&client->error, "UTF-8");
}

/* ---- limits ---- */

static void a_hundred_header_lines_are_taken_and_no_more(void **state)
{
    struct client *client = *state;

    assert_int_equal(send_string(client, "PRSERVICE 1.0\n"), FRAMER_MORE);
    for (int i = 0; i < 99; i++)
        assert_int_equal(send_string(client, "name: value\n"), FRAMER_MORE);
    assert_int_equal(send_string(client, "needs-headers: true\n"), FRAMER_MORE);
    assert_int_equal(send_string(client, "\n"), FRAMER_READY);
    assert_true(client->opening.needs_headers);
}

static void the_hundred_and_first_header_line_is_refused(void **state)
{
    struct client *client = *state;

    assert_int_equal(send_string(client, "PRSERVICE 1.0\n"), FRAMER_MORE);
    for (int i = 0; i < 100; i++)
        assert_int_equal(send_string(client, "name: value\n"), FRAMER_MORE);
    assert_int_equal(send_string(client, "name: value\n"), FRAMER_LOST);
    assert_says(&client->error, "100");
}

static void a_header_line_has_at_most_8_kib(void **state)
{
    struct client *client = *state;
    char line[8192 + 2] = "name: ";

    memset(line + strlen("name: "), 'v', sizeof line - strlen("name: "));
    line[8192] = '\n';
    assert_int_equal(send_string(client, "PRSERVICE 1.0\n"), FRAMER_MORE);
    assert_int_equal(send_text(client, (struct text){line, 8193}), FRAMER_MORE);
    line[8192] = 'v';
    line[8193] = '\n';
    assert_int_equal(send_text(client, (struct text){line, 8194}), FRAMER_LOST);
    assert_says(&client->error, "8192");
}

static void a_line_without_an_end_is_refused_when_it_is_too_long(void **state)
{
    struct client *client = *state;
    char piece[8192 + 2];

    memset(piece, 'P', sizeof piece);
    assert_int_equal(send_text(client, (struct text){piece, sizeof piece}), FRAMER_LOST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, connect_client, disconnect_client)

/* ---- annotations ---- */

/* Returns the annotations of an opening as JSON; the buffer is the caller's. */
static struct buffer annotations_of(void **state, const char *headers)
{
    struct client *client = *state;
    struct buffer json = BUFFER_EMPTY;

    client->opening = (struct handshake){.n_headers = 0};
    assert_int_equal(send_string(client, "PRSERVICE 1.0\n"), FRAMER_MORE);
    (void)send_string(client, headers);
    assert_int_equal(send_string(client, "\n"), FRAMER_READY);
    handshake_write_annotations(&client->opening, &json);
    handshake_release(&client->opening);
    return json;
}

static void annotations_are_kept_and_other_headers_ignored(void **state)
{
    struct buffer json = annotations_of(state, "X-Build-Host:  h\"1 \nx-machine: qemu\nx-other: "
                                               "no\nmachine: no\nx-distro:\n");

    assert_true(text_is(buffer_text(&json), "{\"build-host\":\"h\\\"1\",\"machine\":\"qemu\"}"));
    buffer_free(&json);
    json = annotations_of(state, "needs-headers: false\n");
    assert_int_equal(json.length, 0);
}

static void the_last_annotation_of_a_name_counts(void **state)
{
    struct buffer json = annotations_of(state, "x-layers: a\nx-layers: b\n");

    assert_true(text_is(buffer_text(&json), "{\"layers\":\"b\"}"));
    buffer_free(&json);
}

static void a_long_annotation_is_cut_at_a_character(void **state)
{
    char header[2 * HANDSHAKE_ANNOTATION_BYTES] = "x-distro: a";
    struct buffer json;

    while (strlen(header) + 3 < sizeof header)
        (void)strcat(header, "\xc3\xa9");
    (void)strcat(header, "\n");
    json = annotations_of(state, header);
    assert_int_equal(
        json.length, strlen("{\"distro\":\"a\"}") + (HANDSHAKE_ANNOTATION_BYTES - 1) / 2 * 6);
    buffer_free(&json);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(an_opening_is_the_protocol_headers_and_an_empty_line),
        TEST(a_client_can_ask_for_headers),
        TEST(a_server_below_says_so),
        TEST(an_opening_that_is_not_complete_waits),
        TEST(an_opening_can_come_a_byte_at_a_time),
        TEST(what_follows_an_opening_is_messages),
        TEST(another_protocol_or_version_is_refused),
        TEST(the_error_names_the_protocol),
        TEST(a_nul_does_not_end_the_protocols_name),
        TEST(a_header_line_without_a_colon_is_refused),
        TEST(a_header_line_that_is_not_utf8_is_refused),
        TEST(a_hundred_header_lines_are_taken_and_no_more),
        TEST(the_hundred_and_first_header_line_is_refused),
        TEST(a_header_line_has_at_most_8_kib),
        TEST(a_line_without_an_end_is_refused_when_it_is_too_long),
        TEST(annotations_are_kept_and_other_headers_ignored),
        TEST(the_last_annotation_of_a_name_counts),
        TEST(a_long_annotation_is_cut_at_a_character),
    };

    return cmocka_run_group_tests_name("opening", tests, NULL, NULL);
}

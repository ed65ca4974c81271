/* SPDX-License-Identifier: MIT */
/* Addresses: the three forms that are read, and how they are written. */
#include "base/address.h"

#include "unit.h"

#include <arpa/inet.h>

static void check_form(const char *text, const char *host, unsigned port)
{
    struct address address;
    struct error error = {""};

    if (address_parse(&address, text, &error) != 0)
        fail_msg("'%s' is an address: %s", text, error.text);
    assert_false(address.is_unix);
    assert_string_equal(address.host, host);
    assert_int_equal(address.port, port);
}

static void check_refused(const char *text)
{
    struct address address;
    struct error error = {""};

    if (address_parse(&address, text, &error) != ERROR_INPUT)
        fail_msg("'%s' is not an address", text);
    assert_string_not_equal(error.text, "");
}

/* ---- reading ---- */

static void a_name_and_a_port_are_an_address(void **state)
{
    (void)state;
    check_form("localhost:8585", "localhost", 8585);
    check_form("pr.example.org:1", "pr.example.org", 1);
    check_form("a:0", "a", 0);
    check_form("a:65535", "a", 65535);
}

static void an_ipv4_address_and_a_port_are_an_address(void **state)
{
    (void)state;
    check_form("127.0.0.1:8585", "127.0.0.1", 8585);
    check_form("0.0.0.0:0", "0.0.0.0", 0);
}

static void an_ipv6_address_stands_in_brackets(void **state)
{
    (void)state;
    check_form("[::1]:8585", "::1", 8585);
    check_form("[::]:0", "::", 0);
    check_form("[2001:db8::7]:80", "2001:db8::7", 80);
    check_form("[fe80::1%eth0]:80", "fe80::1%eth0", 80);
}

static void an_ipv6_address_without_brackets_is_refused(void **state)
{
    struct address address;
    struct error error;

    (void)state;
    check_refused("::1:8585");
    check_refused("2001:db8::7:80");
    assert_int_equal(address_parse(&address, "::1:8585", &error), ERROR_INPUT);
    assert_says(&error, "brackets");
}

static void a_path_after_unix_is_an_address(void **state)
{
    struct address address;
    struct error error;

    (void)state;
    assert_int_equal(address_parse(&address, "unix:///run/prservd/socket", &error), 0);
    assert_true(address.is_unix);
    assert_string_equal(address.path, "/run/prservd/socket");
    assert_int_equal(address_parse(&address, "unix:///a:1", &error), 0);
    assert_true(address.is_unix);
    assert_string_equal(address.path, "/a:1");
}

static void a_unix_address_needs_an_absolute_path(void **state)
{
    (void)state;
    check_refused("unix://");
    check_refused("unix:///");
    check_refused("unix://socket");
    check_refused("unix://socket:80");
    check_refused("unix:/socket");
}

static void a_unix_path_is_as_long_as_the_system_allows(void **state)
{
    enum { most = sizeof((struct sockaddr_un *)0)->sun_path - 1 };
    char text[sizeof "unix://" + most + 1] = "unix:///";
    struct address address;
    struct error error;

    (void)state;
    memset(text + strlen("unix:///"), 'p', most - 1);
    assert_int_equal(address_parse(&address, text, &error), 0);
    assert_int_equal(strlen(address.path), most);
    text[strlen("unix:///") + most - 1] = 'p';
    assert_int_equal(address_parse(&address, text, &error), ERROR_INPUT);
    assert_says(&error, "at most 107");
}

static void an_address_needs_a_host_and_a_port(void **state)
{
    static const char *const texts[] = {"", ":", ":8585", "localhost", "localhost:", "127.0.0.1",
        "[::1]", "8585", "a:b", "a:80x", "a:-1", "a:+1", "a: 80", "a:80 ", "a:65536", "a:99999",
        "a:100000", "a:4294967297", "a b:80", "a/b:80", "http://a:80", "a,b:80", "a\tb:80"};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        check_refused(texts[i]);
}

static void an_error_shows_the_text(void **state)
{
    struct address address;
    struct error error;

    (void)state;
    assert_int_equal(address_parse(&address, "nonsense", &error), ERROR_INPUT);
    assert_says(&error, "'nonsense'");
    assert_says(&error, "HOST:PORT");
    assert_int_equal(address_parse(&address, "host:70000", &error), ERROR_INPUT);
    assert_says(&error, "70000");
    assert_says(&error, "65535");
}

static void a_host_has_at_most_255_characters(void **state)
{
    char text[ADDRESS_HOST_BYTES + sizeof ":80"] = "";
    struct address address;
    struct error error;

    (void)state;
    memset(text, 'h', ADDRESS_HOST_BYTES - 1);
    memcpy(text + ADDRESS_HOST_BYTES - 1, ":80", sizeof ":80");
    assert_int_equal(address_parse(&address, text, &error), 0);
    assert_int_equal(strlen(address.host), ADDRESS_HOST_BYTES - 1);
    memset(text, 'h', ADDRESS_HOST_BYTES);
    memcpy(text + ADDRESS_HOST_BYTES, ":80", sizeof ":80");
    assert_int_equal(address_parse(&address, text, &error), ERROR_INPUT);
    text[ADDRESS_HOST_BYTES] = '\0';
    assert_int_equal(address_set_host(&address, text, 80, &error), ERROR_INPUT);
}

static void a_host_alone_needs_no_brackets(void **state)
{
    static const char *const pairs[][2] = {
        {"::1", "::1"}, {"[::1]", "::1"}, {"localhost", "localhost"}, {"10.0.0.1", "10.0.0.1"}};
    struct address address;
    struct error error;

    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++) {
        assert_int_equal(address_set_host(&address, pairs[i][0], 8585, &error), 0);
        assert_false(address.is_unix);
        assert_string_equal(address.host, pairs[i][1]);
        assert_int_equal(address.port, 8585);
    }
    assert_int_equal(address_set_host(&address, "", 8585, &error), ERROR_INPUT);
    assert_int_equal(address_set_host(&address, "a b", 8585, &error), ERROR_INPUT);
    assert_says(&error, "'a b'");
}

static void a_port_is_a_number_from_0_to_65535(void **state)
{
    static const char *const wrong[] = {"", " ", "-1", "+1", "0x50", "80 ", " 80", "8 0", "65536",
        "99999", "655350", "http", "1.0"};
    struct error error;
    unsigned port = 7;

    (void)state;
    for (size_t i = 0; i < COUNT(wrong); i++) {
        if (address_parse_port(&port, wrong[i], &error) != ERROR_INPUT)
            fail_msg("'%s' is no port", wrong[i]);
        assert_int_equal(port, 7);
    }
    assert_int_equal(address_parse_port(&port, "0", &error), 0);
    assert_int_equal(port, 0);
    assert_int_equal(address_parse_port(&port, "8585", &error), 0);
    assert_int_equal(port, 8585);
    assert_int_equal(address_parse_port(&port, "65535", &error), 0);
    assert_int_equal(port, 65535);
}

/* ---- writing ---- */

static void an_address_is_written_as_it_is_read(void **state)
{
    static const char *const texts[] = {"localhost:8585", "127.0.0.1:0", "[::1]:65535",
        "[2001:db8::7]:80", "unix:///run/prservd/socket"};
    struct address address;
    struct error error;
    char text[ADDRESS_TEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_int_equal(address_parse(&address, texts[i], &error), 0);
        address_format(&address, text);
        assert_string_equal(text, texts[i]);
    }
}

static void the_address_of_a_socket_is_written_likewise(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(8585)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(65535)};
    struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/run/socket"};
    char text[ADDRESS_TEXT_BYTES];

    (void)state;
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &v4.sin_addr), 1);
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::7", &v6.sin6_addr), 1);
    address_format_socket((const struct sockaddr *)&v4, text);
    assert_string_equal(text, "127.0.0.1:8585");
    address_format_socket((const struct sockaddr *)&v6, text);
    assert_string_equal(text, "[2001:db8::7]:65535");
    address_format_socket((const struct sockaddr *)&local, text);
    assert_string_equal(text, "unix:///run/socket");
    address_format_number((const struct sockaddr *)&v4, text);
    assert_string_equal(text, "127.0.0.1");
    address_format_number((const struct sockaddr *)&v6, text);
    assert_string_equal(text, "2001:db8::7");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_and_a_port_are_an_address),
        cmocka_unit_test(an_ipv4_address_and_a_port_are_an_address),
        cmocka_unit_test(an_ipv6_address_stands_in_brackets),
        cmocka_unit_test(an_ipv6_address_without_brackets_is_refused),
        cmocka_unit_test(a_path_after_unix_is_an_address),
        cmocka_unit_test(a_unix_address_needs_an_absolute_path),
        cmocka_unit_test(a_unix_path_is_as_long_as_the_system_allows),
        cmocka_unit_test(an_address_needs_a_host_and_a_port),
        cmocka_unit_test(an_error_shows_the_text),
        cmocka_unit_test(a_host_has_at_most_255_characters),
        cmocka_unit_test(a_host_alone_needs_no_brackets),
        cmocka_unit_test(a_port_is_a_number_from_0_to_65535),
        cmocka_unit_test(an_address_is_written_as_it_is_read),
        cmocka_unit_test(the_address_of_a_socket_is_written_likewise),
    };

    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}

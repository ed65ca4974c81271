/* SPDX-License-Identifier: MIT */
/* Sets of networks (src/base/networks.h). */
#include "base/networks.h"
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static struct network_address address_of(const char *text)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct network_address address = {.bytes = {0}};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        assert_true(network_address_take(&address, (struct sockaddr *)&v4));
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        assert_true(network_address_take(&address, (struct sockaddr *)&v6));
    else
        fail_msg("%s", text);
    return address;
}

static void add(struct networks *networks, const char *text)
{
    struct error error;

    assert_int_equal(networks_add(networks, text_of(text), &error), 0);
}

static bool contains(const struct networks *networks, const char *text)
{
    const struct network_address address = address_of(text);

    return networks_contain(networks, &address);
}

static void an_empty_set_contains_nothing(void **state)
{
    struct networks networks = {.n = 0};

    (void)state;
    networks_finish(&networks);
    assert_false(contains(&networks, "127.0.0.1"));
    assert_false(contains(&networks, "::"));
}

static void a_network_ends_at_its_bounds(void **state)
{
    struct networks networks = {.n = 0};

    (void)state;
    add(&networks, "10.1.2.128/25");
    add(&networks, "fd00:0:0:1::/64");
    networks_finish(&networks);
    assert_false(contains(&networks, "10.1.2.127"));
    assert_true(contains(&networks, "10.1.2.128"));
    assert_true(contains(&networks, "10.1.2.255"));
    assert_false(contains(&networks, "10.1.3.0"));
    assert_false(contains(&networks, "fd00::ffff:ffff:ffff:ffff"));
    assert_true(contains(&networks, "fd00:0:0:1::"));
    assert_true(contains(&networks, "fd00:0:0:1:ffff:ffff:ffff:ffff"));
    assert_false(contains(&networks, "fd00:0:0:2::"));
    networks_free(&networks);
}

static void networks_that_overlap_are_one(void **state)
{
    static const char *const all[] = {
        "10.0.0.7", "10.0.0.0/8", "10.0.0.0/24", "10.255.255.255", "9.0.0.0/8", "10.0.0.0/8"};
    struct networks networks = {.n = 0};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        add(&networks, all[i]);
    networks_finish(&networks);
    assert_int_equal(networks.n, 2);
    assert_true(contains(&networks, "9.0.0.0") && contains(&networks, "10.255.255.255"));
    assert_false(contains(&networks, "8.255.255.255") || contains(&networks, "11.0.0.0"));
    networks_free(&networks);
}

static void ipv4_and_ipv6_are_apart(void **state)
{
    struct networks v4 = {.n = 0};
    struct networks v6 = {.n = 0};

    (void)state;
    add(&v4, "0.0.0.0/0");
    add(&v6, "::/0");
    networks_finish(&v4);
    networks_finish(&v6);
    assert_true(contains(&v4, "255.255.255.255") && contains(&v4, "::ffff:1.2.3.4"));
    assert_false(contains(&v4, "::1"));
    assert_true(contains(&v6, "::") && contains(&v6, "ffff::"));
    assert_false(contains(&v6, "1.2.3.4") || contains(&v6, "::ffff:1.2.3.4"));
    networks_free(&v4);
    networks_free(&v6);
}

static void ipv4_in_ipv6_has_the_prefix_of_ipv6(void **state)
{
    struct networks networks = {.n = 0};

    (void)state;
    add(&networks, "::ffff:10.0.0.0/104");
    add(&networks, "::ffff:192.0.2.7");
    networks_finish(&networks);
    assert_true(contains(&networks, "10.9.9.9") && contains(&networks, "192.0.2.7"));
    assert_false(contains(&networks, "11.0.0.0") || contains(&networks, "192.0.2.6"));
    networks_free(&networks);
}

static void many_networks_are_found(void **state)
{
    struct networks networks = {.n = 0};
    char text[40];

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(text, sizeof text, "10.%u.%u.0/25", i * 7 % 1000 / 250, i * 7 % 250);
        add(&networks, text);
    }
    networks_finish(&networks);
    assert_int_equal(networks.n, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(text, sizeof text, "10.%u.%u.9", i / 250, i % 250);
        assert_true(contains(&networks, text));
        (void)snprintf(text, sizeof text, "10.%u.%u.128", i / 250, i % 250);
        assert_false(contains(&networks, text));
    }
    networks_free(&networks);
}

static void a_unix_socket_has_no_network(void **state)
{
    const struct sockaddr name = {.sa_family = AF_UNIX};
    struct network_address address;

    (void)state;
    assert_false(network_address_take(&address, &name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_set_contains_nothing),
        cmocka_unit_test(a_network_ends_at_its_bounds),
        cmocka_unit_test(networks_that_overlap_are_one),
        cmocka_unit_test(ipv4_and_ipv6_are_apart),
        cmocka_unit_test(ipv4_in_ipv6_has_the_prefix_of_ipv6),
        cmocka_unit_test(many_networks_are_found),
        cmocka_unit_test(a_unix_socket_has_no_network),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* HTTP connections that have to have an answer in time. */
#include "http/peers.h"

#include "base/clock.h"
#include "unit.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Returns whether the other end of a socket sees the end. */
static bool has_ended(int descriptor)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLIN};
    char byte;

    return poll(&ready, 1, 0) == 1 && recv(descriptor, &byte, 1, MSG_DONTWAIT) == 0;
}

static void a_late_connection_is_shut(void **state)
{
    struct peers peers;
    struct peer *peer;
    int ends[2];

    (void)state;
    peers_init(&peers);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer = peers_add(&peers, ends[0]);
    assert_non_null(peer);
    peers_end_late(&peers, clock_ms());
    assert_false(has_ended(ends[1]));
    peers_end_late(&peers, clock_ms() + PEERS_ANSWER_MS);
    assert_true(has_ended(ends[1]));
    peers_remove(&peers, peer);
    peers_deinit(&peers);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* The time may have been taken before the connection was opened, by another thread. */
static void a_connection_that_is_younger_than_the_time_is_kept(void **state)
{
    struct peers peers;
    struct peer *peer;
    int ends[2];

    (void)state;
    peers_init(&peers);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer = peers_add(&peers, ends[0]);
    assert_non_null(peer);
    peers_end_late(&peers, peer->since_ms - 1);
    assert_false(has_ended(ends[1]));
    peers_remove(&peers, peer);
    peers_deinit(&peers);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_connection_is_shut),
        cmocka_unit_test(a_connection_that_is_younger_than_the_time_is_kept),
    };

    return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}

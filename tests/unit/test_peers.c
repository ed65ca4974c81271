/* SPDX-License-Identifier: MIT */
/* HTTP connections that have to have an answer in time. */
#include "http/peers.h"

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

static struct {
    struct peers peers;
    struct peer *peer;
    int ends[2]; /* of its connection: the server's and the client's */
} rig;

static int set_up(void **state)
{
    (void)state;
    peers_init(&rig.peers);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, rig.ends), 0);
    rig.peer = peers_add(&rig.peers, rig.ends[0]);
    assert_non_null(rig.peer);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    peers_remove(&rig.peers, rig.peer);
    peers_deinit(&rig.peers);
    (void)close(rig.ends[0]);
    (void)close(rig.ends[1]);
    return 0;
}

static void a_late_connection_is_shut(void **state)
{
    (void)state;
    peers_end_late(&rig.peers, rig.peer->since_ms + PEERS_ANSWER_MS - 1);
    assert_false(has_ended(rig.ends[1]));
    peers_end_late(&rig.peers, rig.peer->since_ms + PEERS_ANSWER_MS);
    assert_true(has_ended(rig.ends[1]));
}

/* Another thread may have taken the time before the connection was opened. */
static void a_connection_that_is_younger_than_the_time_is_kept(void **state)
{
    (void)state;
    peers_end_late(&rig.peers, rig.peer->since_ms - 1);
    assert_false(has_ended(rig.ends[1]));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_late_connection_is_shut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_connection_that_is_younger_than_the_time_is_kept, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}

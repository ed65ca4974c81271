/* SPDX-License-Identifier: MIT */
/* A client's socket on the loop (src/server/transport.h). */
#include "base/clock.h"
#include "server/transport.h"
#include "unit.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALL_MS 60000
#define DEADLINE_S 60
#define MUCH_BYTES ((size_t)4 * 1024 * 1024) /* more than the kernel takes of its own */

struct fixture {
    uv_loop_t loop;
    struct transport transport;
    int client;
    char input[1000];
    char received[1000];
    size_t n_received;
    unsigned ended, failed, written, closed;
};

static void received(void *context, const char *bytes, size_t length)
{
    struct fixture *fixture = context;

    assert_true(fixture->n_received + length <= sizeof fixture->received);
    memcpy(fixture->received + fixture->n_received, bytes, length);
    fixture->n_received += length;
}

static void ended(void *context)
{
    ((struct fixture *)context)->ended++;
}

static void failed(void *context, const char *reason)
{
    assert_non_null(reason);
    ((struct fixture *)context)->failed++;
}

static void written(void *context)
{
    ((struct fixture *)context)->written++;
}

static void closed(void *context)
{
    ((struct fixture *)context)->closed++;
}

static const struct transport_events events = {.received = received,
    .input_ended = ended,
    .failed = failed,
    .written = written,
    .closed = closed};

static int set_up(void **state)
{
    static struct fixture fixture;
    int ends[2];

    memset(&fixture, 0, sizeof fixture);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(DEADLINE_S); /* if an event does not come */
    assert_int_equal(uv_loop_init(&fixture.loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    fixture.client = ends[0];
    assert_int_equal(transport_open(&fixture.transport, &fixture.loop, ends[1],
                         uv_buf_init(fixture.input, sizeof fixture.input), &events, &fixture),
        0);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    transport_close(&fixture->transport);
    (void)uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(fixture->closed, 1);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    (void)close(fixture->client);
    return 0;
}

static void send_from_client(const struct fixture *fixture, const char *text)
{
    assert_int_equal(write(fixture->client, text, strlen(text)), strlen(text));
}

static void assert_received(const struct fixture *fixture, const char *text)
{
    assert_text_is(
        ((struct text){.bytes = fixture->received, .length = fixture->n_received}), text);
}

static void write_much(struct fixture *fixture)
{
    static const char piece[1024] = "";

    for (size_t length = 0; length < MUCH_BYTES; length += sizeof piece)
        buffer_append(&fixture->transport.out, piece, sizeof piece);
    assert_int_equal(transport_write(&fixture->transport), 0);
    assert_true(fixture->transport.is_writing);
}

static bool is_stalled(struct fixture *fixture, uint64_t now_ms)
{
    return transport_measure_stall(&fixture->transport, now_ms) >= STALL_MS;
}

/* Reads once at the client; returns how many bytes there were. */
static size_t take(const struct fixture *fixture)
{
    static char bytes[64 * 1024];
    ssize_t length = read(fixture->client, bytes, sizeof bytes);

    return length > 0 ? (size_t)length : 0;
}

/* Reads all that is written at the client; returns how many bytes there were. */
static size_t take_all(struct fixture *fixture)
{
    size_t taken = 0;

    while (fixture->transport.is_writing) {
        taken += take(fixture);
        (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
    for (size_t more = 1; more > 0; taken += more)
        more = take(fixture);
    return taken;
}

static void bytes_are_passed_on_while_it_reads(void **state)
{
    struct fixture *fixture = *state;

    send_from_client(fixture, "one");
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_received(fixture, "");
    transport_set_reading(&fixture->transport, true);
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_received(fixture, "one");
    transport_set_reading(&fixture->transport, false);
    send_from_client(fixture, "two");
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_received(fixture, "one");
}

static void what_the_kernel_holds_can_be_read_now(void **state)
{
    struct fixture *fixture = *state;

    assert_false(transport_read_now(&fixture->transport));
    send_from_client(fixture, "one");
    assert_true(transport_read_now(&fixture->transport));
    assert_received(fixture, "one");
    assert_int_equal(shutdown(fixture->client, SHUT_WR), 0);
    assert_false(transport_read_now(&fixture->transport));
    assert_false(transport_read_now(&fixture->transport));
    assert_int_equal(fixture->ended, 1);
    assert_int_equal(fixture->failed, 0);
}

static void what_the_kernel_takes_is_written_at_once(void **state)
{
    struct fixture *fixture = *state;

    buffer_append_string(&fixture->transport.out, "answer");
    assert_int_equal(transport_write(&fixture->transport), 0);
    assert_false(fixture->transport.is_writing);
    assert_int_equal(fixture->transport.out.length, 0);
    assert_int_equal(take(fixture), strlen("answer"));
    assert_int_equal(fixture->written, 0);
}

static void the_rest_is_written_as_the_client_reads_it(void **state)
{
    struct fixture *fixture = *state;

    write_much(fixture);
    assert_int_equal(take_all(fixture), MUCH_BYTES);
    assert_int_equal(fixture->written, 1);
    assert_false(fixture->transport.is_writing);
    assert_int_equal(fixture->transport.out.length, 0);
}

static void a_client_that_reads_nothing_is_stalled(void **state)
{
    struct fixture *fixture = *state;
    uint64_t now = clock_ms();

    assert_false(is_stalled(fixture, now + 2 * STALL_MS));
    write_much(fixture);
    assert_false(is_stalled(fixture, now));
    now = clock_ms();
    assert_true(is_stalled(fixture, now + STALL_MS));
}

static void each_write_has_its_own_time(void **state)
{
    struct fixture *fixture = *state;

    write_much(fixture);
    assert_false(is_stalled(fixture, clock_ms() - STALL_MS));
    (void)take_all(fixture);
    write_much(fixture); /* the kernel leaves as much of it as of the first */
    assert_false(is_stalled(fixture, clock_ms()));
}

static void a_client_that_has_shut_its_side_can_be_stalled_as_well(void **state)
{
    struct fixture *fixture = *state;

    write_much(fixture);
    transport_set_reading(&fixture->transport, true);
    assert_false(is_stalled(fixture, clock_ms()));
    assert_int_equal(shutdown(fixture->client, SHUT_WR), 0);
    (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture->ended, 1);
    assert_true(is_stalled(fixture, clock_ms() + STALL_MS));
}

static void a_client_that_reads_slowly_is_not_stalled(void **state)
{
    struct fixture *fixture = *state;
    uint64_t now = clock_ms();

    write_much(fixture);
    for (int second = 0; second < 10; second++) {
        size_t before = uv_stream_get_write_queue_size(&fixture->transport.uv.stream);

        assert_false(is_stalled(fixture, now));
        while (uv_stream_get_write_queue_size(&fixture->transport.uv.stream) == before) {
            (void)take(fixture);
            (void)uv_run(&fixture->loop, UV_RUN_NOWAIT);
        }
        now += STALL_MS;
    }
}

static void a_client_that_is_gone_breaks_the_write(void **state)
{
    struct fixture *fixture = *state;

    write_much(fixture);
    (void)close(fixture->client);
    fixture->client = -1;
    while (fixture->failed == 0)
        (void)uv_run(&fixture->loop, UV_RUN_ONCE);
    assert_int_equal(fixture->written, 0);
}

static void after_closing_only_closed_is_called(void **state)
{
    struct fixture *fixture = *state;

    write_much(fixture);
    transport_set_reading(&fixture->transport, true);
    send_from_client(fixture, "one");
    transport_close(&fixture->transport);
    (void)uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(fixture->closed, 1);
    assert_int_equal(fixture->written + fixture->failed + fixture->ended, 0);
    assert_received(fixture, "");
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    (void)close(fixture->client);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_are_passed_on_while_it_reads),
        TEST(what_the_kernel_holds_can_be_read_now),
        TEST(what_the_kernel_takes_is_written_at_once),
        TEST(the_rest_is_written_as_the_client_reads_it),
        TEST(a_client_that_reads_nothing_is_stalled),
        TEST(each_write_has_its_own_time),
        TEST(a_client_that_has_shut_its_side_can_be_stalled_as_well),
        TEST(a_client_that_reads_slowly_is_not_stalled),
        TEST(a_client_that_is_gone_breaks_the_write),
        cmocka_unit_test_setup(after_closing_only_closed_is_called, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

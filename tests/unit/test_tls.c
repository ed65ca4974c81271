/* SPDX-License-Identifier: MIT */
/* Sessions of TLS (src/tls/tls.h): what goes through them, what ends them, and what continues an
 * earlier one. */
#include "tls_fixture.h"

#define LONG_BYTES ((size_t)200 * 1024)
#define LONGEST_HANDSHAKE ((size_t)128 * 1024)
#define LONGEST_HELLO ((size_t)32 * 1024)
#define KEPT_BYTES ((size_t)4 * 1024) /* by a session that has nothing to do */
#define SAVED_BYTES 500               /* a certificate and its signature, at least */

/* A record of a handshake that the other side does not finish. */
#define RECORD_BYTES ((size_t)16 * 1024)
#define RECORD_HEAD "\x16\x03\x01\x40\x00"
#define HEAD_BYTES 9                  /* of both */
#define HELLO_HEAD "\x01\x00\x80\x00" /* of 32 KiB */

/* ---- data ---- */

static void data_goes_both_ways(void **state)
{
    struct fixture *fixture = *state;

    connect_to(fixture, "localhost");
    say(fixture, CLIENT, TEXT("question"));
    assert_hears(fixture, SERVER, TEXT("question"));
    say(fixture, SERVER, TEXT("answer"));
    say(fixture, SERVER, TEXT(" and more"));
    assert_hears(fixture, CLIENT, TEXT("answer and more"));
}

static void bytes_may_arrive_one_at_a_time(void **state)
{
    struct fixture *fixture = *state;

    fixture->piece = 1;
    connect_to(fixture, "localhost");
    say(fixture, CLIENT, TEXT("question"));
    assert_hears(fixture, SERVER, TEXT("question"));
    say(fixture, SERVER, TEXT("answer"));
    assert_hears(fixture, CLIENT, TEXT("answer"));
}

static void a_record_can_be_read_only_when_it_is_complete(void **state)
{
    struct fixture *fixture = *state;
    struct buffer sealed = BUFFER_EMPTY;
    struct error error;

    connect_to(fixture, "localhost");
    assert_int_equal(tls_write(fixture->ends[CLIENT].session, TEXT("question"), &error), TLS_OK);
    tls_take_output(fixture->ends[CLIENT].session, &sealed);
    for (size_t i = 0; i < sealed.length; i++) {
        assert_hears(fixture, SERVER, TEXT(""));
        give(fixture, SERVER, (struct text){sealed.bytes + i, 1});
    }
    assert_hears(fixture, SERVER, TEXT("question"));
    buffer_free(&sealed);
}

/* Appends digits in an order that does not repeat soon. */
static void fill(struct buffer *text, size_t length, unsigned seed)
{
    while (text->length < length) {
        seed = seed * 1664525u + 1013904223u;
        buffer_append(text, &"0123456789abcdef"[seed >> 28], 1);
    }
    assert_false(buffer_failed(text));
}

static void long_texts_go_both_ways(void **state)
{
    struct fixture *fixture = *state;

    fixture->piece = 10007;
    connect_to(fixture, "localhost");
    for (unsigned side = CLIENT; side <= SERVER; side++) {
        struct buffer text = BUFFER_EMPTY;

        fill(&text, LONG_BYTES, side);
        say(fixture, side, buffer_text(&text));
        assert_hears(fixture, side == CLIENT ? SERVER : CLIENT, buffer_text(&text));
        buffer_free(&text);
    }
}

static void what_comes_with_the_end_of_the_handshake_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct end *client = &fixture->ends[CLIENT];

    begin(fixture, "localhost");
    client->result = tls_negotiate(client->session, &client->error);
    (void)pass_on(fixture, CLIENT);
    (void)pass_on(fixture, SERVER);
    assert_int_equal(client->result, TLS_OK);
    assert_int_equal(fixture->ends[SERVER].result, TLS_MORE);
    say(fixture, CLIENT, TEXT("question"));
    assert_int_equal(fixture->ends[SERVER].result, TLS_OK);
    assert_hears(fixture, SERVER, TEXT("question"));
}

static void bytes_that_are_not_read_are_counted(void **state)
{
    struct fixture *fixture = *state;
    struct buffer text = BUFFER_EMPTY;
    struct buffer received = BUFFER_EMPTY;

    connect_to(fixture, "localhost");
    assert_true(tls_held_bytes(fixture->ends[SERVER].session) < KEPT_BYTES);
    fill(&text, LONG_BYTES, 0);
    say(fixture, CLIENT, buffer_text(&text));
    assert_true(tls_held_bytes(fixture->ends[SERVER].session) > LONG_BYTES);
    assert_true(tls_held_bytes(fixture->ends[CLIENT].session) < KEPT_BYTES);
    hear(fixture, SERVER, &received);
    assert_int_equal(received.length, LONG_BYTES);
    assert_true(tls_held_bytes(fixture->ends[SERVER].session) < KEPT_BYTES);
    buffer_free(&text);
    buffer_free(&received);
}

/* ---- what is not TLS ---- */

static void plain_text_is_not_tls(void **state)
{
    struct fixture *fixture = *state;

    begin(fixture, "localhost");
    give(fixture, SERVER, TEXT("PRSERVICE 1.0\n\n"));
    assert_int_equal(fixture->ends[SERVER].result, TLS_PLAIN);
    negotiate(fixture);
    assert_int_equal(fixture->ends[CLIENT].result, TLS_MORE);
    give(fixture, CLIENT, TEXT("{\"error\": \"no\"}\n"));
    assert_int_equal(fixture->ends[CLIENT].result, TLS_PLAIN);
}

static void a_record_of_garbage_ends_the_handshake(void **state)
{
    struct fixture *fixture = *state;

    for (unsigned side = CLIENT; side <= SERVER; side++) {
        begin(fixture, "localhost");
        give(fixture, side, TEXT("\x16\x03\x01\x00\x08garbage!"));
        assert_refuses(fixture, side, "");
        assert_string_not_equal(fixture->ends[side].error.text, "");
    }
}

static void a_record_of_garbage_ends_the_session(void **state)
{
    struct fixture *fixture = *state;
    struct buffer text = BUFFER_EMPTY;

    for (unsigned side = CLIENT; side <= SERVER; side++) {
        connect_to(fixture, "localhost");
        say(fixture, side == CLIENT ? SERVER : CLIENT, TEXT("good"));
        assert_hears(fixture, side, TEXT("good"));
        give(fixture, side, TEXT("\x17\x03\x03\x00\x20garbage garbage garbage garbage."));
        hear(fixture, side, &text);
        assert_refuses(fixture, side, "");
        assert_string_not_equal(fixture->ends[side].error.text, "");
        assert_int_equal(text.length, 0);
    }
}

static void a_record_that_was_changed_on_the_way_ends_the_session(void **state)
{
    struct fixture *fixture = *state;
    struct buffer sealed = BUFFER_EMPTY;
    struct buffer text = BUFFER_EMPTY;
    struct error error;

    connect_to(fixture, "localhost");
    assert_int_equal(tls_write(fixture->ends[CLIENT].session, TEXT("question"), &error), TLS_OK);
    tls_take_output(fixture->ends[CLIENT].session, &sealed);
    sealed.bytes[sealed.length - 1] ^= 1;
    give(fixture, SERVER, buffer_text(&sealed));
    hear(fixture, SERVER, &text);
    assert_refuses(fixture, SERVER, "what it sends can't be decrypted");
    assert_int_equal(text.length, 0);
    assert_true(pass_on(fixture, SERVER) > 0); /* the client learns it */
    hear(fixture, CLIENT, &text);
    assert_refuses(fixture, CLIENT, "bad record mac");
    buffer_free(&sealed);
}

/* Begins a handshake that goes on for length bytes. */
static void write_handshake(struct buffer *bytes, size_t length)
{
    char record[RECORD_BYTES] = {0};

    while (bytes->length < length) {
        const bool is_first = bytes->length == 0;

        buffer_append_text(bytes, TEXT(RECORD_HEAD));
        if (is_first)
            buffer_append_text(bytes, TEXT(HELLO_HEAD));
        buffer_append(
            bytes, record, is_first ? sizeof record - TEXT(HELLO_HEAD).length : sizeof record);
    }
    assert_false(buffer_failed(bytes));
}

static void a_handshake_of_more_than_128_kib_fails(void **state)
{
    struct fixture *fixture = *state;
    struct buffer bytes = BUFFER_EMPTY;

    write_handshake(&bytes, LONGEST_HANDSHAKE + RECORD_BYTES);
    begin(fixture, "localhost");
    give(fixture, SERVER, buffer_text(&bytes));
    assert_refuses(fixture, SERVER, "its handshake is too long");
    buffer_free(&bytes);
}

static void a_handshake_is_awaited_in_little_memory(void **state)
{
    struct fixture *fixture = *state;
    static const size_t pieces[] = {0, 1, 1000};
    struct buffer bytes = BUFFER_EMPTY;

    write_handshake(&bytes, LONGEST_HELLO);
    for (size_t i = 0; i < COUNT(pieces); i++) {
        fixture->piece = pieces[i];
        begin(fixture, "localhost");
        give(fixture, SERVER, (struct text){bytes.bytes, LONGEST_HELLO});
        assert_int_equal(fixture->ends[SERVER].result, TLS_MORE);
        assert_true(tls_held_bytes(fixture->ends[SERVER].session) < KEPT_BYTES);
    }
    buffer_free(&bytes);
}

/* The library would get memory for all of it. */
static void a_first_message_that_announces_too_much_is_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const heads[] = {
        "\x16\x03\x01\x40\x00\x01\x00\x80\x01", "\x16\x03\x01\x40\x00\x01\xff\xff\xff",
        "\x16\x03\x01\x00\x01\x01\x16\x03\x01", /* a record of one byte */
    };
    static const size_t pieces[] = {0, 1};

    for (size_t i = 0; i < COUNT(heads) * COUNT(pieces); i++) {
        fixture->piece = pieces[i % COUNT(pieces)];
        begin(fixture, "localhost");
        give(fixture, SERVER, (struct text){heads[i / COUNT(pieces)], HEAD_BYTES});
        assert_refuses(fixture, SERVER, "its handshake is too long");
    }
}

/* ---- the end ---- */

static void the_other_side_learns_of_the_end(void **state)
{
    struct fixture *fixture = *state;
    struct buffer text = BUFFER_EMPTY;

    for (unsigned side = CLIENT; side <= SERVER; side++) {
        const enum side other = side == CLIENT ? SERVER : CLIENT;

        connect_to(fixture, "localhost");
        buffer_reset(&text, 0);
        say(fixture, side, TEXT("last words"));
        tls_shut(fixture->ends[side].session);
        assert_true(pass_on(fixture, side) > 0);
        hear(fixture, other, &text);
        assert_text_is(buffer_text(&text), "last words");
        assert_int_equal(fixture->ends[other].result, TLS_ENDED);
        /* It may go on itself. */
        say(fixture, other, TEXT("answer"));
        assert_hears(fixture, side, TEXT("answer"));
    }
    buffer_free(&text);
}

static void an_end_before_the_handshake_says_nothing(void **state)
{
    struct fixture *fixture = *state;

    begin(fixture, "localhost");
    tls_shut(fixture->ends[CLIENT].session);
    tls_shut(fixture->ends[SERVER].session);
    assert_int_equal(pass_on(fixture, CLIENT) + pass_on(fixture, SERVER), 0);
}

static void a_context_may_be_freed_before_its_sessions(void **state)
{
    struct fixture *fixture = *state;

    begin(fixture, "localhost");
    for (unsigned side = CLIENT; side <= SERVER; side++) {
        tls_context_close(fixture->ends[side].context);
        fixture->ends[side].context = NULL;
    }
    negotiate(fixture);
    say(fixture, CLIENT, TEXT("question"));
    assert_hears(fixture, SERVER, TEXT("question"));
    say(fixture, SERVER, TEXT("answer"));
    assert_hears(fixture, CLIENT, TEXT("answer"));
}

/* ---- the next session ---- */

/* Connects, and returns how many bytes the server needed for it. */
static size_t count_bytes_of_server(struct fixture *fixture)
{
    connect_to(fixture, "localhost");
    assert_hears(fixture, CLIENT, TEXT("")); /* reads the server's tickets */
    tls_shut(fixture->ends[CLIENT].session);
    return fixture->ends[SERVER].n_sent;
}

static void a_client_continues_its_last_session(void **state)
{
    struct fixture *fixture = *state;
    const size_t n_first = count_bytes_of_server(fixture);

    for (int i = 0; i < 3; i++) {
        assert_true(count_bytes_of_server(fixture) + SAVED_BYTES < n_first);
        say(fixture, SERVER, TEXT("answer"));
        assert_hears(fixture, CLIENT, TEXT("answer"));
    }
    use(fixture, CLIENT, NULL, "ca.pem"); /* has no session */
    assert_true(count_bytes_of_server(fixture) + SAVED_BYTES > n_first);
}

static void a_session_without_an_end_can_be_continued(void **state)
{
    struct fixture *fixture = *state;
    size_t n_first;

    connect_to(fixture, "localhost");
    assert_hears(fixture, CLIENT, TEXT(""));
    n_first = fixture->ends[SERVER].n_sent;
    connect_to(fixture, "localhost"); /* the first session is closed, not shut */
    assert_true(fixture->ends[SERVER].n_sent + SAVED_BYTES < n_first);
}

static void a_server_that_can_not_continue_a_session_begins_a_new_one(void **state)
{
    struct fixture *fixture = *state;
    const size_t n_first = count_bytes_of_server(fixture);

    use(fixture, SERVER, "server", NULL);
    assert_true(count_bytes_of_server(fixture) + SAVED_BYTES > n_first);
    assert_true(count_bytes_of_server(fixture) + SAVED_BYTES < n_first);
}

static void a_client_keeps_its_subject_in_the_next_session(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes farm = {.name = TEXT("farm-7")};
    size_t n_first = 0;

    issue(fixture, NULL, "farm", &farm);
    use_client_certificate(fixture, "farm");
    for (int i = 0; i < 2; i++) {
        const size_t n = count_bytes_of_server(fixture);
        char subject[80];

        if (i == 0)
            n_first = n;
        else
            assert_true(n + SAVED_BYTES < n_first);
        tls_describe_peer(fixture->ends[SERVER].session, subject, sizeof subject);
        assert_string_equal(subject, "CN=farm-7");
        tls_describe_peer(fixture->ends[CLIENT].session, subject, sizeof subject);
        assert_string_equal(subject, "CN=server");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(data_goes_both_ways),
        TEST(bytes_may_arrive_one_at_a_time),
        TEST(a_record_can_be_read_only_when_it_is_complete),
        TEST(long_texts_go_both_ways),
        TEST(what_comes_with_the_end_of_the_handshake_is_kept),
        TEST(bytes_that_are_not_read_are_counted),
        TEST(plain_text_is_not_tls),
        TEST(a_record_of_garbage_ends_the_handshake),
        TEST(a_record_of_garbage_ends_the_session),
        TEST(a_record_that_was_changed_on_the_way_ends_the_session),
        TEST(a_handshake_of_more_than_128_kib_fails),
        TEST(a_handshake_is_awaited_in_little_memory),
        TEST(a_first_message_that_announces_too_much_is_refused),
        TEST(the_other_side_learns_of_the_end),
        TEST(an_end_before_the_handshake_says_nothing),
        TEST(a_context_may_be_freed_before_its_sessions),
        TEST(a_client_continues_its_last_session),
        TEST(a_session_without_an_end_can_be_continued),
        TEST(a_server_that_can_not_continue_a_session_begins_a_new_one),
        TEST(a_client_keeps_its_subject_in_the_next_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

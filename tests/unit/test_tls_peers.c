/* SPDX-License-Identifier: MIT */
/* Whom a session of TLS (src/tls/tls.h) talks to: which certificates are accepted, and how the
 * other side's is described. */
#include "tls_fixture.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

#define LONGEST_HOST 255
#define SUBJECT_BYTES 256
#define LIFE_S 2 /* of a certificate */
#define PAUSE_US 50000
#define DEADLINE_MS 10000

/* Makes room for another certificate of this name. */
static void remove_issued(const struct fixture *fixture)
{
    char name[FILE_BYTES];

    (void)remove(file_in(fixture, "issued.pem", name));
    (void)remove(file_in(fixture, "issued.key", name));
}

/* ---- the server's certificate ---- */

/* Connects to a host, which its certificate is not good for. Both sides learn it. */
static void assert_refuses_host(struct fixture *fixture, const char *host, const char *why)
{
    begin(fixture, host);
    negotiate(fixture);
    assert_refuses(fixture, CLIENT, why);
    assert_refuses(fixture, SERVER, "certificate");
}

static void a_certificate_is_for_its_names_and_addresses(void **state)
{
    static const char *const hosts[] = {"localhost", "LocalHost", "127.0.0.1", "::1", "0:0:0::1"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT(hosts); i++) {
        use(fixture, CLIENT, NULL, "ca.pem"); /* which has no session to continue */
        connect_to(fixture, hosts[i]);
    }
}

static void a_certificate_for_another_host_is_refused(void **state)
{
    static const char *const hosts[] = {
        "localhost.example.com", "local", "server", "127.0.0.2", "::2", "127.0.0.1.example.com"};
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT(hosts); i++) {
        char why[80];

        (void)snprintf(why, sizeof why, "its certificate is not for %s", hosts[i]);
        assert_refuses_host(fixture, hosts[i], why);
    }
}

static void a_number_in_a_name_is_not_an_address(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {
        .name = TEXT("127.0.0.1"), .hosts = "DNS:127.0.0.1,DNS:*.example.com"};

    issue(fixture, NULL, "number", &wishes);
    use(fixture, SERVER, "number", NULL);
    assert_refuses_host(fixture, "127.0.0.1", "its certificate is not for 127.0.0.1");
}

static void an_asterisk_stands_for_one_label(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {
        .name = TEXT("many"), .hosts = "DNS:*.example.com,DNS:pr*.example.org"};

    issue(fixture, NULL, "many", &wishes);
    use(fixture, SERVER, "many", NULL);
    assert_refuses_host(fixture, "example.com", "is not for example.com");
    assert_refuses_host(fixture, "a.pr.example.com", "is not for a.pr.example.com");
    assert_refuses_host(fixture, "pr7.example.org", "is not for pr7.example.org");
    connect_to(fixture, "pr.example.com");
    connect_to(fixture, "pr.example.com."); /* a name that is known to be complete */
}

static void a_host_in_the_subject_alone_does_not_count(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {.name = TEXT("pr.example.com")};

    issue(fixture, NULL, "old", &wishes);
    use(fixture, SERVER, "old", NULL);
    assert_refuses_host(fixture, "pr.example.com", "its certificate is not for pr.example.com");
}

static void a_host_that_can_not_be_a_name_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char host[LONGEST_HOST + 2];
    struct tls_session *session;
    struct error error;

    assert_int_equal(tls_open(&session, fixture->ends[CLIENT].context, "", &error), ERROR_INPUT);
    assert_null(session);
    assert_int_equal(
        tls_open(&session, fixture->ends[CLIENT].context, ".example.com", &error), ERROR_INPUT);
    assert_says(&error, "'.example.com' is not the name of a host");
    memset(host, 'a', sizeof host);
    host[LONGEST_HOST + 1] = '\0';
    assert_int_equal(tls_open(&session, fixture->ends[CLIENT].context, host, &error), ERROR_INPUT);
    assert_says(&error, "is too long for the name of a host");
    host[LONGEST_HOST] = '\0';
    assert_int_equal(tls_open(&session, fixture->ends[CLIENT].context, host, &error), 0);
    tls_close(session);
}

static void a_session_is_not_continued_with_another_host(void **state)
{
    struct fixture *fixture = *state;

    connect_to(fixture, "localhost");
    assert_hears(fixture, CLIENT, TEXT("")); /* reads the server's tickets */
    tls_shut(fixture->ends[CLIENT].session);
    assert_refuses_host(fixture, "other.example.com", "is not for other.example.com");
    connect_to(fixture, "localhost");
    assert_hears(fixture, CLIENT, TEXT(""));
    tls_shut(fixture->ends[CLIENT].session);
    assert_refuses_host(fixture, "127.0.0.2", "is not for 127.0.0.2");
}

/* Does a client's first message have this in it? */
static bool is_said(struct fixture *fixture, const char *host)
{
    struct end *client = &fixture->ends[CLIENT];
    struct buffer bytes = BUFFER_EMPTY;
    bool is_there;

    begin(fixture, host);
    assert_int_equal(tls_negotiate(client->session, &client->error), TLS_MORE);
    tls_take_output(client->session, &bytes);
    is_there = memmem(bytes.bytes, bytes.length, host, strlen(host)) != NULL;
    buffer_free(&bytes);
    return is_there;
}

static void a_server_is_told_its_name_but_not_its_address(void **state)
{
    assert_true(is_said(*state, "localhost"));
    assert_false(is_said(*state, "127.0.0.1"));
    assert_false(is_said(*state, "::1"));
}

/* Connects to a server with a certificate of another CA. */
static void assert_refuses_ca(
    struct fixture *fixture, const struct certificate_wishes *ca, const char *why, const char *told)
{
    const struct certificate_wishes server = {.name = TEXT("server"), .hosts = "DNS:localhost"};
    struct certificate stranger;

    certificate_create(&stranger, NULL, ca);
    remove_issued(fixture);
    issue(fixture, &stranger, "issued", &server);
    certificate_free(&stranger);
    use(fixture, SERVER, "issued", NULL);
    begin(fixture, "localhost");
    negotiate(fixture);
    assert_refuses(fixture, CLIENT, why);
    assert_refuses(fixture, SERVER, told);
}

static void a_certificate_of_an_unknown_ca_is_refused(void **state)
{
    const struct certificate_wishes other = {.name = TEXT("Other CA")};
    const struct certificate_wishes same = {.name = TEXT("Test CA")}; /* as the known one */

    assert_refuses_ca(*state, &other, "its certificate is not of a known CA",
        "it does not trust the CA of our certificate");
    assert_refuses_ca(
        *state, &same, "its certificate was signed by another CA with the same name", "");
}

static void a_certificate_without_a_ca_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {.name = TEXT("alone"), .hosts = "DNS:localhost"};
    struct certificate alone;
    char name[FILE_BYTES];

    certificate_create(&alone, NULL, &wishes);
    certificate_write(&alone, file_in(fixture, "alone.pem", name));
    certificate_write_key(&alone, file_in(fixture, "alone.key", name), NULL);
    certificate_free(&alone);
    use(fixture, SERVER, "alone", NULL);
    begin(fixture, "localhost");
    negotiate(fixture);
    assert_refuses(
        fixture, CLIENT, "its certificate is self-signed, and not in the file of --tls-ca");
    assert_refuses(fixture, SERVER, "it does not trust the CA of our certificate");
    use(fixture, CLIENT, NULL, "alone.pem");
    connect_to(fixture, "localhost");
}

static void a_certificate_is_refused_before_and_after_its_days(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes past = {
        .hosts = "DNS:localhost", .first_day = -9, .last_day = -1};
    const struct certificate_wishes future = {
        .hosts = "DNS:localhost", .first_day = 1, .last_day = 9};

    issue(fixture, NULL, "past", &past);
    use(fixture, SERVER, "past", NULL);
    begin(fixture, "localhost");
    negotiate(fixture);
    assert_refuses(fixture, CLIENT, "its certificate has expired, or that of its CA");
    assert_refuses(fixture, SERVER, "our certificate has expired");
    issue(fixture, NULL, "future", &future);
    use(fixture, SERVER, "future", NULL);
    assert_refuses_host(fixture, "localhost",
        "its certificate is not valid yet, or that of its CA; one of the clocks may be wrong");
}

/* ---- the client's certificate ---- */

static void assert_peer(const struct fixture *fixture, enum side side, const char *expected)
{
    char subject[SUBJECT_BYTES];

    tls_describe_peer(fixture->ends[side].session, subject, sizeof subject);
    assert_string_equal(subject, expected);
}

static void a_client_that_shows_a_certificate_is_known(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {.name = TEXT("farm-7"), .organisation = "Example"};

    issue(fixture, NULL, "farm", &wishes);
    use_client_certificate(fixture, "farm");
    begin(fixture, "localhost");
    assert_peer(fixture, SERVER, "");
    negotiate(fixture);
    assert_int_equal(fixture->ends[SERVER].result, TLS_OK);
    assert_peer(fixture, SERVER, "CN=farm-7,O=Example");
    assert_peer(fixture, CLIENT, "CN=server");
    say(fixture, SERVER, TEXT("answer"));
    assert_hears(fixture, CLIENT, TEXT("answer"));
}

static void a_server_asks_for_a_certificate_only_with_a_ca(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {.name = TEXT("farm-7")};

    issue(fixture, NULL, "farm", &wishes);
    use(fixture, CLIENT, "farm", "ca.pem");
    connect_to(fixture, "localhost");
    assert_peer(fixture, SERVER, "");
}

/* Connects; the server does not accept the client, which reads why. */
static void assert_refuses_client(struct fixture *fixture, const char *why, const char *told)
{
    struct buffer text = BUFFER_EMPTY;

    begin(fixture, "localhost");
    negotiate(fixture);
    assert_refuses(fixture, SERVER, why);
    hear(fixture, CLIENT, &text);
    assert_refuses(fixture, CLIENT, told);
    assert_int_equal(text.length, 0);
}

static void a_client_that_shows_no_certificate_is_refused(void **state)
{
    struct fixture *fixture = *state;

    use_client_certificate(fixture, NULL);
    assert_refuses_client(fixture, "it shows no certificate", "it asks for a certificate");
}

static void a_client_of_an_unknown_ca_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes ca = {.name = TEXT("Other CA")};
    const struct certificate_wishes farm = {.name = TEXT("farm-7")};
    struct certificate stranger;

    certificate_create(&stranger, NULL, &ca);
    issue(fixture, &stranger, "strange", &farm);
    certificate_free(&stranger);
    use_client_certificate(fixture, "strange");
    assert_refuses_client(fixture, "its certificate is not of a known CA",
        "it does not trust the CA of our certificate");
}

static void a_client_whose_certificate_has_expired_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {.name = TEXT("old"), .first_day = -9, .last_day = -1};

    issue(fixture, NULL, "old", &wishes);
    use_client_certificate(fixture, "old");
    assert_refuses_client(
        fixture, "its certificate has expired, or that of its CA", "our certificate has expired");
}

static void a_session_is_not_continued_after_the_end_of_its_certificate(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {
        .name = TEXT("short"), .first_day = -1, .last_s = LIFE_S};
    const uint64_t deadline_ms = clock_ms() + DEADLINE_MS;

    issue(fixture, NULL, "short", &wishes);
    use_client_certificate(fixture, "short");
    connect_to(fixture, "localhost");
    while (fixture->ends[SERVER].result == TLS_OK) {
        assert_hears(fixture, CLIENT, TEXT("")); /* reads the server's tickets */
        tls_shut(fixture->ends[CLIENT].session);
        assert_true(clock_ms() < deadline_ms);
        (void)usleep(PAUSE_US);
        begin(fixture, "localhost");
        negotiate(fixture);
    }
    assert_refuses(fixture, SERVER, "certificate has expired");
}

/* ---- subjects ---- */

static void assert_subject(
    struct fixture *fixture, const struct certificate_wishes *wishes, const char *expected)
{
    remove_issued(fixture);
    issue(fixture, NULL, "issued", wishes);
    use_client_certificate(fixture, "issued");
    connect_to(fixture, "localhost");
    assert_peer(fixture, SERVER, expected);
}

static void unusual_characters_of_a_subject_are_escaped(void **state)
{
    static const struct {
        struct text name;
        int type;
        const char *expected;
    } cases[] = {
        {{"a\nb\tc\x1b[1m\x7f", 10}, 0, "CN=a\\0Ab\\09c\\1B[1m\\7F"},
        {{"a\0b", 3}, 0, "CN=a\\00b"},
        {{"Z\xc3\xbcrich", 7}, 0, "CN=Z\\C3\\BCrich"},
        {{"\xe2\x80\xa8\xe2\x80\xae", 6}, 0, "CN=\\E2\\80\\A8\\E2\\80\\AE"},
        {{"a,O=b+c\"\\<>;", 12}, 0, "CN=a\\,O=b\\+c\\\"\\\\\\<\\>\\;"},
        {{" # ", 3}, 0, "CN=\\ #\\ "},
        {{"caf\xe9\x85", 5}, V_ASN1_T61STRING, "CN=caf\\C3\\A9\\C2\\85"},
        {{"\0a\x20\x28\0\n", 6}, V_ASN1_BMPSTRING, "CN=a\\E2\\80\\A8\\0A"},
        {{"\0\1\xf6\0", 4}, V_ASN1_UNIVERSALSTRING, "CN=\\F0\\9F\\98\\80"},
    };
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct certificate_wishes wishes = {
            .name = cases[i].name, .name_type = cases[i].type};

        assert_subject(fixture, &wishes, cases[i].expected);
    }
}

static void a_subject_may_be_empty(void **state)
{
    const struct certificate_wishes wishes = {.name = TEXT("")};

    assert_subject(*state, &wishes, "");
}

static void a_subject_is_cut_to_the_room_for_it(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {.name = TEXT("abcdefgh")};
    char text[8];

    assert_subject(fixture, &wishes, "CN=abcdefgh");
    memset(text, 'x', sizeof text);
    tls_describe_peer(fixture->ends[SERVER].session, text, 7);
    assert_string_equal(text, "CN=abc");
    assert_int_equal(text[7], 'x');
    tls_describe_peer(fixture->ends[SERVER].session, text, 1);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_certificate_is_for_its_names_and_addresses),
        TEST(a_certificate_for_another_host_is_refused),
        TEST(a_number_in_a_name_is_not_an_address),
        TEST(an_asterisk_stands_for_one_label),
        TEST(a_host_in_the_subject_alone_does_not_count),
        TEST(a_host_that_can_not_be_a_name_is_refused),
        TEST(a_session_is_not_continued_with_another_host),
        TEST(a_server_is_told_its_name_but_not_its_address),
        TEST(a_certificate_of_an_unknown_ca_is_refused),
        TEST(a_certificate_without_a_ca_is_refused),
        TEST(a_certificate_is_refused_before_and_after_its_days),
        TEST(a_client_that_shows_a_certificate_is_known),
        TEST(a_server_asks_for_a_certificate_only_with_a_ca),
        TEST(a_client_that_shows_no_certificate_is_refused),
        TEST(a_client_of_an_unknown_ca_is_refused),
        TEST(a_client_whose_certificate_has_expired_is_refused),
        TEST(a_session_is_not_continued_after_the_end_of_its_certificate),
        TEST(unusual_characters_of_a_subject_are_escaped),
        TEST(a_subject_may_be_empty),
        TEST(a_subject_is_cut_to_the_room_for_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

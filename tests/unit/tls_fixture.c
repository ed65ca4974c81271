/* SPDX-License-Identifier: MIT */
#include "tls_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ROOM_BYTES 1000

/* ---- files ---- */

const char *file_in(const struct fixture *fixture, const char *file, char name[FILE_BYTES])
{
    assert_true(snprintf(name, FILE_BYTES, "%s/%s", fixture->folder, file) < FILE_BYTES);
    return name;
}

void issue(struct fixture *fixture, const struct certificate *ca, const char *file,
    const struct certificate_wishes *wishes)
{
    struct certificate certificate;
    char name[FILE_BYTES];
    char whole[FILE_BYTES];

    certificate_create(&certificate, ca ? ca : &fixture->ca, wishes);
    (void)snprintf(name, sizeof name, "%s.pem", file);
    certificate_write(&certificate, file_in(fixture, name, whole));
    (void)snprintf(name, sizeof name, "%s.key", file);
    certificate_write_key(&certificate, file_in(fixture, name, whole), NULL);
    certificate_free(&certificate);
}

static void remove_folder(const char *folder)
{
    DIR *entries = opendir(folder);
    const struct dirent *entry;

    assert_non_null(entries);
    while ((entry = readdir(entries)))
        (void)unlinkat(dirfd(entries), entry->d_name, 0);
    (void)closedir(entries);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- contexts ---- */

static void close_session(struct end *end)
{
    tls_close(end->session);
    *end = (struct end){.context = end->context, .result = TLS_MORE};
}

void use(struct fixture *fixture, enum side side, const char *certificate, const char *ca)
{
    struct end *end = &fixture->ends[side];
    struct tls_options options = {.is_server = side == SERVER};
    char name[FILE_BYTES];
    char files[3][FILE_BYTES];
    struct error error;

    if (ca)
        options.ca = file_in(fixture, ca, files[0]);
    if (certificate) {
        (void)snprintf(name, sizeof name, "%s.pem", certificate);
        options.certificate = file_in(fixture, name, files[1]);
        (void)snprintf(name, sizeof name, "%s.key", certificate);
        options.key = file_in(fixture, name, files[2]);
    }
    close_session(end);
    tls_context_close(end->context);
    assert_int_equal(tls_context_open(&end->context, &options, &error), 0);
}

void use_client_certificate(struct fixture *fixture, const char *certificate)
{
    use(fixture, SERVER, "server", "ca.pem");
    use(fixture, CLIENT, certificate, "ca.pem");
}

int set_up(void **state)
{
    const struct certificate_wishes ca = {.name = TEXT("Test CA")};
    const struct certificate_wishes server = {
        .name = TEXT("server"), .hosts = "DNS:localhost,IP:127.0.0.1,IP:::1"};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    char name[FILE_BYTES];

    assert_non_null(fixture);
    (void)snprintf(fixture->folder, sizeof fixture->folder, "/tmp/test_tls.XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    certificate_create(&fixture->ca, NULL, &ca);
    certificate_write(&fixture->ca, file_in(fixture, "ca.pem", name));
    issue(fixture, NULL, "server", &server);
    use(fixture, SERVER, "server", NULL);
    use(fixture, CLIENT, NULL, "ca.pem");
    *state = fixture;
    return 0;
}

int tear_down(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i < COUNT(fixture->ends); i++) {
        tls_close(fixture->ends[i].session);
        tls_context_close(fixture->ends[i].context);
    }
    certificate_free(&fixture->ca);
    remove_folder(fixture->folder);
    free(fixture);
    return 0;
}

/* ---- sessions ---- */

void begin(struct fixture *fixture, const char *host)
{
    for (size_t i = 0; i < COUNT(fixture->ends); i++) {
        struct end *end = &fixture->ends[i];

        close_session(end);
        assert_int_equal(
            tls_open(&end->session, end->context, i == CLIENT ? host : NULL, &end->error), 0);
        assert_non_null(end->session);
    }
}

static void step(struct end *end)
{
    if (end->result == TLS_MORE)
        end->result = tls_negotiate(end->session, &end->error);
}

void give(struct fixture *fixture, enum side side, struct text bytes)
{
    struct end *end = &fixture->ends[side];

    while (bytes.length > 0 && (end->result == TLS_OK || end->result == TLS_MORE)) {
        const size_t length =
            fixture->piece > 0 && fixture->piece < bytes.length ? fixture->piece : bytes.length;

        assert_int_equal(tls_receive(end->session, bytes.bytes, length), 0);
        step(end);
        bytes = text_from(bytes, length);
    }
}

size_t pass_on(struct fixture *fixture, enum side from)
{
    struct buffer bytes = BUFFER_EMPTY;
    size_t length;

    tls_take_output(fixture->ends[from].session, &bytes);
    assert_false(buffer_failed(&bytes));
    length = bytes.length;
    fixture->ends[from].n_sent += length;
    give(fixture, from == CLIENT ? SERVER : CLIENT, buffer_text(&bytes));
    buffer_free(&bytes);
    return length;
}

void negotiate(struct fixture *fixture)
{
    step(&fixture->ends[CLIENT]);
    step(&fixture->ends[SERVER]);
    while (pass_on(fixture, CLIENT) + pass_on(fixture, SERVER) > 0)
        continue;
}

void connect_to(struct fixture *fixture, const char *host)
{
    begin(fixture, host);
    negotiate(fixture);
    assert_int_equal(fixture->ends[CLIENT].result, TLS_OK);
    assert_int_equal(fixture->ends[SERVER].result, TLS_OK);
}

void say(struct fixture *fixture, enum side from, struct text text)
{
    struct end *end = &fixture->ends[from];

    assert_int_equal(tls_write(end->session, text, &end->error), TLS_OK);
    assert_true(pass_on(fixture, from) > text.length);
}

void hear(struct fixture *fixture, enum side side, struct buffer *text)
{
    struct end *end = &fixture->ends[side];
    char *room = malloc(ROOM_BYTES); /* so that a sanitizer sees what is written behind it */
    size_t length;

    assert_non_null(room);
    while (
        (end->result = tls_read(end->session, room, ROOM_BYTES, &length, &end->error)) == TLS_OK) {
        assert_in_range(length, 1, ROOM_BYTES);
        buffer_append(text, room, length);
    }
    assert_int_equal(length, 0);
    free(room);
}

void assert_hears(struct fixture *fixture, enum side side, struct text expected)
{
    struct buffer text = BUFFER_EMPTY;

    hear(fixture, side, &text);
    assert_int_equal(fixture->ends[side].result, TLS_MORE);
    assert_text_equal(buffer_text(&text), expected);
    buffer_free(&text);
}

void assert_refuses(struct fixture *fixture, enum side side, const char *why)
{
    assert_int_equal(fixture->ends[side].result, TLS_FAILED);
    assert_says(&fixture->ends[side].error, why);
}

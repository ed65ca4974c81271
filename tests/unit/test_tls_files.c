/* SPDX-License-Identifier: MIT */
/* The files of TLS (src/tls/tls.h): which are read, and which are refused. */
#include "tls_fixture.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY_S 86400
#define TOO_LARGE (4L * 1024 * 1024 + 1)

/* Reads these files, as a server; certificate may be NULL, and key. */
static int read_files(struct fixture *fixture, const char *certificate, const char *key,
    const char *ca, struct error *error)
{
    char names[3][FILE_BYTES];
    const struct tls_options options = {.is_server = true,
        .certificate = certificate ? file_in(fixture, certificate, names[0]) : NULL,
        .key = key ? file_in(fixture, key, names[1]) : NULL,
        .ca = ca ? file_in(fixture, ca, names[2]) : NULL};
    struct tls_context *context;
    const int result = tls_context_open(&context, &options, error);

    assert_true((context != NULL) == (result == 0));
    tls_context_close(context);
    return result;
}

static void assert_reads(
    struct fixture *fixture, const char *certificate, const char *key, const char *ca)
{
    struct error error = {.text = ""};

    if (read_files(fixture, certificate, key, ca, &error) != 0)
        fail_msg("%s", error.text);
}

/* The error names a file, if any is given, and says why. */
static void assert_is_refused(struct fixture *fixture, const char *certificate, const char *key,
    const char *ca, const char *why)
{
    struct error error;

    assert_int_equal(read_files(fixture, certificate, key, ca, &error), ERROR_INPUT);
    assert_says(&error, why);
    if (certificate)
        assert_says(&error, fixture->folder);
}

/* Tries a file as each of the three. */
static void assert_is_refused_everywhere(struct fixture *fixture, const char *file, const char *why)
{
    assert_is_refused(fixture, file, "server.key", NULL, why);
    assert_is_refused(fixture, "server.pem", file, NULL, why);
    assert_is_refused(fixture, "server.pem", "server.key", file, why);
}

static void write_file(struct fixture *fixture, const char *file, const char *text)
{
    char name[FILE_BYTES];
    FILE *stream = fopen(file_in(fixture, file, name), "ae");

    assert_non_null(stream);
    assert_true(fputs(text, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(chmod(name, 0600), 0);
}

static void make_certificate(struct fixture *fixture, struct certificate *certificate)
{
    const struct certificate_wishes wishes = {.name = TEXT("other")};

    certificate_create(certificate, &fixture->ca, &wishes);
}

/* ---- names ---- */

static void a_server_needs_a_certificate(void **state)
{
    assert_is_refused(*state, NULL, NULL, NULL, "TLS needs a certificate and its key");
    assert_is_refused(*state, NULL, NULL, "ca.pem", "TLS needs a certificate and its key");
}

static void a_key_alone_is_of_no_use(void **state)
{
    struct fixture *fixture = *state;
    char name[FILE_BYTES];
    const struct tls_options options = {.key = file_in(fixture, "server.key", name)};
    struct tls_context *context;
    struct error error;

    assert_int_equal(tls_context_open(&context, &options, &error), ERROR_INPUT);
    assert_null(context);
    assert_says(&error, "server.key: a key without a certificate is of no use");
}

static void a_client_needs_no_files(void **state)
{
    const struct tls_options options = {.is_server = false};
    struct tls_context *context;
    struct error error;

    (void)state;
    assert_int_equal(tls_context_open(&context, &options, &error), 0);
    assert_int_equal(tls_context_expires_s(context), 0);
    tls_context_close(context);
}

static void a_file_that_is_missing_is_named(void **state)
{
    struct fixture *fixture = *state;

    assert_reads(fixture, "server.pem", "server.key", "ca.pem");
    assert_is_refused_everywhere(fixture, "missing.pem", "missing.pem: No such file or directory");
}

static void a_pipe_does_not_block(void **state)
{
    struct fixture *fixture = *state;
    char name[FILE_BYTES];

    assert_int_equal(mkfifo(file_in(fixture, "pipe", name), 0600), 0);
    assert_is_refused_everywhere(fixture, "pipe", "pipe: not a regular file");
}

static void a_folder_is_no_file(void **state)
{
    assert_is_refused_everywhere(*state, ".", "/.: not a regular file");
}

static void a_file_that_is_too_large_is_not_read(void **state)
{
    struct fixture *fixture = *state;
    char name[FILE_BYTES];

    write_file(fixture, "large", "");
    assert_int_equal(truncate(file_in(fixture, "large", name), TOO_LARGE), 0);
    assert_is_refused_everywhere(fixture, "large", "large: too large for a PEM file");
}

/* ---- contents ---- */

static void a_file_that_is_not_pem_is_refused(void **state)
{
    struct fixture *fixture = *state;

    write_file(fixture, "empty", "");
    write_file(fixture, "text", "-----BEGIN CERTIFICATE-----\nnothing\n");
    assert_is_refused_everywhere(fixture, "empty", "empty: no ");
    assert_is_refused_everywhere(fixture, "text", "text: no ");
    assert_is_refused(fixture, "server.pem", "text", NULL, "text: no private key in PEM format");
}

static void a_key_is_no_certificate(void **state)
{
    struct fixture *fixture = *state;

    assert_is_refused(fixture, "server.key", "server.key", NULL, "server.key: no certificate");
    assert_is_refused(
        fixture, "server.pem", "server.key", "server.key", "server.key: no certificate of a CA");
    assert_is_refused(
        fixture, "server.pem", "server.pem", NULL, "server.pem: no private key in PEM format");
}

static void a_certificate_and_its_key_may_be_in_one_file(void **state)
{
    struct fixture *fixture = *state;
    struct certificate certificate;
    char name[FILE_BYTES];

    make_certificate(fixture, &certificate);
    certificate_write(&certificate, file_in(fixture, "first.pem", name));
    certificate_write(&fixture->ca, name); /* the chain */
    certificate_write_key(&certificate, name, NULL);
    certificate_write_key(&certificate, file_in(fixture, "last.pem", name), NULL);
    certificate_write(&certificate, name);
    certificate_free(&certificate);
    assert_reads(fixture, "first.pem", NULL, NULL);
    assert_reads(fixture, "last.pem", NULL, NULL);
}

static void the_key_of_another_certificate_is_refused(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {.name = TEXT("other")};

    issue(fixture, NULL, "other", &wishes);
    assert_is_refused(fixture, "server.pem", "other.key", NULL,
        "other.key: the key is not that of the certificate ");
}

static void a_key_of_another_kind_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct certificate other = {.key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
    char name[FILE_BYTES];

    assert_non_null(other.key);
    certificate_write_key(&other, file_in(fixture, "kind.key", name), NULL);
    certificate_free(&other);
    assert_is_refused(fixture, "server.pem", "kind.key", NULL,
        "kind.key: the key is not that of the certificate ");
}

static void a_key_with_a_passphrase_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct certificate certificate;
    char name[FILE_BYTES];

    make_certificate(fixture, &certificate);
    certificate_write(&certificate, file_in(fixture, "secret.pem", name));
    certificate_write_key(&certificate, file_in(fixture, "secret.key", name), "secret");
    certificate_free(&certificate);
    assert_is_refused(
        fixture, "secret.pem", "secret.key", NULL, "secret.key: the key has a passphrase");
}

/* Nobody is asked for the passphrase. */
static void a_certificate_with_a_passphrase_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char name[FILE_BYTES];
    FILE *stream = fopen(file_in(fixture, "sealed.pem", name), "we");
    static unsigned char passphrase[] = "secret";

    assert_non_null(stream);
    assert_int_equal(
        PEM_ASN1_write((i2d_of_void *)(void (*)(void))i2d_X509, PEM_STRING_X509, stream,
            fixture->ca.x509, EVP_aes_128_cbc(), passphrase, sizeof passphrase - 1, NULL, NULL),
        1);
    assert_int_equal(fclose(stream), 0);
    assert_is_refused_everywhere(fixture, "sealed.pem", "sealed.pem: ");
}

/* ---- permissions ---- */

static void a_key_that_others_may_read_is_refused(void **state)
{
    static const mode_t modes[] = {0644, 0604, 0620, 0602, 0601};
    struct fixture *fixture = *state;
    char name[FILE_BYTES];

    (void)file_in(fixture, "server.key", name);
    for (size_t i = 0; i < COUNT(modes); i++) {
        char why[80];

        assert_int_equal(chmod(name, modes[i]), 0);
        (void)snprintf(
            why, sizeof why, "others may read or change this key (mode %03o)", (unsigned)modes[i]);
        assert_is_refused(fixture, "server.pem", "server.key", NULL, why);
    }
    assert_int_equal(chmod(name, 0400), 0);
    assert_reads(fixture, "server.pem", "server.key", NULL);
}

static void only_a_key_of_root_may_be_read_by_a_group(void **state)
{
    struct fixture *fixture = *state;
    const bool is_root = geteuid() == 0;
    char name[FILE_BYTES];

    assert_int_equal(chmod(file_in(fixture, "server.key", name), 0640), 0);
    if (is_root) {
        assert_reads(fixture, "server.pem", "server.key", NULL);
        assert_int_equal(chown(name, 1, 1), 0);
    }
    assert_is_refused(fixture, "server.pem", "server.key", NULL, "(mode 640)");
}

/* ---- the end of a certificate ---- */

static void the_end_of_a_certificate_is_known(void **state)
{
    struct fixture *fixture = *state;
    const struct certificate_wishes wishes = {
        .name = TEXT("short"), .first_day = -1, .last_day = 3};
    const int64_t end_s = (int64_t)time(NULL) + 3 * (int64_t)DAY_S;
    int64_t expires_s;

    issue(fixture, NULL, "short", &wishes);
    use(fixture, SERVER, "short", NULL);
    expires_s = tls_context_expires_s(fixture->ends[SERVER].context);
    assert_in_range(expires_s, end_s, end_s + 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_server_needs_a_certificate),
        TEST(a_key_alone_is_of_no_use),
        TEST(a_client_needs_no_files),
        TEST(a_file_that_is_missing_is_named),
        TEST(a_pipe_does_not_block),
        TEST(a_folder_is_no_file),
        TEST(a_file_that_is_too_large_is_not_read),
        TEST(a_file_that_is_not_pem_is_refused),
        TEST(a_key_is_no_certificate),
        TEST(a_certificate_and_its_key_may_be_in_one_file),
        TEST(the_key_of_another_certificate_is_refused),
        TEST(a_key_of_another_kind_is_refused),
        TEST(a_key_with_a_passphrase_is_refused),
        TEST(a_certificate_with_a_passphrase_is_refused),
        TEST(a_key_that_others_may_read_is_refused),
        TEST(only_a_key_of_root_may_be_read_by_a_group),
        TEST(the_end_of_a_certificate_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

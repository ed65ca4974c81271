/* SPDX-License-Identifier: MIT */
#define OPENSSL_SUPPRESS_DEPRECATED /* for the random numbers */

#include "tls_world.h"

#include "fuzz.h"

#include <openssl/rand.h>
#include <sys/mman.h>

/* ---- random numbers ---- */

static uint32_t random_state;

static int random_bytes(unsigned char *bytes, int length)
{
    for (int i = 0; i < length; i++) {
        random_state = random_state * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(random_state >> 24);
    }
    return 1;
}

static int random_status(void)
{
    return 1;
}

static const RAND_METHOD random_method = {
    .bytes = random_bytes, .pseudorand = random_bytes, .status = random_status};

/* ---- certificates ---- */

/* Writes a certificate to a file without a name, which ends with the process. */
static void write_file(
    const struct certificate *certificate, bool with_key, char name[TLS_WORLD_FILE_BYTES])
{
    const int descriptor = memfd_create("certificate", MFD_CLOEXEC);

    REQUIRE(descriptor >= 0);
    (void)snprintf(name, TLS_WORLD_FILE_BYTES, "/proc/self/fd/%d", descriptor);
    certificate_write(certificate, name);
    if (with_key)
        certificate_write_key(certificate, name, NULL);
}

static SSL_CTX *create_other(const struct tls_world *world, const SSL_METHOD *method)
{
    static const unsigned char name[] = "other";
    SSL_CTX *other = SSL_CTX_new(method);

    REQUIRE(other != NULL);
    REQUIRE(X509_STORE_add_cert(SSL_CTX_get_cert_store(other), world->ca.x509) == 1);
    REQUIRE(SSL_CTX_set_session_id_context(other, name, sizeof name) == 1);
    (void)SSL_CTX_set_session_cache_mode(other, SSL_SESS_CACHE_OFF);
    return other;
}

static void create_world(struct tls_world *world)
{
    const struct certificate_wishes ca = {.name = text_of("CA")};
    const struct certificate_wishes server = {
        .name = text_of("server"), .hosts = "DNS:" TLS_WORLD_HOST};
    const struct certificate_wishes farm = {.name = text_of("farm-7")};
    struct error error;

    REQUIRE(RAND_set_rand_method(&random_method) == 1);
    certificate_create(&world->ca, NULL, &ca);
    certificate_create(&world->server, &world->ca, &server);
    certificate_create(&world->farm, &world->ca, &farm);
    certificate_create(&world->stranger, NULL, &server);
    write_file(&world->ca, false, world->ca_file);
    write_file(&world->server, true, world->server_file);
    write_file(&world->farm, true, world->farm_file);
    for (int wants = 0; wants < 2; wants++) {
        const struct tls_options options = {.is_server = true,
            .certificate = world->server_file,
            .ca = wants ? world->ca_file : NULL};

        REQUIRE(tls_context_open(&world->servers[wants], &options, &error) == 0);
    }
    (void)random_bytes((unsigned char *)world->text, sizeof world->text);
    world->others[0] = create_other(world, TLS_server_method());
    world->others[1] = create_other(world, TLS_client_method());
}

const struct tls_world *tls_world_get(void)
{
    static struct tls_world world;

    if (!world.others[0])
        create_world(&world);
    return &world;
}

void tls_world_restart(void)
{
    random_state = 1;
}

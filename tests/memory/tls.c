/* SPDX-License-Identifier: MIT */
/* Failing allocations in TLS: a server and a client negotiate, in memory, and say something. In a
 * first process our allocations fail, in a second one OpenSSL's do as well. */
#include "failing.h"

#include "../unit/tls_certificates.h"
#include "base/buffer.h"
#include "tls/tls.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 20           /* a negotiation needs fewer */
#define LIBRARY_EVERY 211ul /* allocations of OpenSSL: there are 27,000 */
#define FILE_BYTES 96

struct side {
    struct tls_options options;
    struct tls_context *context;
    struct tls_session *session;
    enum tls_result result;
    char files[3][FILE_BYTES];
};

struct rig {
    struct side server, client;
};

/* ---- a run ---- */

static bool is_open(struct side *side, const char *host)
{
    struct error error = {.text = ""};
    const int result = tls_context_open(&side->context, &side->options, &error);

    side->result = TLS_MORE;
    if (result == 0 && tls_open(&side->session, side->context, host, &error) == 0)
        return true;
    FAILING_REQUIRE(error.text[0] != '\0');
    return false;
}

static void close_side(struct side *side)
{
    tls_close(side->session);
    tls_context_close(side->context);
    side->session = NULL;
    side->context = NULL;
}

/* Gives what one side has for the network to the other. Returns false if memory ran out. */
static bool passes_on(const struct side *from, const struct side *to)
{
    struct buffer bytes = BUFFER_EMPTY;
    bool all;

    tls_take_output(from->session, &bytes);
    all = !buffer_failed(&bytes) &&
          (bytes.length == 0 || tls_receive(to->session, bytes.bytes, bytes.length) == 0);
    buffer_free(&bytes);
    return all;
}

static bool goes_on(struct side *side)
{
    struct error error = {.text = ""};

    if (side->result == TLS_MORE)
        side->result = tls_negotiate(side->session, &error);
    FAILING_REQUIRE(side->result != TLS_FAILED || error.text[0] != '\0');
    return side->result == TLS_MORE || side->result == TLS_OK;
}

static bool negotiates(struct rig *rig)
{
    for (int i = 0; i < ROUNDS; i++) {
        if (!goes_on(&rig->client) || !passes_on(&rig->client, &rig->server) ||
            !goes_on(&rig->server) || !passes_on(&rig->server, &rig->client))
            return false;
        if (rig->client.result == TLS_OK && rig->server.result == TLS_OK)
            return true;
    }
    return false;
}

/* One side says something. What the other one hears is right, or nothing. */
static bool says(struct side *from, const struct side *to)
{
    const struct text said = text_of("some words");
    struct error error = {.text = ""};
    char heard[64];
    size_t length;
    enum tls_result result;

    if (tls_write(from->session, said, &error) != TLS_OK || !passes_on(from, to))
        return false;
    result = tls_read(to->session, heard, sizeof heard, &length, &error);
    FAILING_REQUIRE(
        result != TLS_OK || (length == said.length && memcmp(heard, said.bytes, length) == 0));
    FAILING_REQUIRE(result != TLS_FAILED || error.text[0] != '\0');
    return result == TLS_OK;
}

static bool knows_its_client(const struct side *server)
{
    char subject[64];

    tls_describe_peer(server->session, subject, sizeof subject);
    FAILING_REQUIRE(subject[0] == '\0' || strcmp(subject, "CN=farm-7") == 0);
    return subject[0] != '\0';
}

static enum failing_outcome talking(void *context)
{
    struct rig *rig = context;
    const bool all = is_open(&rig->server, NULL) && is_open(&rig->client, "localhost") &&
                     negotiates(rig) && says(&rig->client, &rig->server) &&
                     says(&rig->server, &rig->client) && knows_its_client(&rig->server);

    close_side(&rig->client);
    close_side(&rig->server);
    return all ? FAILING_RIGHT : FAILING_ERROR;
}

/* ---- certificates ---- */

static void name_file(char *file, const char *name, const char *end)
{
    (void)snprintf(file, FILE_BYTES, "/tmp/prservd-memory-%ld-%s.%s", (long)getpid(), name, end);
}

static void make_side(struct side *side, const char *name, const struct certificate *ca)
{
    const struct certificate_wishes wishes = {.name = text_of(name), .hosts = "DNS:localhost"};
    struct certificate own;

    name_file(side->files[0], name, "pem");
    name_file(side->files[1], name, "key");
    name_file(side->files[2], name, "ca");
    certificate_create(&own, ca, &wishes);
    certificate_write(&own, side->files[0]);
    certificate_write_key(&own, side->files[1], NULL);
    certificate_write(ca, side->files[2]);
    certificate_free(&own);
    side->options = (struct tls_options){
        .certificate = side->files[0], .key = side->files[1], .ca = side->files[2]};
}

static void remove_files(const struct side *side)
{
    for (size_t i = 0; i < sizeof side->files / sizeof side->files[0]; i++)
        (void)unlink(side->files[i]);
}

/* ---- the library ---- */

static void *library_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(size);
}

static void library_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    free(block);
}

static void *library_realloc(void *block, size_t size, const char *file, int line)
{
    if (size > 0)
        return realloc(block, size);
    library_free(block, file, line);
    return NULL;
}

static void try_all(bool with_library, unsigned long every)
{
    const struct certificate_wishes authority = {.name = text_of("Test CA")};
    struct rig rig = {.server = {.result = TLS_MORE}};
    const struct failing_case ours = {.name = "TLS", .run = talking, .context = &rig};
    /* The library keeps what it has read of errors and methods. */
    const struct failing_case all = {
        .name = "TLS with OpenSSL", .run = talking, .context = &rig, .keeps_memory = true};
    struct certificate ca;

    if (with_library)
        FAILING_REQUIRE(
            CRYPTO_set_mem_functions(library_malloc, library_realloc, library_free) == 1);
    certificate_create(&ca, NULL, &authority);
    make_side(&rig.server, "server", &ca);
    make_side(&rig.client, "farm-7", &ca);
    certificate_free(&ca);
    rig.server.options.is_server = true;
    failing_try(with_library ? &all : &ours, with_library ? every * LIBRARY_EVERY : every);
    remove_files(&rig.server);
    remove_files(&rig.client);
}

int main(int n_arguments, char **arguments)
{
    const unsigned long every = failing_read_options(n_arguments, arguments);
    pid_t child = fork(); /* the library's allocator is chosen once */
    int status = 0;

    FAILING_REQUIRE(child >= 0);
    try_all(child == 0, every);
    FAILING_REQUIRE(child == 0 || (waitpid(child, &status, 0) == child && status == 0));
    return 0;
}

/* SPDX-License-Identifier: MIT */
/* A client's session and a server's (src/tls/tls.h), joined in memory, with certificates in a
 * temporary folder. */
#ifndef PRSERVD_TLS_FIXTURE_H
#define PRSERVD_TLS_FIXTURE_H

#include "tls/tls.h"
#include "tls_certificates.h"
#include "unit.h"

#define FILE_BYTES 96

enum side { CLIENT, SERVER };

struct end {
    struct tls_context *context;
    struct tls_session *session;
    enum tls_result result; /* of tls_negotiate, or of the last tls_read */
    struct error error;
    size_t n_sent; /* bytes that were for the network */
};

struct fixture {
    char folder[64];
    struct certificate ca;
    struct end ends[2];
    size_t piece; /* how many bytes arrive at once; 0: all */
};

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

/* A server with a certificate for "localhost", 127.0.0.1 and ::1, and a client that knows the CA.
 * There are no sessions yet. */
int set_up(void **state);
int tear_down(void **state);

/* Writes the name of a file in the folder. Returns name. */
const char *file_in(const struct fixture *fixture, const char *file, char name[FILE_BYTES]);

/* Makes FILE.pem and FILE.key; ca: who signs it, NULL: the fixture's. */
void issue(struct fixture *fixture, const struct certificate *ca, const char *file,
    const struct certificate_wishes *wishes);

/* Replaces a context, and closes its session. certificate: FILE of those above, NULL: none. ca: a
 * file, NULL: none. */
void use(struct fixture *fixture, enum side side, const char *certificate, const char *ca);

/* Has the server ask for certificates, and the client show FILE, or none. */
void use_client_certificate(struct fixture *fixture, const char *certificate);

/* Opens a session of each side. */
void begin(struct fixture *fixture, const char *host);

/* Negotiates until both are done, or until nothing moves; the results are in the ends. */
void negotiate(struct fixture *fixture);

/* Begins and negotiates, which succeeds. */
void connect_to(struct fixture *fixture, const char *host);

/* Gives a side bytes of the network, in pieces, and lets it negotiate. */
void give(struct fixture *fixture, enum side side, struct text bytes);

/* Gives the other side what this one has for the network. Returns how much that was. */
size_t pass_on(struct fixture *fixture, enum side from);

/* Encrypts a text, and passes it on. */
void say(struct fixture *fixture, enum side from, struct text text);

/* Appends what can be read to text. The result is that of the last tls_read, which read nothing. */
void hear(struct fixture *fixture, enum side side, struct buffer *text);

/* Reads this text, and nothing more. */
void assert_hears(struct fixture *fixture, enum side side, struct text expected);

/* Checks that a negotiation fails at this side, and that the error says why. */
void assert_refuses(struct fixture *fixture, enum side side, const char *why);

#endif

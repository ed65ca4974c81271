/* SPDX-License-Identifier: MIT */
/* TLS 1.2 and 1.3 without a socket: the owner moves the bytes between the session and the network.
 * doc/security.md says what is checked.
 *
 * prservd reaches these functions through a table, struct tls_module, of a shared object that is
 * loaded only where TLS is wanted: the library would take a quarter of an idle server's memory.
 * libprserv links them. A session is used by one thread at a time. */
#ifndef PRSERVD_TLS_H
#define PRSERVD_TLS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Names of PEM files; borrowed for the call. NULL: not given. */
struct tls_options {
    bool is_server;
    const char *certificate; /* with the chain up to the CA; a server needs one */
    const char *key;         /* NULL: in the file of the certificate */
    const char *ca; /* who signs the other side's certificate. A client without it takes the
                       system's; a server without it asks for no certificate. */
};

struct tls_context;
struct tls_session;

enum tls_result {
    TLS_OK,
    TLS_MORE,  /* bytes of the other side are missing */
    TLS_ENDED, /* the other side has ended the session */
    TLS_PLAIN, /* what the other side sends is not TLS */
    TLS_FAILED /* error says why */
};

/* Reads the files. A key that others may read is refused. Fails with ERROR_INPUT, which names the
 * file, or ERROR_MEMORY. */
ERROR_MUST_CHECK int tls_context_open(
    struct tls_context **context, const struct tls_options *options, struct error *error);

/* Frees a context. Its sessions may live longer. NULL is allowed. */
void tls_context_close(struct tls_context *context);

/* Returns when our own certificate ends, in seconds since 1970; 0: there is none. */
int64_t tls_context_expires_s(const struct tls_context *context);

/* Begins a session. host: the server, whose certificate has to be for that name or number; NULL in
 * a server. Fails with ERROR_MEMORY, or ERROR_INPUT for a host that can't be a name. */
ERROR_MUST_CHECK int tls_open(struct tls_session **session, struct tls_context *context,
    const char *host, struct error *error);

/* Frees a session. NULL is allowed. */
void tls_close(struct tls_session *session);

/* Takes bytes of the network. Fails with ERROR_MEMORY. */
ERROR_MUST_CHECK int tls_receive(struct tls_session *session, const char *bytes, size_t length);

/* Continues the handshake with the bytes that were received. TLS_OK: it is complete. One call may
 * take some milliseconds of computing. */
ERROR_MUST_CHECK enum tls_result tls_negotiate(struct tls_session *session, struct error *error);

/* Decrypts some of what was received, after the handshake. TLS_OK: *length bytes, at least one. */
ERROR_MUST_CHECK enum tls_result tls_read(
    struct tls_session *session, char *bytes, size_t size, size_t *length, struct error *error);

/* Encrypts a text, which is not empty, after the handshake. */
ERROR_MUST_CHECK enum tls_result tls_write(
    struct tls_session *session, struct text text, struct error *error);

/* Ends our side. */
void tls_shut(struct tls_session *session);

/* Moves the bytes that are for the network to the end of out. They arise in each of the functions
 * above. */
void tls_take_output(struct tls_session *session, struct buffer *out);

/* Returns the memory that a session has at most, while it is idle: an estimate. */
#define TLS_SESSION_BYTES ((size_t)40 * 1024)

/* Returns the memory of bytes that were received and not read yet. */
size_t tls_held_bytes(const struct tls_session *session);

/* Writes the subject of the other side's certificate: "CN=farm-7,O=Example"; "" without one. It has
 * no control characters. */
void tls_describe_peer(const struct tls_session *session, char *text, size_t size);

struct tls_module {
    int (*context_open)(
        struct tls_context **context, const struct tls_options *options, struct error *error);
    void (*context_close)(struct tls_context *context);
    int64_t (*context_expires_s)(const struct tls_context *context);
    int (*open)(struct tls_session **session, struct tls_context *context, const char *host,
        struct error *error);
    void (*close)(struct tls_session *session);
    int (*receive)(struct tls_session *session, const char *bytes, size_t length);
    enum tls_result (*negotiate)(struct tls_session *session, struct error *error);
    enum tls_result (*read)(
        struct tls_session *session, char *bytes, size_t size, size_t *length, struct error *error);
    enum tls_result (*write)(struct tls_session *session, struct text text, struct error *error);
    void (*shut)(struct tls_session *session);
    void (*take_output)(struct tls_session *session, struct buffer *out);
    size_t (*held_bytes)(const struct tls_session *session);
    void (*describe_peer)(const struct tls_session *session, char *text, size_t size);
};

#define TLS_MODULE prservd_tls_module
#define TLS_MODULE_NAME "prservd_tls_module"

extern const struct tls_module TLS_MODULE;

#endif

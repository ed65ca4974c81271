/* SPDX-License-Identifier: MIT */
/* A connection to a server, blocking, with a deadline. One thread at a time.
 *
 * Functions fail with the codes of prserv.h. After an error, only channel_close may be called. */
#ifndef PRSERV_CHANNEL_H
#define PRSERV_CHANNEL_H

#include "base/address.h"
#include "base/buffer.h"
#include "client/prserv.h"
#include "tls/tls.h"
#include "wire/framer.h"

#include <stdbool.h>
#include <stdint.h>

struct channel {
    int descriptor;       /* of the socket, which does not block; -1 while not connected */
    uint64_t deadline_ms; /* of everything that is done now; set by channel_hurry */
    struct framer framer;
    bool has_received; /* bytes have arrived since channel_hurry */
    const struct tls_module *tls;
    struct tls_context *certificates; /* NULL: no address with TLS is opened */
    struct tls_session *session;      /* NULL: without TLS */
};

/* Starts without a connection. tls and certificates are borrowed; both may be NULL. */
void channel_init(
    struct channel *channel, const struct tls_module *tls, struct tls_context *certificates);

/* Sets the deadline of what follows. */
void channel_hurry(struct channel *channel, unsigned timeout_ms);

/* Connects, negotiates TLS for an address that has it, and sends the handshake (HANDSHAKE_CLIENT
 * without its last line, headers, and that). The deadline does not limit the resolving of a name.
 */
PRSERV_CHECK int channel_open(struct channel *channel, const struct address *address,
    struct text headers, struct prserv_error *error);

/* Returns whether nothing can be read: no bytes, and no end, which a server that closed the
 * connection leaves. The channel must be connected. */
bool channel_is_quiet(struct channel *channel);

/* Sends a text. Answers that arrive meanwhile are kept, so that both sides may send at the same
 * time. If the server has closed the connection, this is not an error: channel_receive reports it,
 * after what the server sent before. */
PRSERV_CHECK int channel_send(
    struct channel *channel, struct text text, struct prserv_error *error);

/* Receives the next message, or, if last is not NULL, the next piece of one; *last says that the
 * message ends with it. The text is borrowed until the next call. */
PRSERV_CHECK int channel_receive(
    struct channel *channel, struct text *received, bool *last, struct prserv_error *error);

/* Closes the connection, if there is one. The channel can be opened again, with the same
 * deadline. */
void channel_close(struct channel *channel);

#endif

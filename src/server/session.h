/* SPDX-License-Identifier: MIT */
/* A session: the requests of one client. Messages go in; answers come out in the order of the
 * messages, and each request sees the effects of those before it.
 *
 * Knows neither sockets nor SQL. On the loop's thread. */
#ifndef PRSERVD_SESSION_H
#define PRSERVD_SESSION_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "server/listener_options.h"
#include "server/peer.h"
#include "server/server_context.h"
#include "wire/handshake.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;

/* What a client is and may do. */
struct session_client {
    bool is_read_only;   /* it may not store */
    bool may_import;     /* its import-one is not refused */
    bool wants_history;  /* its get-pr and test-pr are answered in history mode */
    bool is_from_server; /* it is a server that asks its upstream */
    bool shows_peers;    /* reports of the audit log tell it who asked; figures have addresses */
    const char *rights;  /* of its listener, for the audit log */
    char peer[PEER_BYTES];
    struct peer_address address;
    struct buffer subject;     /* of its certificate; empty: it has none */
    struct text host;          /* the subject, or the peer without its port */
    struct buffer annotations; /* a JSON object, or empty */
    struct relay_pool *pool;   /* of a relay: how its requests are sent on */
};

/* Opens a session. options: those of the listener. server is borrowed as long as the
 * session exists: after session_close, until its last request under way has ended. progress is
 * called when session_write may have more to write, but not during a call of a session_ function.
 * Returns NULL if there is no memory. */
struct session *session_open(const struct server_context *server,
    const struct listener_options *options, void (*progress)(void *context), void *context);

/* Sets a function that is called, with the context of session_open, when session_held_bytes has
 * changed: at any time until session_close returns, also during a call of a session_ function. */
void session_watch_memory(struct session *session, void (*charged)(void *context));

/* Notes who the client is. */
void session_set_peer(struct session *session, const struct peer *peer);

/* Notes the subject of the client's certificate, which names it in the audit log from now on. */
void session_set_subject(struct session *session, const char *subject);

/* Returns whether a complete handshake says that the client's requests come back to this relay. */
bool session_is_loop(const struct session *session, const struct handshake *handshake);

/* Notes what a complete handshake says of the client, and frees its annotations. */
void session_take_handshake(struct session *session, struct handshake *handshake);

/* Ends the session. Requests under way are carried out and their answers dropped. progress is
 * not called any more. */
void session_close(struct session *session);

/* Says that the client has ended its input: its requests, also those that are taken later, no
 * longer wait for what is away. */
void session_end_input(struct session *session);

enum session_result {
    SESSION_CONTINUES,
    SESSION_ENDED, /* the client sent null or can't be understood, or memory ran out: take no more
                      of its messages, and close the connection when the answers are written */
};

/* Takes a message, which is copied as far as needed. */
ERROR_MUST_CHECK enum session_result session_take(struct session *session, struct text message);

/* Takes over a message, even on failure, and has it read by a thread (message_reader.h): for
 * messages of more than MESSAGE_READER_LEAST_BYTES. Until it has been read, the session is full.
 * Then it may turn out that the session has ended. */
ERROR_MUST_CHECK enum session_result session_take_long(
    struct session *session, struct buffer message);

/* Adds an error, which is answered after the requests before it. */
void session_refuse(struct session *session, const char *reason);

/* Appends finished answers, framed, until out holds limit bytes or more, or the next answer
 * is not ready. Returns false if an export broke off: the connection has to be closed. */
ERROR_MUST_CHECK bool session_write(struct session *session, struct buffer *out, size_t limit);

/* Returns whether so much is under way that no more messages should be taken. */
bool session_is_full(const struct session *session);

/* Returns whether a message that was taken has ended the session, as SESSION_ENDED says. */
bool session_has_ended(const struct session *session);

/* Returns whether all that was taken has been written. */
bool session_is_done(const struct session *session);

/* Returns the memory that the session has taken from the budget. After session_close, the part of
 * it that the executor or the upstream works on leaves the budget later (budget.h). */
size_t session_held_bytes(const struct session *session);

#endif

/* The requests of one client: messages go in, and answers come out in the order in which
 * the messages were taken; each request sees the effects of those before it.
 *
 * On the loop's thread; knows neither sockets nor SQL. */
#ifndef PRSERVD_SESSION_H
#define PRSERVD_SESSION_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "server/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;

/* progress is called when answers may have come, not during a call of a session_
 * function of this session. NULL when memory ran out. */
struct session *session_open(
    const struct service *service, bool read_only, void (*progress)(void *context), void *context);

/* Forgets the client: what is under way is carried out, its answers are dropped.
 * progress is not called any more. */
void session_close(struct session *session);

enum session_result {
    SESSION_GOES_ON,
    SESSION_ENDED, /* the client asked for nothing more, or can't be understood: take no
                      more of its messages, and close when the answers are written */
};

/* Takes a message; it is copied as far as needed. */
ERROR_MUST_CHECK enum session_result session_take(struct session *session, struct text message);

/* Answers with an error, after the answers to come. */
void session_refuse(struct session *session, const char *reason);

/* Appends answers that are there, framed, until out holds limit bytes or more. An
 * export makes its next piece when out has room. Returns false if the answers can't
 * go on (an export broke off): the connection has to be closed. */
ERROR_MUST_CHECK bool session_write(struct session *session, struct buffer *out, size_t limit);

/* Too much is under way: take no more messages for now. */
bool session_is_full(const struct session *session);

/* What session_close would give back at once, in bytes: the rest is being worked on. */
size_t session_idle_bytes(const struct session *session);

/* Others wait for their turn to export, and the client has not taken even a piece of its
 * own export for so long. */
bool session_holds_up(const struct session *session, uint64_t ms);

/* Everything that was taken has been written. */
bool session_is_done(const struct session *session);

#endif

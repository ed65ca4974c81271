/* What all requests of the library do: lock the handle, send, wait for the answer, and
 * describe a failure. Between handle_begin and handle_end the handle is the thread's. */
#ifndef PRSERV_HANDLE_H
#define PRSERV_HANDLE_H

#include "base/address.h"
#include "base/buffer.h"
#include "client/channel.h"
#include "client/field.h"
#include "client/prserv.h"
#include "wire/request.h"

#include <pthread.h>
#include <stdbool.h>

struct prserv {
    pthread_mutex_t mutex; /* guards channel and timeout_ms */
    struct channel channel;
    unsigned timeout_ms; /* until an answer, or its next piece, has to be there */
    struct address address;
    char name[ADDRESS_TEXT_BYTES];
};

/* Takes the lock. */
void handle_begin(struct prserv *server);

/* Gives it back. Returns result, whose error, if it is one, gets host and request put
 * before its reason; a connection that can't be used any further is closed. */
PRSERV_CHECK int handle_end(
    struct prserv *server, enum request_kind kind, int result, struct prserv_error *error);

/* Puts host and request before the error's reason. */
void handle_blame(const struct prserv *server, enum request_kind kind, struct prserv_error *error);

/* Appends the request to lines. Fails with PRSERV_ERROR_ARGUMENT (lines is as before) and
 * _MEMORY. */
PRSERV_CHECK int handle_write(
    struct buffer *lines, const struct request *request, struct prserv_error *error);

/* Connects if need be, sends lines, and waits for the first answer, or, if last is given,
 * for its first piece; both are borrowed as from the channel. */
PRSERV_CHECK int handle_start(struct prserv *server, struct text lines, struct text *answer,
    bool *last, struct prserv_error *error);

/* Waits for one more answer, or the next piece of one. */
PRSERV_CHECK int handle_next(
    struct prserv *server, struct text *answer, bool *last, struct prserv_error *error);

/* handle_begin, a request, its answer; handle_end has to follow. */
PRSERV_CHECK int handle_ask(struct prserv *server, const struct request *request,
    struct text *answer, struct prserv_error *error);

#endif

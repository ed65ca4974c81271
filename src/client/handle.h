/* SPDX-License-Identifier: MIT */
/* The steps of every request of the library: lock the handle, send, wait for the answer, describe a
 * failure. From handle_begin to handle_end, the handle belongs to the calling thread. */
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
    pthread_mutex_t mutex; /* guards channel, timeout_ms and export_ms */
    struct channel channel;
    unsigned timeout_ms; /* for connecting, for an answer, and for each further piece of one */
    unsigned export_ms;  /* for a whole export; 0: no limit */
    struct address address;
    struct tls_context *tls;       /* for an address with TLS, otherwise NULL */
    struct buffer headers;         /* lines for the handshake: prserv_annotate */
    char name[ADDRESS_TEXT_BYTES]; /* the address, for messages */
};

/* Locks the handle. */
void handle_begin(struct prserv *server);

/* Unlocks the handle, and returns result. If that is an error, puts host and request before its
 * reason, and closes the connection unless it is still usable. */
PRSERV_CHECK int handle_end(
    struct prserv *server, enum request_kind kind, int result, struct prserv_error *error);

/* Makes a request about the texts of a row. */
static inline struct request handle_request(
    enum request_kind kind, const struct prserv_row *row, bool history)
{
    return (struct request){
        .kind = kind,
        .version = field_text(row->version),
        .pkgarch = field_text(row->pkgarch),
        .checksum = field_text(row->checksum),
        .value = field_text(row->value),
        .history = history,
    };
}

/* Puts host and request before the reason of an error. */
void handle_blame(const struct prserv *server, enum request_kind kind, struct prserv_error *error);

/* Appends a request to lines. Fails with PRSERV_ERROR_ARGUMENT, which leaves lines as it was, and
 * _MEMORY. */
PRSERV_CHECK int handle_write(
    struct buffer *lines, const struct request *request, struct prserv_error *error);

/* Connects if necessary, sends lines, and waits for the first answer, or, if last is not NULL, for
 * its first piece. The text is borrowed, as from channel_receive. */
PRSERV_CHECK int handle_start(struct prserv *server, struct text lines, struct text *answer,
    bool *last, struct prserv_error *error);

/* Waits for the next answer, or the next piece of one. */
PRSERV_CHECK int handle_next(
    struct prserv *server, struct text *answer, bool *last, struct prserv_error *error);

/* Calls handle_begin, sends one request and waits for its answer, as handle_start does. handle_end
 * must follow. */
PRSERV_CHECK int handle_ask(struct prserv *server, const struct request *request,
    struct text *answer, bool *last, struct prserv_error *error);

/* Reads an answer whose value is a revision, the caller's (free), or NULL. If one is needed, NULL
 * is PRSERV_ERROR_REFUSED. */
PRSERV_CHECK int handle_read_revision(
    struct text answer, bool needed, char **revision, struct prserv_error *error);

/* Checks the answer to an import-one of this value. */
PRSERV_CHECK int handle_read_imported(
    struct text answer, struct text value, struct prserv_error *error);

#endif

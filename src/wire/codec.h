/* SPDX-License-Identifier: MIT */
/* Requests and answers as JSON text, in both directions.
 *
 * The JSON that is written is compact and ASCII, as the protocol asks for: other characters are
 * written as \uXXXX. Functions that append to a buffer leave a lack of memory to
 * buffer_failed. */
#ifndef PRSERVD_CODEC_H
#define PRSERVD_CODEC_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/row.h"
#include "base/text.h"
#include "wire/instances.h"
#include "wire/request.h"

#include <stdbool.h>

enum codec_result {
    CODEC_REQUEST, /* *request is filled; release it with codec_release */
    CODEC_END,     /* the message was null: the client has no more requests */
    /* error says what is wrong with the request; the next one may be valid */
    CODEC_REFUSED = ERROR_INPUT,
    /* error says why the message is not JSON; the connection is of no more use */
    CODEC_LOST = ERROR_FRAMING,
};

/* Reads one message. The request holds copies of its texts, so the message may be freed. */
ERROR_MUST_CHECK enum codec_result codec_read_request(
    struct text message, struct request *request, struct error *error);

/* Frees the texts of a request that was read. */
void codec_release(struct request *request);

/* Appends a text as a JSON string. Each byte that is not UTF-8 becomes U+FFFD. */
void codec_write_string(struct buffer *out, struct text text);

/* Returns how many bytes codec_write_string appends. */
size_t codec_string_bytes(struct text text);

/* ---- answers, as a server makes them ---- */

void codec_write_alive(struct buffer *out);
void codec_write_value(struct buffer *out, const char *revision_or_null);
void codec_write_found(struct buffer *out, bool found);
void codec_write_imported(struct buffer *out, const struct request *request);
void codec_write_null(struct buffer *out);
void codec_write_error(struct buffer *out, const char *message);

/* The answer to is-readonly: what a client may do, and what a server below wants to know. */
struct codec_peer {
    bool is_read_only;
    bool is_stale;              /* its rows come from a standby, so it answers no server below */
    struct instances instances; /* its database and those above; empty for BitBake's server */
};

void codec_write_peer(struct buffer *out, const struct codec_peer *peer);

/* An export is written in pieces: its beginning; each column, if it has column info; the beginning
 * of the rows; each row; its end. */
struct codec_column {
    const char *name;
    const char *type;
    bool not_null;
    const char *default_value; /* NULL: none */
    int primary_key;           /* position in the primary key, from 1; 0: not in it */
};

/* server_version is NULL for an export without column info. */
void codec_write_export_begin(struct buffer *out, const char *server_version);
void codec_write_export_column(struct buffer *out, bool first, const struct codec_column *column);
void codec_write_export_rows(struct buffer *out, bool with_columns);
void codec_write_export_row(struct buffer *out, bool first, const struct row *row);
void codec_write_export_end(struct buffer *out);

/* ---- requests and answers, as clients write and read them ---- */

void codec_write_request(struct buffer *out, const struct request *request);

/* Returns how long a request is as text, as codec_write_request writes it; a get-pr as the longest
 * of the requests that it causes, a test-pr. */
size_t codec_request_bytes(const struct request *request);

/* Appends a request as a message, framed. */
void codec_write_message(struct buffer *lines, const struct request *request);

/* The functions that read an answer return 0, ERROR_INPUT for an invoke-error, in the server's
 * words, and for a value that is not a revision, ERROR_FRAMING for an invalid answer, or
 * ERROR_MEMORY. */

/* Servers before BitBake 2.10 answer revisions as JSON integers. */
enum codec_integers {
    CODEC_INTEGERS_REFUSED,
    CODEC_INTEGERS_TAKEN,
};

/* Reads an answer whose value is a revision or null. *revision is the caller's (free); NULL for
 * null, and on error. */
ERROR_MUST_CHECK int codec_read_value(
    struct text message, enum codec_integers integers, char **revision, struct error *error);

/* Reads an answer whose member of this name is true or false: "value", "alive", "readonly". */
ERROR_MUST_CHECK int codec_read_flag(
    struct text message, const char *member, bool *flag, struct error *error);

/* Reads an answer to is-readonly; members that a server does not send are false and empty. */
ERROR_MUST_CHECK int codec_read_peer(
    struct text message, struct codec_peer *peer, struct error *error);

/* Checks that an answer has a member of this name. */
ERROR_MUST_CHECK int codec_check_answer(
    struct text message, const char *member, struct error *error);

/* Checks that a text is a JSON object. */
ERROR_MUST_CHECK int codec_check_object(struct text json, struct error *error);

/* Reads the value of an invoke-error. Returns ERROR_INPUT, with the reason in it as the error, or
 * ERROR_MEMORY. */
int codec_read_refusal(struct text value, struct error *error);

/* Reads a row of an export, whose value may be an integer. Its texts are borrowed from json and,
 * where they were written with escapes, from *owned, which is the caller's (free), or NULL. Fails
 * with ERROR_MEMORY, and with ERROR_FRAMING if this is not a row. */
ERROR_MUST_CHECK int codec_read_row(
    struct text json, struct row *row, char **owned, struct error *error);

#endif

/* JSON text to requests, and answers to JSON text.
 *
 * The JSON is compact and ASCII, as the protocol asks for: other characters
 * leave as \uXXXX. Functions that append to a buffer report memory through the
 * buffer's failed flag. */
#ifndef PRSERVD_CODEC_H
#define PRSERVD_CODEC_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "wire/request.h"

#include <stdbool.h>

enum codec_result {
    CODEC_REQUEST, /* *request is filled; release it with codec_release */
    CODEC_END,     /* the message null: the client asks for nothing more */
    CODEC_REFUSED, /* error says what is wrong with the request; the next one may be right */
    CODEC_LOST,    /* not JSON: error says where; the connection can't be trusted any more */
};

/* Reads one message. The request owns its texts: message may go. */
ERROR_MUST_CHECK enum codec_result codec_read_request(
    struct text message, struct request *request, struct error *error);

void codec_release(struct request *request);

/* A JSON string: quoted, escaped, ASCII. What is not UTF-8 becomes U+FFFD. */
void codec_write_string(struct buffer *out, struct text text);

/* ---- answers, as a server makes them ---- */

void codec_write_alive(struct buffer *out);
void codec_write_readonly(struct buffer *out, bool read_only);
void codec_write_value(struct buffer *out, const char *revision_or_null);
void codec_write_found(struct buffer *out, bool found);
void codec_write_imported(struct buffer *out, const struct request *request);
void codec_write_null(struct buffer *out);
void codec_write_error(struct buffer *out, const char *message);

/* An export is written in pieces: begin, with column info a column each, rows, a
 * row each, end. */
struct codec_column {
    const char *name;
    const char *type;
    bool not_null;
    const char *default_value; /* NULL: none */
    int primary_key;           /* position in the primary key, from 1; 0: not in it */
};

/* server_version NULL: without column info. */
void codec_write_export_begin(struct buffer *out, const char *server_version);
void codec_write_export_column(struct buffer *out, bool first, const struct codec_column *column);
void codec_write_export_rows(struct buffer *out, bool with_columns);
/* value.bytes NULL stands for a row without value. */
void codec_write_export_row(struct buffer *out, bool first, struct text version,
    struct text pkgarch, struct text checksum, struct text value);
void codec_write_export_end(struct buffer *out);

/* ---- the client's side (codec_client.c) ---- */

void codec_write_request(struct buffer *out, const struct request *request);

/* The functions that read an answer return 0, or ERROR_INPUT for an invoke-error, in the
 * server's own words, and for a value that is no revision, ERROR_FRAMING for what is
 * no answer at all, or ERROR_MEMORY. */

/* Servers before BitBake 2.10 answer revisions as JSON integers. */
enum codec_integers {
    CODEC_INTEGERS_REFUSED,
    CODEC_INTEGERS_TAKEN,
};

/* An answer whose value is a revision or null: *revision is the caller's (free), NULL
 * for null. */
ERROR_MUST_CHECK int codec_read_value(
    struct text message, enum codec_integers integers, char **revision, struct error *error);

/* {"value": true|false}, {"alive": …}, {"readonly": …}: the member's bool. */
ERROR_MUST_CHECK int codec_read_flag(
    struct text message, const char *member, bool *flag, struct error *error);

/* An answer that has this member. */
ERROR_MUST_CHECK int codec_check_answer(
    struct text message, const char *member, struct error *error);

/* Is this a JSON object? */
ERROR_MUST_CHECK int codec_check_object(struct text json, struct error *error);

/* The reason in the value of an invoke-error: ERROR_INPUT, or ERROR_MEMORY where it could not
 * be read. */
int codec_read_refusal(struct text value, struct error *error);

/* A row of an export, whose value may be an integer. Its texts are borrowed from json and
 * from the row until codec_release_row; value.bytes is NULL for a row without value. */
struct codec_row {
    struct text version;
    struct text pkgarch;
    struct text checksum;
    struct text value;
    void *owner;
};

ERROR_MUST_CHECK int codec_read_row(struct text json, struct codec_row *row, struct error *error);
void codec_release_row(struct codec_row *row);

#endif

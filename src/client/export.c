/* SPDX-License-Identifier: MIT */
/* Exports. The answer is taken apart while it arrives, and handed on row by row. */
#include "base/clock.h"
#include "client/client_error.h"
#include "client/handle.h"
#include "client/json_stream.h"
#include "wire/codec.h"

#include <stdlib.h>

struct exporting {
    const struct prserv_export *wanted;
    struct prserv_error *error;
    bool has_metainfo;
    bool has_rows; /* the list of rows has ended */
};

static int client_export_stopped(struct exporting *exporting)
{
    return client_error_set(exporting->error, PRSERV_ERROR_STOPPED, "the caller stopped it");
}

static int client_export_found_row(struct exporting *exporting, struct text json)
{
    struct row row;
    struct prserv_row handed;
    char *owned;
    struct error reason;
    int result = codec_read_row(json, &row, &owned, &reason);

    if (result == ERROR_FRAMING)
        return client_error_set(
            exporting->error, PRSERV_ERROR_PROTOCOL, "it sent an invalid row: %s", reason.text);
    if (result != 0)
        return client_error_from_codec(exporting->error, result, &reason);
    handed = field_of_row(&row);
    result = exporting->wanted->row(exporting->wanted->context, &handed);
    free(owned);
    return result == 0 ? 0 : client_export_stopped(exporting);
}

static int client_export_no_export(struct prserv_error *error)
{
    return client_error_set(
        error, PRSERV_ERROR_PROTOCOL, "it sent an answer that is not an export");
}

static int client_export_found_metainfo(struct exporting *exporting, struct text json)
{
    const struct prserv_export *wanted = exporting->wanted;
    struct error reason;
    int result = codec_check_object(json, &reason);

    if (result == ERROR_MEMORY)
        return client_error_from_codec(exporting->error, result, &reason);
    if (exporting->has_metainfo || result != 0)
        return client_export_no_export(exporting->error);
    exporting->has_metainfo = true;
    if (!wanted->metainfo)
        return 0;
    return wanted->metainfo(wanted->context, field_of(json)) == 0
               ? 0
               : client_export_stopped(exporting);
}

static int client_export_found(
    void *context, enum json_stream_part part, struct text key, struct text value)
{
    struct exporting *exporting = context;

    if (text_is(key, "datainfo")) {
        if (exporting->has_rows || part == JSON_STREAM_MEMBER_VALUE)
            return client_export_no_export(exporting->error);
        exporting->has_rows = part == JSON_STREAM_LIST_END;
        return exporting->has_rows ? 0 : client_export_found_row(exporting, value);
    }
    if (text_is(key, "metainfo"))
        return part == JSON_STREAM_MEMBER_VALUE ? client_export_found_metainfo(exporting, value)
                                                : client_export_no_export(exporting->error);
    if (text_is(key, "invoke-error")) {
        struct error reason;

        return client_error_from_codec(
            exporting->error, codec_read_refusal(value, &reason), &reason);
    }
    return 0;
}

static int client_export_feed(
    struct json_stream *stream, struct text piece, struct prserv_error *error)
{
    int result = json_stream_feed(stream, piece);

    if (result == JSON_STREAM_INVALID)
        return client_export_no_export(error);
    if (result == JSON_STREAM_TOO_LONG)
        return client_error_set(error, PRSERV_ERROR_PROTOCOL, "a row is longer than %zu bytes",
            JSON_STREAM_VALUE_BYTES);
    if (result == JSON_STREAM_NO_MEMORY)
        return client_error_set(error, PRSERV_ERROR_MEMORY, "out of memory");
    return result;
}

/* Fails when the export has taken its longest time. */
static int client_export_check_time(
    const struct prserv *server, uint64_t began_ms, struct prserv_error *error)
{
    if (server->export_ms == 0 || clock_ms() - began_ms < server->export_ms)
        return 0;
    return client_error_set(error, PRSERV_ERROR_TIMEOUT,
        "the answer has not ended in %.6g s, the longest time for an export",
        (double)server->export_ms / 1000);
}

/* Reads the answer to its end, piece by piece. */
static int client_export_read_pieces(struct prserv *server, struct json_stream *stream,
    struct text piece, bool last, struct prserv_error *error)
{
    const uint64_t began_ms = clock_ms();
    int result = client_export_feed(stream, piece, error);

    while (result == 0 && !last) {
        result = client_export_check_time(server, began_ms, error);
        if (result == 0)
            result = handle_next(server, &piece, &last, error);
        if (result == 0)
            result = client_export_feed(stream, piece, error);
    }
    if (result == 0 && !json_stream_is_complete(stream))
        return client_error_set(error, PRSERV_ERROR_PROTOCOL, "the export ended midway");
    /* The rest of an answer that is not read to its end would be taken for the next one. */
    if (result != 0 && !last)
        channel_close(&server->channel);
    return result;
}

static int client_export_read_export(struct prserv *server, const struct prserv_export *wanted,
    struct text piece, bool last, struct prserv_error *error)
{
    struct exporting exporting = {.wanted = wanted, .error = error};
    struct json_stream stream = {.found = client_export_found, .context = &exporting};
    int result = client_export_read_pieces(server, &stream, piece, last, error);

    json_stream_deinit(&stream);
    return result == 0 && !exporting.has_rows ? client_export_no_export(error) : result;
}

int prserv_export(
    struct prserv *server, const struct prserv_export *wanted, struct prserv_error *error)
{
    const struct prserv_row filter = {
        .version = wanted->version, .pkgarch = wanted->pkgarch, .checksum = wanted->checksum};
    struct request request = handle_request(REQUEST_EXPORT, &filter, wanted->history);
    struct text piece;
    bool last;
    int result;

    request.colinfo = wanted->colinfo;
    result = handle_ask(server, &request, &piece, &last, error);
    if (result == 0)
        result = client_export_read_export(server, wanted, piece, last, error);
    return handle_end(server, request.kind, result, error);
}

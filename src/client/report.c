/* SPDX-License-Identifier: MIT */
/* Requests about a server's audit log, and the annotations that this client sends for it. */
#include "client/client_error.h"
#include "client/handle.h"
#include "client/json_stream.h"
#include "wire/codec.h"
#include "wire/handshake.h"

#include <stdlib.h>

#define HEADER_BYTES 8000 /* of a value; with its name below HANDSHAKE_HEADER_BYTES */

/* ---- annotations ---- */

static bool client_report_is_annotation(const char *name)
{
    for (int i = 0; i < HANDSHAKE_ANNOTATIONS; i++) {
        if (strcmp(name, handshake_annotation_names[i]) == 0)
            return true;
    }
    return false;
}

static int client_report_check(const char *name, struct text value, struct prserv_error *error)
{
    if (!client_report_is_annotation(name))
        return client_error_set(error, PRSERV_ERROR_ARGUMENT,
            "can't send the annotation %.40s: the names are build-host, build-name, machine, "
            "distro and layers",
            name);
    if (value.length > HEADER_BYTES || !text_is_utf8(value))
        return client_error_set(error, PRSERV_ERROR_ARGUMENT,
            "can't send the annotation %s: it is not UTF-8, or longer than %d bytes", name,
            HEADER_BYTES);
    for (size_t i = 0; i < value.length; i++) {
        if ((unsigned char)value.bytes[i] < ' ' || value.bytes[i] == 0x7f)
            return client_error_set(error, PRSERV_ERROR_ARGUMENT,
                "can't send the annotation %s: it has a control character", name);
    }
    return 0;
}

int prserv_annotate(
    struct prserv *server, const char *name, const char *value, struct prserv_error *error)
{
    int result = client_report_check(name, text_of(value), error);

    if (result != 0)
        return result;
    handle_begin(server);
    buffer_append_string(&server->headers, "x-");
    buffer_append_string(&server->headers, name);
    buffer_append_string(&server->headers, ": ");
    buffer_append_string(&server->headers, value);
    buffer_append_string(&server->headers, "\n");
    channel_close(&server->channel);
    if (buffer_failed(&server->headers))
        result = client_error_set(error, PRSERV_ERROR_MEMORY, "out of memory");
    else
        *error = (struct prserv_error){.code = 0};
    (void)pthread_mutex_unlock(&server->mutex);
    return result;
}

/* ---- pieces of an answer ---- */

/* Hands on the answer piece by piece. */
static int client_report_read(struct prserv *server, const struct request *request,
    int (*take)(void *context, struct text piece), void *context, struct prserv_error *error)
{
    struct text piece;
    bool last = false;
    int result = handle_ask(server, request, &piece, &last, error);

    if (result == 0)
        result = take(context, piece);
    while (result == 0 && !last) {
        result = handle_next(server, &piece, &last, error);
        if (result == 0)
            result = take(context, piece);
    }
    /* The rest of an answer that is not read to its end would be taken for the next one. */
    if (result != 0 && !last)
        channel_close(&server->channel);
    return result;
}

static int64_t client_report_limit(long long limit)
{
    return limit < 0 ? 0 : limit > 0 ? limit : -1;
}

/* ---- the log ---- */

struct reading {
    struct prserv_log *wanted;
    struct prserv_error *error;
    struct json_stream stream;
    bool has_log;
};

static int client_report_no_log(struct prserv_error *error)
{
    return client_error_set(
        error, PRSERV_ERROR_PROTOCOL, "it sent an answer that is not an audit log");
}

static int client_report_found(
    void *context, enum json_stream_part part, struct text key, struct text value)
{
    struct reading *reading = context;
    struct prserv_log *wanted = reading->wanted;
    struct error reason;

    if (text_is(key, "invoke-error"))
        return client_error_from_codec(reading->error, codec_read_refusal(value, &reason), &reason);
    if (text_is(key, "last") && part == JSON_STREAM_MEMBER_VALUE) {
        char digits[24] = "";

        memcpy(digits, value.bytes, value.length < sizeof digits - 1 ? value.length : 0);
        wanted->last = strtoll(digits, NULL, 10);
        return 0;
    }
    if (!text_is(key, "log") || part == JSON_STREAM_MEMBER_VALUE)
        return 0;
    reading->has_log = part == JSON_STREAM_LIST_END;
    if (reading->has_log)
        return 0;
    if (codec_check_object(value, &reason) != 0)
        return client_report_no_log(reading->error);
    if (wanted->record(wanted->context, field_of(value)) != 0)
        return client_error_set(reading->error, PRSERV_ERROR_STOPPED, "the caller stopped it");
    return 0;
}

static int client_report_feed(void *context, struct text piece)
{
    struct reading *reading = context;
    int result = json_stream_feed(&reading->stream, piece);

    if (result == JSON_STREAM_NO_MEMORY)
        return client_error_set(reading->error, PRSERV_ERROR_MEMORY, "out of memory");
    if (result == JSON_STREAM_INVALID || result == JSON_STREAM_TOO_LONG)
        return client_report_no_log(reading->error);
    return result;
}

int prserv_get_log(struct prserv *server, struct prserv_log *wanted, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_GET_LOG,
        .version = field_text(wanted->version),
        .pkgarch = field_text(wanted->pkgarch),
        .since = wanted->since > 0 ? wanted->since : -1,
        .after = wanted->forward ? wanted->after : -1,
        .limit = client_report_limit(wanted->limit),
    };
    struct reading reading = {.wanted = wanted, .error = error};
    int result;

    reading.stream = (struct json_stream){.found = client_report_found, .context = &reading};
    wanted->last = 0;
    result = client_report_read(server, &request, client_report_feed, &reading, error);
    if (result == 0 && (!json_stream_is_complete(&reading.stream) || !reading.has_log))
        result = client_report_no_log(error);
    json_stream_deinit(&reading.stream);
    return handle_end(server, request.kind, result, error);
}

/* ---- whole answers ---- */

struct collecting {
    struct buffer text;
    struct prserv_error *error;
};

static int client_report_collect(void *context, struct text piece)
{
    struct collecting *collecting = context;

    buffer_append_text(&collecting->text, piece);
    if (buffer_failed(&collecting->text))
        return client_error_set(collecting->error, PRSERV_ERROR_MEMORY, "out of memory");
    return 0;
}

static int client_report_ask(
    struct prserv *server, const struct request *request, char **json, struct prserv_error *error)
{
    struct collecting collecting = {.text = BUFFER_EMPTY, .error = error};
    struct error reason;
    int result = client_report_read(server, request, client_report_collect, &collecting, error);

    *json = NULL;
    if (result == 0 &&
        (result = codec_check_answer(buffer_text(&collecting.text), "revisions", &reason)) != 0)
        result = client_error_from_codec(error, result, &reason);
    if (result == 0) {
        *json = strndup(collecting.text.bytes, collecting.text.length);
        result = *json ? 0 : client_error_set(error, PRSERV_ERROR_MEMORY, "out of memory");
    }
    buffer_free(&collecting.text);
    return handle_end(server, request->kind, result, error);
}

int prserv_get_why(struct prserv *server, struct prserv_text version, struct prserv_text pkgarch,
    char **json, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_GET_WHY, .version = field_text(version), .pkgarch = field_text(pkgarch)};

    return client_report_ask(server, &request, json, error);
}

int prserv_get_churn(struct prserv *server, long long since, long long limit, char **json,
    struct prserv_error *error)
{
    const struct request request = {.kind = REQUEST_GET_CHURN,
        .since = since > 0 ? since : -1,
        .limit = client_report_limit(limit)};

    return client_report_ask(server, &request, json, error);
}

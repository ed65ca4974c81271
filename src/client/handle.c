/* SPDX-License-Identifier: MIT */
/* A handle keeps its connection from call to call. A call uses the one that is there if nothing has
 * arrived on it since. If the server closes that connection before it has answered anything, the
 * call opens another one and sends its requests once more; repeating a request does no harm. A
 * failure on a new connection is final. */
#include "client/handle.h"

#include "client/client_error.h"
#include "client/client_tls.h"
#include "wire/codec.h"

#include <stdlib.h>

/* ---- opening and closing ---- */

/* Connects a new handle. */
static int handle_open(
    struct prserv *server, const struct prserv_tls *tls, struct prserv_error *error)
{
    int result = 0;

    if (server->address.is_tls)
        result = client_tls_open(&server->tls, tls, error);
    channel_init(&server->channel, client_tls_module(), server->tls);
    channel_hurry(&server->channel, server->timeout_ms);
    return result == 0 ? channel_open(&server->channel, &server->address, text_of(""), error)
                       : result;
}

int prserv_connect(
    struct prserv **server, const char *address, unsigned timeout_ms, struct prserv_error *error)
{
    return prserv_connect_tls(server, address, NULL, timeout_ms, error);
}

int prserv_connect_tls(struct prserv **result, const char *address, const struct prserv_tls *tls,
    unsigned timeout_ms, struct prserv_error *error)
{
    struct prserv *server = calloc(1, sizeof *server);
    struct prserv_error failure;
    struct error reason;

    *result = NULL;
    if (!server)
        return client_error_set(
            error, PRSERV_ERROR_MEMORY, "%.300s: can't connect: out of memory", address);
    if (address_parse(&server->address, address, &reason) != 0) {
        free(server);
        return client_error_set(
            error, PRSERV_ERROR_ARGUMENT, "%.200s: can't connect: %s", address, reason.text);
    }
    (void)pthread_mutex_init(&server->mutex, NULL);
    address_format(&server->address, server->name);
    server->timeout_ms = timeout_ms;
    server->export_ms = PRSERV_EXPORT_MS;
    if (handle_open(server, tls, &failure) != 0) {
        (void)client_error_set(error, failure.code, "%s: %s", server->name, failure.text);
        prserv_close(server);
        return error->code;
    }
    *error = (struct prserv_error){.code = 0};
    *result = server;
    return 0;
}

void prserv_close(struct prserv *server)
{
    if (!server)
        return;
    channel_close(&server->channel);
    if (server->tls)
        client_tls_module()->context_close(server->tls);
    buffer_free(&server->headers);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
}

void prserv_set_timeout(struct prserv *server, unsigned timeout_ms)
{
    (void)pthread_mutex_lock(&server->mutex);
    server->timeout_ms = timeout_ms;
    (void)pthread_mutex_unlock(&server->mutex);
}

void prserv_set_export_time(struct prserv *server, unsigned longest_ms)
{
    (void)pthread_mutex_lock(&server->mutex);
    server->export_ms = longest_ms;
    (void)pthread_mutex_unlock(&server->mutex);
}

const char *prserv_address(const struct prserv *server)
{
    return server->name;
}

/* ---- begin and end of a call ---- */

void handle_begin(struct prserv *server)
{
    (void)pthread_mutex_lock(&server->mutex);
}

/* Returns whether the connection is usable after this result. Where memory ran out, part of an
 * answer may not have been read. */
static bool handle_keeps_connection(int result)
{
    return result == 0 || result == PRSERV_ERROR_REFUSED || result == PRSERV_ERROR_ARGUMENT ||
           result == PRSERV_ERROR_STOPPED;
}

int handle_end(
    struct prserv *server, enum request_kind kind, int result, struct prserv_error *error)
{
    if (!handle_keeps_connection(result))
        channel_close(&server->channel);
    if (result != 0)
        handle_blame(server, kind, error);
    else
        *error = (struct prserv_error){.code = 0};
    (void)pthread_mutex_unlock(&server->mutex);
    return result;
}

void handle_blame(const struct prserv *server, enum request_kind kind, struct prserv_error *error)
{
    const struct prserv_error reason = *error;
    const char *name = request_name(kind);
    const char *text = reason.text;

    if (strncmp(text, name, strlen(name)) == 0 && strncmp(text + strlen(name), ": ", 2) == 0)
        text += strlen(name) + 2; /* the server has named it, too */
    (void)client_error_set(error, reason.code, "%s: %s: %s", server->name, name, text);
}

/* ---- asking ---- */

static int handle_check_text(struct text text, const char *name, struct prserv_error *error)
{
    if (text_is_utf8(text))
        return 0;
    return client_error_set(error, PRSERV_ERROR_ARGUMENT, "the %s is not UTF-8", name);
}

int handle_write(struct buffer *lines, const struct request *request, struct prserv_error *error)
{
    if (handle_check_text(request->version, "version", error) != 0 ||
        handle_check_text(request->pkgarch, "pkgarch", error) != 0 ||
        handle_check_text(request->checksum, "checksum", error) != 0 ||
        handle_check_text(request->value, "value", error) != 0)
        return error->code;
    codec_write_message(lines, request);
    return buffer_failed(lines) ? client_error_set(error, PRSERV_ERROR_MEMORY, "out of memory") : 0;
}

static int handle_round_trip(struct prserv *server, struct text lines, struct text *answer,
    bool *last, struct prserv_error *error)
{
    int result = 0;

    if (server->channel.descriptor < 0)
        result =
            channel_open(&server->channel, &server->address, buffer_text(&server->headers), error);
    if (result == 0)
        result = channel_send(&server->channel, lines, error);
    return result == 0 ? channel_receive(&server->channel, answer, last, error) : result;
}

int handle_start(struct prserv *server, struct text lines, struct text *answer, bool *last,
    struct prserv_error *error)
{
    bool kept = server->channel.descriptor >= 0 && channel_is_quiet(&server->channel);
    int result;

    if (!kept)
        channel_close(&server->channel);
    channel_hurry(&server->channel, server->timeout_ms);
    result = handle_round_trip(server, lines, answer, last, error);
    if (result != PRSERV_ERROR_CONNECTION || !kept || server->channel.has_received)
        return result;
    channel_close(&server->channel);
    return handle_round_trip(server, lines, answer, last, error);
}

int handle_next(struct prserv *server, struct text *answer, bool *last, struct prserv_error *error)
{
    channel_hurry(&server->channel, server->timeout_ms);
    return channel_receive(&server->channel, answer, last, error);
}

int handle_ask(struct prserv *server, const struct request *request, struct text *answer,
    bool *last, struct prserv_error *error)
{
    struct buffer line = BUFFER_EMPTY;
    int result;

    handle_begin(server);
    result = handle_write(&line, request, error);
    if (result == 0)
        result = handle_start(server, buffer_text(&line), answer, last, error);
    buffer_free(&line);
    return result;
}

/* ---- reading the answer ---- */

int handle_read_revision(
    struct text answer, bool needed, char **revision, struct prserv_error *error)
{
    struct error reason;
    int result = codec_read_value(answer, CODEC_INTEGERS_TAKEN, revision, &reason);

    if (result != 0)
        return client_error_from_codec(error, result, &reason);
    if (needed && !*revision)
        return client_error_set(error, PRSERV_ERROR_REFUSED, "the server gave no revision");
    return 0;
}

/* A read-only server answers null. */
int handle_read_imported(struct text answer, struct text value, struct prserv_error *error)
{
    char *revision = NULL;
    int result;

    if (text_is(answer, "null"))
        return client_error_set(error, PRSERV_ERROR_REFUSED, "the server is read-only");
    result = handle_read_revision(answer, true, &revision, error);
    if (result == 0 && !text_is(value, revision))
        result =
            client_error_set(error, PRSERV_ERROR_REFUSED, "the server holds %.100s instead of %.*s",
                revision, value.length < 100 ? (int)value.length : 100, value.bytes);
    free(revision);
    return result;
}

/* A handle is a connection that comes and goes. A call that finds one from before takes
 * it if it is quiet. Should the server close it all the same before it has answered
 * anything, the call opens another one and sends once more: no request does harm twice.
 * What fails on a new connection has failed. */
#include "client/handle.h"

#include "client/fail.h"
#include "wire/codec.h"

#include <stdlib.h>

/* ---- a handle's life ---- */

static int describe_connect(const struct prserv *server, struct prserv_error *error)
{
    const struct prserv_error reason = *error;

    return fail(error, reason.code, "%s: can't connect: %s", server->name, reason.text);
}

int prserv_connect(
    struct prserv **result, const char *address, unsigned timeout_ms, struct prserv_error *error)
{
    struct prserv *server = calloc(1, sizeof *server);
    struct error reason;

    *result = NULL;
    if (!server)
        return fail(error, PRSERV_ERROR_MEMORY, "%.300s: can't connect: out of memory", address);
    channel_init(&server->channel);
    if (address_parse(&server->address, address, &reason) != 0) {
        free(server);
        return fail(
            error, PRSERV_ERROR_ARGUMENT, "%.200s: can't connect: %s", address, reason.text);
    }
    (void)pthread_mutex_init(&server->mutex, NULL);
    address_format(&server->address, server->name);
    server->timeout_ms = timeout_ms;
    channel_hurry(&server->channel, timeout_ms);
    if (channel_open(&server->channel, &server->address, error) != 0) {
        (void)describe_connect(server, error);
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
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
}

void prserv_set_timeout(struct prserv *server, unsigned timeout_ms)
{
    (void)pthread_mutex_lock(&server->mutex);
    server->timeout_ms = timeout_ms;
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

/* Is the connection as good after this as before? Where memory ran out, an answer may
 * have been read in part. */
static bool keeps_connection(int code)
{
    return code == 0 || code == PRSERV_ERROR_REFUSED || code == PRSERV_ERROR_ARGUMENT ||
           code == PRSERV_ERROR_STOPPED;
}

int handle_end(
    struct prserv *server, enum request_kind kind, int result, struct prserv_error *error)
{
    if (!keeps_connection(result))
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
        text += strlen(name) + 2; /* the server names it too */
    (void)fail(error, reason.code, "%s: %s: %s", server->name, name, text);
}

/* ---- asking ---- */

static int check_text(struct text text, const char *name, struct prserv_error *error)
{
    if (text_is_utf8(text))
        return 0;
    return fail(error, PRSERV_ERROR_ARGUMENT, "the %s is not UTF-8", name);
}

int handle_write(struct buffer *lines, const struct request *request, struct prserv_error *error)
{
    struct buffer text = BUFFER_EMPTY;

    if (check_text(request->version, "version", error) != 0 ||
        check_text(request->pkgarch, "pkgarch", error) != 0 ||
        check_text(request->checksum, "checksum", error) != 0 ||
        check_text(request->value, "value", error) != 0)
        return error->code;
    codec_write_request(&text, request);
    lines->failed = lines->failed || buffer_failed(&text);
    framer_write(lines, buffer_text(&text));
    buffer_free(&text);
    return buffer_failed(lines) ? fail(error, PRSERV_ERROR_MEMORY, "out of memory") : 0;
}

static int describe_reconnect(struct prserv_error *error)
{
    const struct prserv_error reason = *error;

    return fail(error, reason.code, "can't connect: %s", reason.text);
}

static int exchange(struct prserv *server, struct text lines, struct text *answer, bool *last,
    struct prserv_error *error)
{
    int result = 0;

    if (server->channel.descriptor < 0) {
        result = channel_open(&server->channel, &server->address, error);
        if (result != 0)
            return describe_reconnect(error);
    }
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
    result = exchange(server, lines, answer, last, error);
    if (result != PRSERV_ERROR_CONNECTION || !kept || server->channel.heard)
        return result;
    channel_close(&server->channel);
    return exchange(server, lines, answer, last, error);
}

int handle_next(struct prserv *server, struct text *answer, bool *last, struct prserv_error *error)
{
    channel_hurry(&server->channel, server->timeout_ms);
    return channel_receive(&server->channel, answer, last, error);
}

int handle_ask(struct prserv *server, const struct request *request, struct text *answer,
    struct prserv_error *error)
{
    struct buffer line = BUFFER_EMPTY;
    int result;

    handle_begin(server);
    result = handle_write(&line, request, error);
    if (result == 0)
        result = handle_start(server, buffer_text(&line), answer, NULL, error);
    buffer_free(&line);
    return result;
}

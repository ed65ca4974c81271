/* SPDX-License-Identifier: MIT */
#include "bench/sealed.h"

#ifdef PRSERV_TLS

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int sealed_prepare(struct tls_context **context, struct error *error)
{
    const struct tls_options options = {.ca = getenv("PRSERV_TLS_CA"),
        .certificate = getenv("PRSERV_TLS_CERT"),
        .key = getenv("PRSERV_TLS_KEY")};

    return tls_context_open(context, &options, error);
}

/* Sends what TLS has for the network; the socket has room for it. */
static bool sealed_flush(struct tls_session *session, int descriptor)
{
    struct buffer out = BUFFER_EMPTY;
    bool is_sent;

    tls_take_output(session, &out);
    is_sent = !buffer_failed(&out) && (out.length == 0 || send(descriptor, out.bytes, out.length,
                                                              MSG_NOSIGNAL) == (ssize_t)out.length);
    buffer_free(&out);
    return is_sent;
}

static bool sealed_wait(struct tls_session *session, int descriptor, int timeout_ms)
{
    struct pollfd ready = {.fd = descriptor, .events = POLLIN};
    char bytes[16 * 1024];
    ssize_t got;

    if (poll(&ready, 1, timeout_ms) <= 0)
        return false;
    got = recv(descriptor, bytes, sizeof bytes, 0);
    return got > 0 && tls_receive(session, bytes, (size_t)got) == 0;
}

int sealed_open(struct tls_session **session, struct tls_context *context, const char *host,
    int descriptor, int timeout_ms, struct error *error)
{
    enum tls_result result = TLS_MORE;
    struct error reason = {.text = "the connection broke, or took too long"};

    if (tls_open(session, context, host, error) != 0)
        return ERROR_SYSTEM;
    for (;;) {
        result = tls_negotiate(*session, &reason);
        if (!sealed_flush(*session, descriptor) || result != TLS_MORE ||
            !sealed_wait(*session, descriptor, timeout_ms))
            break;
    }
    if (result == TLS_OK)
        return 0;
    sealed_close(*session);
    *session = NULL;
    return error_set(error, ERROR_SYSTEM, "TLS: %s", reason.text);
}

bool sealed_write(struct tls_session *session, struct buffer *plain, struct buffer *out)
{
    struct error ignored;
    const bool is_good =
        plain->length == 0 || tls_write(session, buffer_text(plain), &ignored) == TLS_OK;

    buffer_reset(plain, BUFFER_KEEP_BYTES);
    tls_take_output(session, out);
    return is_good;
}

bool sealed_read(struct tls_session *session, struct text bytes, struct buffer *plain)
{
    enum tls_result result = TLS_OK;
    struct error ignored;

    if (tls_receive(session, bytes.bytes, bytes.length) != 0)
        return false;
    while (result == TLS_OK) {
        char piece[16 * 1024];
        size_t length;

        result = tls_read(session, piece, sizeof piece, &length, &ignored);
        if (result == TLS_OK)
            buffer_append(plain, piece, length);
    }
    return result == TLS_MORE && !buffer_failed(plain);
}

void sealed_close(struct tls_session *session)
{
    tls_close(session);
}

#else

#include <stdlib.h>

int sealed_prepare(struct tls_context **context, struct error *error)
{
    *context = NULL;
    return error_set(error, ERROR_INPUT, "this program was built without TLS (-Dtls=disabled)");
}

int sealed_open(struct tls_session **session, struct tls_context *context, const char *host,
    int descriptor, int timeout_ms, struct error *error)
{
    (void)context;
    (void)host;
    (void)descriptor;
    (void)timeout_ms;
    *session = NULL;
    return error_set(error, ERROR_SYSTEM, "no TLS");
}

bool sealed_write(struct tls_session *session, struct buffer *plain, struct buffer *out)
{
    (void)session;
    (void)plain;
    (void)out;
    abort();
}

bool sealed_read(struct tls_session *session, struct text bytes, struct buffer *plain)
{
    (void)session;
    (void)bytes;
    (void)plain;
    abort();
}

void sealed_close(struct tls_session *session)
{
    (void)session;
}

#endif

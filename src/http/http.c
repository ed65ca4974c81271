/* SPDX-License-Identifier: MIT */
/* Between libmicrohttpd and the routes. The library calls back on its own threads:
 *
 *     http_on_connection  a connection was opened, or is about to be closed
 *     http_on_target      the first line of a request was read: makes the exchange
 *     http_on_request     its headers were read; again when it is complete; and again when the
 *                         worker has resumed it. An answer at the first call closes the
 *                         connection after it: so are bodies refused
 *     http_on_completed   the answer was sent, or the connection is gone: frees the exchange
 *
 * A suspended connection is left alone until the worker resumes it, even if the client is gone; so
 * the worker never meets an exchange that was freed. */
#include "http/http.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 256
#define MAX_PER_ADDRESS 128
#define MAX_REQUEST_BYTES (16 * 1024) /* of the first line and the headers */
#define IDLE_S 20                     /* as PEERS_ANSWER_MS */

/* ---- requests ---- */

static void *http_on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    struct http_exchange *exchange = calloc(1, sizeof *exchange);

    (void)context;
    if (!exchange)
        return NULL;
    exchange->connection = connection;
    exchange->target = strdup(target);
    return exchange;
}

static void http_add_headers(struct MHD_Response *response, const struct http_answer *answer)
{
    const bool is_file = answer->file != NULL;

    (void)MHD_add_response_header(response, "Content-Type", answer->content_type);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    (void)MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
    (void)MHD_add_response_header(response, "Content-Security-Policy",
        is_file ? PAGE_POLICY : "default-src 'none'; frame-ancestors 'none'");
    (void)MHD_add_response_header(response, "Cache-Control", is_file ? "no-cache" : "no-store");
    if (is_file)
        (void)MHD_add_response_header(response, "ETag", answer->file->tag);
    if (is_file)
        (void)MHD_add_response_header(response, "Vary", "Accept-Encoding");
    if (is_file && answer->takes_gzip)
        (void)MHD_add_response_header(response, "Content-Encoding", "gzip");
    if (answer->status == 405)
        (void)MHD_add_response_header(response, "Allow", "GET, HEAD");
    if (answer->status == 503)
        (void)MHD_add_response_header(response, "Retry-After", "2");
}

/* Makes a response of bytes that stay where they are. The library only reads them, but its
 * parameter is not const. */
static struct MHD_Response *http_make_static_response(const void *bytes, size_t length)
{
    const union {
        const void *given;
        void *taken;
    } body = {.given = bytes};

    return MHD_create_response_from_buffer(length, body.taken, MHD_RESPMEM_PERSISTENT);
}

/* Makes the response; the body of the answer becomes the library's. */
static struct MHD_Response *http_make_response(struct http_answer *answer)
{
    const struct page_file *file = answer->file;
    struct MHD_Response *response;

    if (file && answer->status == 304)
        return http_make_static_response(NULL, 0);
    if (file && answer->takes_gzip)
        return http_make_static_response(file->gzip, file->gzip_length);
    if (file)
        return http_make_static_response(file->bytes, file->length);
    response = MHD_create_response_from_buffer(
        answer->body.length, answer->body.bytes, MHD_RESPMEM_MUST_FREE);
    if (response)
        answer->body = BUFFER_EMPTY;
    return response;
}

/* Sends the answer. MHD_NO closes the connection. */
static enum MHD_Result http_send(struct http_exchange *exchange)
{
    struct http_answer *answer = &exchange->answer;
    struct MHD_Response *response =
        buffer_failed(&answer->body) ? NULL : http_make_response(answer);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    http_add_headers(response, answer);
    result = MHD_queue_response(exchange->connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result http_on_request(void *context, struct MHD_Connection *connection,
    const char *url, const char *method, const char *version, const char *body, size_t *body_length,
    void **exchange_at)
{
    struct http *http = context;
    struct http_exchange *exchange = *exchange_at;

    (void)connection;
    (void)url;
    (void)body;
    (void)body_length;
    if (!exchange)
        return MHD_NO;
    if (!exchange->has_begun) {
        pace_request();
        exchange->has_begun = true;
        exchange->is_answered = routes_begin(http, exchange, method, version);
        return exchange->is_answered && exchange->answer.status >= 400 ? http_send(exchange)
                                                                       : MHD_YES;
    }
    if (!exchange->is_answered) {
        if (worker_add(http, exchange))
            return MHD_YES;
        answer_set_error(&exchange->answer, 503, "the server is stopping");
        exchange->is_answered = true;
    }
    return http_send(exchange);
}

static void http_on_completed(void *context, struct MHD_Connection *connection, void **exchange_at,
    enum MHD_RequestTerminationCode code)
{
    struct http *http = context;
    struct http_exchange *exchange = *exchange_at;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK && info)
        peers_answered(&http->peers, info->socket_context);
    if (!exchange)
        return;
    answer_free(&exchange->answer);
    free(exchange->target);
    free(exchange);
    *exchange_at = NULL;
}

static void http_on_connection(void *context, struct MHD_Connection *connection, void **peer_at,
    enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    const union MHD_ConnectionInfo *info;

    pace_be_nice();
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        peers_remove(&http->peers, *peer_at);
        *peer_at = NULL;
        return;
    }
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info)
        *peer_at = peers_add(&http->peers, info->connect_fd);
}

/* ---- start and end ---- */

/* Starts a daemon of the library on a duplicate of the socket, because the library closes it. */
static struct MHD_Daemon *http_start_daemon(struct http *http, int socket)
{
    const int duplicate = fcntl(socket, F_DUPFD_CLOEXEC, 3);
    struct MHD_Daemon *daemon;

    if (duplicate < 0)
        return NULL;
    daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL,
        NULL, http_on_request, http, MHD_OPTION_LISTEN_SOCKET, duplicate,
        MHD_OPTION_URI_LOG_CALLBACK, http_on_target, http, MHD_OPTION_NOTIFY_COMPLETED,
        http_on_completed, http, MHD_OPTION_NOTIFY_CONNECTION, http_on_connection, http,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)MAX_PER_ADDRESS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MAX_REQUEST_BYTES, MHD_OPTION_END);
    if (!daemon)
        (void)close(duplicate);
    return daemon;
}

static int http_start_daemons(
    struct http *http, const struct http_options *options, struct error *error)
{
    http->daemons = calloc(options->n_sockets, sizeof(struct MHD_Daemon *));
    if (!http->daemons)
        return error_set_memory(error);
    for (size_t i = 0; i < options->n_sockets; i++) {
        struct MHD_Daemon *daemon = http_start_daemon(http, options->sockets[i]);

        if (!daemon)
            return error_set(error, ERROR_SYSTEM,
                "can't serve HTTP: libmicrohttpd does not start (%s); raise the limits of threads "
                "and descriptors",
                strerror(errno));
        http->daemons[http->n_daemons++] = daemon;
    }
    return 0;
}

static void http_stop(struct http *http)
{
    if (!http)
        return;
    worker_stop_http(http);
    for (size_t i = 0; i < http->n_daemons; i++)
        MHD_stop_daemon(http->daemons[i]);
    store_close(http->store);
    buffer_free(&http->status);
    free(http->daemons);
    peers_deinit(&http->peers);
    (void)pthread_mutex_destroy(&http->check.mutex);
    (void)pthread_cond_destroy(&http->arrived);
    (void)pthread_mutex_destroy(&http->mutex);
    free(http);
}

static int http_start(
    struct http **started, const struct http_options *options, struct error *error)
{
    struct http *http = calloc(1, sizeof *http);
    pthread_condattr_t attributes;
    int result;

    *started = NULL;
    if (!http)
        return error_set_memory(error);
    http->source = options->source;
    http->log = options->log;
    http->started_s = (uint64_t)time(NULL);
    STAILQ_INIT(&http->queue);
    peers_init(&http->peers);
    (void)pthread_mutex_init(&http->check.mutex, NULL);
    (void)pthread_mutex_init(&http->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&http->arrived, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    result = worker_start_http(http, error);
    if (result == 0)
        result = http_start_daemons(http, options, error);
    if (result != 0) {
        http_stop(http);
        return result;
    }
    *started = http;
    return 0;
}

__attribute__((visibility("default"))) const struct http_module HTTP_MODULE = {
    .start = http_start,
    .stop = http_stop,
};

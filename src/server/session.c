/* SPDX-License-Identifier: MIT */
/* The queue of a client's calls, and which of them may run. call.h shows the stages of one call.
 *
 * CHECKING and ASKING begin as soon as a message is taken. Running is ordered: calls that write
 * run in the executor's queue, one after the other, and share a commit. Calls that read wait for
 * the calls before them that write, and calls that write wait for the calls before them that
 * read. */
#include "server/session.h"

#include "server/call.h"
#include "wire/codec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CALLS 128
#define MOST_GROWTH 8 /* a byte may be written as six, and defaults are written as well */
#define MAX_BYTES ((size_t)1024 * 1024) /* of requests under way; a single one may be longer */

struct session {
    const struct server_context *server;
    struct session_client client;
    bool input_ended;
    void (*progress)(void *context);
    void (*charged)(void *context); /* NULL: nobody wants to know */
    void *context;
    size_t held_bytes; /* of all calls */
    bool is_closed;
    TAILQ_HEAD(call_list, call) calls; /* in the order of their messages */
    unsigned n_calls;
    size_t bytes;       /* length of their messages */
    struct call *next;  /* the first that may have to be run; NULL: none */
    unsigned n_reading; /* calls that are RUNNING, by what they do */
    unsigned n_writing;
    bool is_reading; /* a thread reads a long message; nothing is taken meanwhile */
    bool has_ended;  /* take no more messages */
};

/* ---- the queue ---- */

static void session_on_call_moved(struct call *call, enum call_stage before);

/* Follows what a call takes from the budget. */
static void session_on_call_charged(const struct call *call, size_t before_bytes)
{
    struct session *session = call->session;
    const size_t change = call->held_bytes - before_bytes; /* may be below zero, and wrap */

    session->held_bytes += change;
    if (session->is_closed)
        session->server->budget->leaving += change;
    else if (session->charged)
        session->charged(session->context);
}

/* Adds a call to the queue. */
static void session_add_call(struct session *session, struct call *call)
{
    call->session = session;
    call->moved = session_on_call_moved;
    call->charged = session_on_call_charged;
    if (session->input_ended)
        call_end_waiting(call);
    TAILQ_INSERT_TAIL(&session->calls, call, entry);
    session->n_calls++;
    session->bytes += call->message_bytes;
    if (!session->next)
        session->next = call;
}

/* Adds a call for a request, which is taken over. Returns NULL if there is no memory. */
static struct call *session_add_request(
    struct session *session, struct request *request, size_t message_bytes)
{
    struct call *call = call_create(session->server, &session->client, request, message_bytes);

    if (call)
        session_add_call(session, call);
    return call;
}

static void session_remove_call(struct session *session, struct call *call)
{
    assert(session->next != call);
    TAILQ_REMOVE(&session->calls, call, entry);
    session->n_calls--;
    session->bytes -= call->message_bytes;
    call_free(call);
}

/* ---- running ---- */

/* Returns the count of RUNNING calls to which the call belongs. */
static unsigned *session_running_count(struct session *session, const struct call *call)
{
    return call_is_write(call) ? &session->n_writing : &session->n_reading;
}

static void session_run_call(struct session *session, struct call *call)
{
    *session_running_count(session, call) += 1;
    call_run(call);
}

/* Checks the order of running. A scan also has to be the client's first call: its pieces are
 * written as they are made. */
static bool session_is_turn_of(const struct session *session, const struct call *call)
{
    if (call_is_scan(call) && call != TAILQ_FIRST(&session->calls))
        return false;
    return call_is_write(call) ? session->n_reading == 0 : session->n_writing == 0;
}

/* Runs all calls that may run now, up to the first that has to wait. */
static void session_advance(struct session *session)
{
    struct call *call;

    while ((call = session->next) && call_is_idle(call)) {
        if (call->stage == CALL_READY) {
            if (!session_is_turn_of(session, call))
                return;
            session_run_call(session, call);
        }
        session->next = TAILQ_NEXT(call, entry);
    }
}

static void session_free_if_unused(struct session *session)
{
    if (!TAILQ_EMPTY(&session->calls))
        return;
    buffer_free(&session->client.annotations);
    buffer_free(&session->client.subject);
    if (session->server->relay && session->client.pool != relay_shared_pool(session->server->relay))
        relay_pool_close(session->client.pool);
    free(session);
}

static void session_start_read(struct session *session, struct call *call);

/* Continues after a thread, the executor or the upstream is done with a call. */
static void session_on_call_moved(struct call *call, enum call_stage before)
{
    struct session *session = call->session;

    if (before == CALL_RUNNING)
        *session_running_count(session, call) -= 1;
    if (call->is_abandoned) {
        session_remove_call(session, call);
        session_free_if_unused(session);
        return;
    }
    if (before == CALL_READING)
        session_start_read(session, call);
    session_advance(session);
    session->progress(session->context);
}

/* ---- messages ---- */

void session_end_input(struct session *session)
{
    struct call *call;

    if (session->input_ended)
        return;
    session->input_ended = true;
    TAILQ_FOREACH (call, &session->calls, entry)
        call_end_waiting(call);
}

/* Refuses a request that is too long in the form in which it would be sent on to an upstream:
 * characters outside ASCII are escaped there. */
static int session_check_length(const struct session *session, const struct request *request,
    size_t request_bytes, struct error *error)
{
    const size_t limit = session->server->max_message_bytes;

    if (request_bytes <= limit)
        return 0;
    return error_set(error, ERROR_INPUT,
        "%s: the request is longer than %zu bytes with its characters outside ASCII written as "
        "\\uXXXX; the limit is --max-message-bytes",
        request_name(request->kind), limit);
}

static int session_check_rights(
    const struct session *session, const struct request *request, struct error *error)
{
    if (request->kind != REQUEST_IMPORT_ONE || session->client.may_import ||
        session->client.is_read_only) /* which is answered with null */
        return 0;
    return error_set(error, ERROR_INPUT,
        "import-one is refused: this address of the server only assigns revisions (,assign); ask "
        "for one with full rights");
}

/* Makes a request one in history mode if the listener says so. A server that asks its upstream has
 * a listener of its own, which has decided that for its clients. */
static void session_set_mode(const struct session *session, struct request *request)
{
    const bool is_asked = request->kind == REQUEST_GET_PR || request->kind == REQUEST_TEST_PR;

    if (is_asked && session->client.wants_history && !session->client.is_from_server)
        request->history = true;
}

/* Returns how long a request is as it would be sent on. Only a long message can be too long. */
static size_t session_request_bytes(
    const struct session *session, const struct request *request, size_t message_bytes)
{
    return message_bytes < session->server->max_message_bytes / MOST_GROWTH
               ? 0
               : codec_request_bytes(request);
}

/* Looks at a request that was read with this result. Returns the result, or that it is refused. */
static enum codec_result session_check(const struct session *session, struct request *request,
    enum codec_result result, size_t request_bytes, struct error *error)
{
    if (request->kind < REQUEST_KINDS)
        session->server->stats->requests[request->kind]++;
    session_set_mode(session, request);
    if (result == CODEC_REQUEST &&
        (session_check_length(session, request, request_bytes, error) != 0 ||
            session_check_rights(session, request, error) != 0))
        return CODEC_REFUSED;
    return result;
}

/* Answers a call whose message was read with this result. */
static enum session_result session_start_call(
    struct call *call, enum codec_result result, const struct error *error)
{
    if (result == CODEC_REQUEST)
        call_start(call);
    else
        call_refuse(call, error->text);
    return result == CODEC_LOST ? SESSION_ENDED : SESSION_CONTINUES;
}

static enum session_result session_fail_to_add(const struct session *session)
{
    log_often(session->server->log, LOG_ERROR, "No memory for a request");
    return SESSION_ENDED;
}

enum session_result session_take(struct session *session, struct text message)
{
    struct request request;
    struct error error;
    enum codec_result result = codec_read_request(message, &request, &error);
    enum session_result taken;
    struct call *call;

    if (result == CODEC_END)
        return SESSION_ENDED;
    result = session_check(session, &request, result,
        result == CODEC_REQUEST ? session_request_bytes(session, &request, message.length) : 0,
        &error);
    call = session_add_request(session, &request, message.length);
    if (!call)
        return session_fail_to_add(session);
    taken = session_start_call(call, result, &error);
    session_advance(session);
    return taken;
}

enum session_result session_take_long(struct session *session, struct buffer message)
{
    struct call *call = call_create_long(session->server, &session->client, message);

    if (!call)
        return session_fail_to_add(session);
    session_add_call(session, call);
    session->is_reading = true;
    call_read(call);
    return SESSION_CONTINUES;
}

/* Starts a call whose message has been read by a thread. */
static void session_start_read(struct session *session, struct call *call)
{
    struct message_reading *reading = call->reading;
    enum codec_result result = reading->result;

    session->is_reading = false;
    if (result == CODEC_END) {
        session->has_ended = true;
        if (session->next == call)
            session->next = TAILQ_NEXT(call, entry);
        session_remove_call(session, call);
        return;
    }
    if (session->input_ended)
        call_end_waiting(call);
    result =
        session_check(session, &call->request, result, reading->request_bytes, &reading->error);
    if (session_start_call(call, result, &reading->error) == SESSION_ENDED)
        session->has_ended = true;
}

void session_refuse(struct session *session, const char *reason)
{
    struct request none = {.kind = REQUEST_KINDS};
    struct call *call = session_add_request(session, &none, 0);

    if (!call)
        return;
    call_refuse(call, reason);
    session_advance(session);
}

/* ---- writing ---- */

/* Makes the next piece of an export, if the last one was written. */
static void session_request_piece(struct session *session, struct call *call)
{
    if (call_wants_piece(call))
        session_run_call(session, call);
}

/* Writes what the first call has. Returns false if it can't be completed. */
static bool session_write_first(
    struct session *session, struct call *call, struct buffer *out, uint64_t now_us)
{
    const bool is_fast = call_is_read_fast(call);

    switch (call_write(call, out)) {
    case CALL_WRITTEN:
        call_note_written(call, now_us);
        session_remove_call(session, call);
        break;
    case CALL_PIECE_WRITTEN:
        if (is_fast)
            session_request_piece(session, call);
        break;
    case CALL_BROKEN:
        return false;
    }
    return true;
}

/* A piece of an export is written when the client has read the one before. Only for a client that
 * has done so quickly the next one is made meanwhile. */
bool session_write(struct session *session, struct buffer *out, size_t limit)
{
    struct call *call = TAILQ_FIRST(&session->calls);
    const uint64_t now_us = call && call->stage == CALL_ANSWERED ? clock_us() : 0;

    while (out->length < limit && (call = TAILQ_FIRST(&session->calls)) &&
           call->stage == CALL_ANSWERED) {
        if (call->pieces && call->pieces->has_begun && out->length > 0)
            break;
        if (call_wants_piece(call))
            session_request_piece(session, call);
        else if (!session_write_first(session, call, out, now_us))
            return false;
    }
    session_advance(session); /* a scan may have become the first */
    return true;
}

/* ---- state ---- */

bool session_is_full(const struct session *session)
{
    return session->n_calls >= MAX_CALLS || session->bytes >= MAX_BYTES || session->is_reading;
}

bool session_has_ended(const struct session *session)
{
    return session->has_ended;
}

bool session_is_done(const struct session *session)
{
    return TAILQ_EMPTY(&session->calls);
}

size_t session_held_bytes(const struct session *session)
{
    return session->held_bytes;
}

/* ---- start and end ---- */

/* Names the rights of a client that may store, for the audit log. */
static const char *session_rights(const struct session_client *client)
{
    if (client->may_import)
        return client->wants_history ? "rw,history" : "rw";
    return client->wants_history ? "assign,history" : "assign";
}

struct session *session_open(const struct server_context *server,
    const struct listener_options *options, void (*progress)(void *context), void *context)
{
    struct session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    session->server = server;
    session->client.is_read_only = options->rights == LISTENER_READ_ONLY || server->read_only;
    session->client.may_import = options->rights == LISTENER_FULL;
    session->client.wants_history = options->history || server->history;
    session->client.shows_peers = !session->client.is_read_only || options->log;
    session->client.rights = session_rights(&session->client);
    session->progress = progress;
    session->context = context;
    if (server->relay)
        session->client.pool = relay_shared_pool(server->relay);
    TAILQ_INIT(&session->calls);
    return session;
}

void session_watch_memory(struct session *session, void (*charged)(void *context))
{
    session->charged = charged;
}

void session_set_peer(struct session *session, const struct peer *peer)
{
    memcpy(session->client.peer, peer->name, sizeof session->client.peer);
    session->client.address = peer->address;
    session->client.host = peer_host(session->client.peer);
}

void session_set_subject(struct session *session, const char *subject)
{
    buffer_append_string(&session->client.subject, subject);
    if (!buffer_failed(&session->client.subject))
        session->client.host = buffer_text(&session->client.subject);
}

bool session_is_loop(const struct session *session, const struct handshake *handshake)
{
    const struct relay *relay = session->server->relay;

    return relay && handshake_has_relay(handshake, relay_name(relay));
}

/* Gives a client whose opening says something about it connections of its own, with that in their
 * opening. Without memory it uses those of all others. */
static void session_choose_pool(struct session *session, const struct handshake *handshake)
{
    struct buffer headers = BUFFER_EMPTY;
    struct relay_pool *pool = NULL;

    handshake_write_headers(handshake, &headers);
    if (headers.length > 0)
        buffer_append(&headers, "", 1);
    if (headers.length > 0 && !buffer_failed(&headers))
        pool = relay_pool_open(session->server->relay, headers.bytes);
    if (pool)
        session->client.pool = pool;
    buffer_free(&headers);
}

void session_take_handshake(struct session *session, struct handshake *handshake)
{
    session->client.is_from_server = handshake->is_from_server;
    if (session->server->relay)
        session_choose_pool(session, handshake);
    handshake_write_annotations(handshake, &session->client.annotations);
    handshake_release(handshake);
}

void session_close(struct session *session)
{
    struct call *call, *following;

    session->next = NULL;
    session->is_closed = true;
    session->server->budget->leaving += session->held_bytes;
    for (call = TAILQ_FIRST(&session->calls); call; call = following) {
        following = TAILQ_NEXT(call, entry);
        if (call_is_idle(call) || call_cancel(call)) {
            session_remove_call(session, call);
        } else {
            call->is_abandoned = true;
            call_end_waiting(call);
        }
    }
    session_free_if_unused(session);
}

/* SPDX-License-Identifier: MIT */
/* One allocation holds a call with the parts that its kind of request needs: a ping has none, a
 * look-up a job, a get-pr below an upstream a job and a look-up, an export a job and pieces. The
 * calls of a relay have what is sent on in place of a job. */
#include "base/clock.h"
#include "server/call.h"
#include "server/call_relay.h"
#include "wire/codec.h"

#include <assert.h>
#include <stdlib.h>

static_assert(sizeof(struct call) < 300, "a ping needs no more than a struct call");

static bool call_needs_job(enum request_kind kind, bool is_read_only)
{
    return kind != REQUEST_PING && kind != REQUEST_IS_READONLY && kind != REQUEST_KINDS &&
           !(kind == REQUEST_IMPORT_ONE && is_read_only);
}

/* The parts that a request needs. */
struct call_parts {
    bool has_job;
    bool has_lookup;
    bool has_pieces;
    bool has_relayed;
};

static struct call_parts call_parts_of(
    const struct server_context *server, enum request_kind kind, bool is_read_only)
{
    if (server->relay)
        return (struct call_parts){.has_relayed = kind != REQUEST_KINDS,
            .has_pieces = kind == REQUEST_EXPORT || request_is_report(kind)};
    return (struct call_parts){
        .has_job = call_needs_job(kind, is_read_only),
        .has_lookup = kind == REQUEST_GET_PR && server->upstream,
        .has_pieces = kind == REQUEST_EXPORT || request_is_report(kind),
    };
}

/* Allocates a call with these parts, and more_bytes. Returns NULL if there is no memory. */
static struct call *call_allocate(const struct server_context *server,
    const struct session_client *client, const struct call_parts *parts, size_t more_bytes)
{
    size_t own_bytes = sizeof(struct call) + (parts->has_job ? sizeof(struct job) : 0) +
                       (parts->has_lookup ? sizeof(struct call_lookup) : 0) +
                       (parts->has_pieces ? sizeof(struct call_export) : 0) +
                       (parts->has_relayed ? sizeof(struct call_relayed) : 0) + more_bytes;
    struct call *call = calloc(1, own_bytes);

    if (!call)
        return NULL;
    call->server = server;
    call->client = client;
    call->is_read_only = client->is_read_only;
    call->is_from_server = client->is_from_server;
    call->own_bytes = own_bytes;
    call->arrived_us = clock_us();
    return call;
}

/* Sets the request and its parts. */
static void call_set_request(
    struct call *call, const struct request *request, const struct call_parts *parts)
{
    call->request = *request;
    if (parts->has_relayed) {
        call->relayed = (struct call_relayed *)(call + 1);
        call->pieces = parts->has_pieces ? (struct call_export *)(call->relayed + 1) : NULL;
        return;
    }
    if (parts->has_job) {
        call->job = (struct job *)(call + 1);
        call->job->budget = call->server->budget;
        call->job->arrived_ms = call->arrived_us / 1000;
        call->job->shows_peers = call->client->shows_peers;
    }
    if (parts->has_lookup)
        call->lookup = (struct call_lookup *)(call->job + 1);
    if (parts->has_pieces)
        call->pieces = (struct call_export *)(call->job + 1);
}

struct call *call_create(const struct server_context *server, const struct session_client *client,
    struct request *request, size_t message_bytes)
{
    const struct call_parts parts = call_parts_of(server, request->kind, client->is_read_only);
    struct call *call = call_allocate(server, client, &parts, 0);

    if (!call) {
        codec_release(request);
        return NULL;
    }
    call->message_bytes = message_bytes;
    call_set_request(call, request, &parts);
    return call;
}

/* ---- READING ---- */

static void call_on_read(void *context)
{
    struct call *call = context;
    const struct request *request = &call->reading->request;
    const struct call_parts parts = call_parts_of(call->server, request->kind, call->is_read_only);

    call_set_request(call, request, &parts);
    call->moved(call, CALL_READING);
}

/* The parts of its request are not known yet, so there is room for all. */
struct call *call_create_long(
    const struct server_context *server, const struct session_client *client, struct buffer message)
{
    static const struct call_parts all = {true, true, true, true};
    struct call *call = call_allocate(server, client, &all, sizeof *call->reading);

    if (!call) {
        buffer_free(&message);
        return NULL;
    }
    call->request.kind = REQUEST_KINDS;
    call->message_bytes = message.length;
    call->reading =
        (struct message_reading *)((char *)call + call->own_bytes - sizeof *call->reading);
    call->reading->text = message;
    call->reading->done = call_on_read;
    call->reading->context = call;
    return call;
}

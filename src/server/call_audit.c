/* SPDX-License-Identifier: MIT */
#include "server/call_audit.h"

#include "revision/floor.h"
#include "server/call.h"

static enum audit_request call_audit_request(const struct request *request)
{
    if (request->kind == REQUEST_GET_PR)
        return AUDIT_GET_PR;
    return floor_is_checksum(request->checksum) ? AUDIT_FLOOR : AUDIT_IMPORT_ONE;
}

static void call_audit_row(const struct call *call)
{
    const struct request *request = &call->request;
    const struct audit_revision revision = {
        .version = request->version,
        .pkgarch = request->pkgarch,
        .checksum = request->checksum,
        .value = request->kind == REQUEST_IMPORT_ONE ? request->value : text_of(call->job->value),
        .request = call_audit_request(request),
        .is_return = call->job->is_return,
        .rights = text_of(call->client->rights),
        .peer = call->client->host,
        .annotations = buffer_text(&call->client->annotations),
    };

    audit_note_revision(call->server->audit, &revision);
}

void call_audit(const struct call *call)
{
    const struct request *request = &call->request;

    if (call->job->result != 0 || !call_is_write(call))
        return;
    if (call->job->is_stored)
        call_audit_row(call);
    else if (request->kind == REQUEST_GET_PR)
        audit_note_use(call->server->audit, request->version, request->pkgarch, request->checksum);
}

/* SPDX-License-Identifier: MIT */
#include "server/call_log.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define MAX_FIELDS 9
#define MESSAGE_BYTES 700

struct fields {
    struct log_field all[MAX_FIELDS];
    size_t n;
};

static void fields_add(struct fields *fields, const char *name, struct text text)
{
    fields->all[fields->n++] = (struct log_field){.name = name, .text = text};
}

static void fields_add_number(struct fields *fields, const char *name, unsigned long long number)
{
    fields->all[fields->n++] =
        (struct log_field){.name = name, .is_number = true, .number = number};
}

/* Adds who asked, and what. */
static void fields_add_call(struct fields *fields, const struct call *call)
{
    const struct request *request = &call->request;

    if (call->client->peer[0] != '\0')
        fields_add(fields, "peer", text_of(call->client->peer));
    if (call->client->subject.length > 0)
        fields_add(fields, "certificate", buffer_text(&call->client->subject));
    if (request->kind >= REQUEST_KINDS)
        return;
    fields_add(fields, "request", text_of(request_name(request->kind)));
    if (request->version.length > 0)
        fields_add(fields, "version", request->version);
    if (request->pkgarch.length > 0)
        fields_add(fields, "pkgarch", request->pkgarch);
    if (request->checksum.length > 0)
        fields_add(fields, "checksum", request->checksum);
}

static void fields_add_duration(struct fields *fields, const struct call *call)
{
    fields_add_number(fields, "duration_us", clock_us() - call->arrived_us);
}

static void fields_add_result(struct fields *fields, const struct call *call)
{
    if (call->relayed)
        return; /* the answer is not read here */
    if (call->request.kind == REQUEST_TEST_PACKAGE)
        fields_add(fields, "value", text_of(call->job->found ? "true" : "false"));
    else if (call->request.kind == REQUEST_IMPORT_ONE)
        fields_add(fields, "value",
            call->is_read_only ? text_of("null") : text_not_null(call->request.value));
    else if (call->request.kind == REQUEST_GET_STATS)
        fields_add_number(fields, "value", call->job->rows);
    else if (call->job && !call->pieces)
        fields_add(fields, "value", text_of(call->job->value ? call->job->value : "null"));
}

void call_log_answer(const struct call *call, const char *error)
{
    struct fields fields = {.n = 0};

    if (!log_wants(call->server->log, LOG_DEBUG))
        return;
    fields_add_call(&fields, call);
    if (error)
        fields_add(&fields, "error", text_of(error));
    else
        fields_add_result(&fields, call);
    fields_add_duration(&fields, call);
    log_write_fields(call->server->log, LOG_DEBUG,
        error ? "Answered a request with an error" : "Answered a request", fields.all, fields.n);
}

void call_log_refusal(const struct call *call, const char *reason)
{
    char message[MESSAGE_BYTES];
    struct fields fields = {.n = 0};

    if (!log_wants(call->server->log, LOG_DEBUG))
        return;
    (void)snprintf(message, sizeof message, "Refused a message: %s", reason);
    fields_add_call(&fields, call);
    fields_add_duration(&fields, call);
    log_write_fields(call->server->log, LOG_DEBUG, message, fields.all, fields.n);
}

/* Returns under which kind errors are counted together (log_often). */
static const char *call_error_kind(int code)
{
    switch (code) {
    case ERROR_MEMORY:
        return "an answer: no memory";
    case ERROR_LOCKED:
        return "an answer: away";
    case ERROR_UPSTREAM:
        return "an answer: the upstream";
    default:
        return "an answer: the database";
    }
}

void call_log_error(const struct call *call)
{
    const struct job *job = call->job;
    struct fields fields = {.n = 0};

    if (!job || job->result == 0 || job->result == ERROR_INPUT || job->is_logged)
        return;
    fields_add_call(&fields, call);
    log_often_fields(call->server->log, LOG_ERROR, call_error_kind(job->result), job->error.text,
        fields.all, fields.n);
}

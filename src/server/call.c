/* SPDX-License-Identifier: MIT */
#include "server/call.h"

#include "audit/report.h"
#include "base/clock.h"
#include "exec/executor.h"
#include "exec/export.h"
#include "server/call_answer.h"
#include "server/call_audit.h"
#include "server/call_log.h"
#include "server/call_relay.h"
#include "upstream/upstream.h"
#include "wire/codec.h"

#include <stdlib.h>
#include <string.h>

/* While the upstream is asked, a request is held this many times: as a key and in two messages, in
 * which its characters may be escaped. */
#define ASKING_FACTOR 8

/* ---- memory ---- */

static size_t call_upstream_bytes(const struct call *call)
{
    const struct upstream_question *question = &call->lookup->question;

    return (question->umax ? strlen(question->umax) : 0) +
           (question->uval ? strlen(question->uval) : 0);
}

static size_t call_memory_of(const struct call *call)
{
    size_t requests = call->message_bytes * (call->stage == CALL_ASKING ? ASKING_FACTOR : 1);
    size_t bytes = call->own_bytes + requests + call->answer.capacity;

    if (call->reading)
        bytes += call->reading->text.capacity;
    if (call->relayed)
        bytes += call->relayed->piece.capacity;
    if (call->job)
        bytes += call->job->piece.capacity;
    if (call->job && call->pieces)
        bytes += export_bytes(call->job->scan) + report_bytes(call->job->report);
    if (call->lookup && call->stage != CALL_ASKING)
        bytes += call_upstream_bytes(call);
    return bytes;
}

/* Takes this much of the budget, instead of what was taken before. */
static void call_set_held(struct call *call, size_t held_bytes, size_t under_way_bytes)
{
    struct budget *budget = call->server->budget;
    const size_t before_bytes = call->held_bytes;

    budget_give(budget, before_bytes);
    budget_take(budget, held_bytes);
    budget->under_way += under_way_bytes - call->under_way_bytes;
    call->held_bytes = held_bytes;
    call->under_way_bytes = under_way_bytes;
    if (held_bytes != before_bytes)
        call->charged(call, before_bytes);
}

/* Counts anew what the call holds, after its stage or one of its buffers changed. An idle call
 * is not under way: it may wait for a long time, but can be freed. */
static void call_count(struct call *call)
{
    size_t bytes = call_memory_of(call);

    call_set_held(call, bytes, call_is_idle(call) ? 0 : bytes);
}

static void call_set_stage(struct call *call, enum call_stage stage)
{
    call->stage = stage;
    call_count(call);
}

/* Changes the stage of a call that comes back, and tells the session. */
static void call_move(struct call *call, enum call_stage stage)
{
    enum call_stage before = call->stage;

    call_set_stage(call, stage);
    call->moved(call, before);
}

/* ---- start and end ---- */

void call_read(struct call *call)
{
    call_set_stage(call, CALL_READING);
    message_reader_submit(call->server->messages, call->reading);
}

static void call_release_values(struct call *call)
{
    job_release_budget(call->job);
    free(call->job->value);
    call->job->value = NULL;
    if (call->lookup)
        upstream_question_release(&call->lookup->question);
}

void call_free(struct call *call)
{
    call_set_held(call, 0, 0);
    if (call->relayed)
        call_relay_free(call);
    else if (call->pieces)
        exports_close(call->server->exports, &call->pieces->turn);
    if (call->job) {
        executor_end_export(call->server->executor, call->job);
        call_release_values(call);
        buffer_free(&call->job->piece);
    }
    codec_release(&call->request);
    buffer_free(&call->answer);
    free(call);
}

/* ---- the answer ---- */

/* Makes the answer from the job's result, and frees the values that it was made from. */
static void call_make_answer(struct call *call)
{
    call_answer_result(call);
    if (call->job)
        call_release_values(call);
}

void call_refuse(struct call *call, const char *reason)
{
    call_log_refusal(call, reason);
    call_answer_error(call, METRICS_REFUSED, reason);
    call_set_stage(call, CALL_ANSWERED);
}

static void call_end_run(struct call *call);

/* ---- CHECKING and ASKING ---- */

/* Continues after CHECKING or ASKING. An error of the job is the answer. */
static void call_end_lookup(struct call *call)
{
    if (call->job->result == 0 || call->is_abandoned) {
        call_move(call, CALL_READY);
        return;
    }
    call_log_error(call);
    call_make_answer(call);
    call_move(call, CALL_ANSWERED);
}

/* Refuses the upstream's values if they are long and the budget has no room for them. */
static int call_check_room(const struct call *call, struct error *error)
{
    const struct budget *budget = call->server->budget;
    size_t bytes = call_upstream_bytes(call);

    if (bytes <= BUDGET_SMALL_BYTES || budget_used(budget) + bytes <= budget->limit)
        return 0;
    return error_set(error, ERROR_MEMORY,
        "the memory for requests and answers (%zu bytes) is used up, and the revisions of the "
        "upstream are %zu bytes long; ask again later",
        budget->limit, bytes);
}

static void call_on_upstream_answer(struct upstream_question *question, void *context)
{
    struct call *call = context;
    struct job *job = call->job;

    job->result = call_check_room(call, &job->error);
    if (job->result == 0) {
        job->upstream = question->result == 0 ? UPSTREAM_ASKED : UPSTREAM_UNKNOWN;
        job->umax = question->umax;
        job->uval = question->uval;
        job->upstream_reason = question->error.text;
        job->is_upstream_logged = question->is_counted;
    }
    if (!call->lookup->was_run)
        call_end_lookup(call);
    else if (job->result == 0)
        call_run(call);
    else
        call_end_run(call);
}

static void call_ask_upstream(struct call *call)
{
    struct upstream_question *question = &call->lookup->question;

    *question = (struct upstream_question){
        .version = call->request.version,
        .pkgarch = call->request.pkgarch,
        .checksum = call->request.checksum,
        .history = call->request.history,
        .arrived_ms = call->job->arrived_ms,
        .is_cancelled = atomic_load(&call->job->is_cancelled),
        .done = call_on_upstream_answer,
        .context = call,
    };
    call_set_stage(call, CALL_ASKING);
    upstream_ask(call->server->upstream, question);
}

/* Asks the upstream for a call that was run without its answer and can't do without it. */
static void call_ask_again(struct call *call)
{
    call->lookup->was_run = true;
    call_release_values(call);
    call_set_stage(call, CALL_ASKING);
    upstream_ask_again(call->server->upstream, &call->lookup->question);
}

bool call_cancel(struct call *call)
{
    if (call->relayed && call->stage == CALL_RUNNING) {
        call_relay_cancel(call);
        return true;
    }
    if (call->stage == CALL_RUNNING && call->pieces)
        return exports_cancel(call->server->exports, &call->pieces->turn);
    if (call->stage != CALL_ASKING)
        return false;
    upstream_cancel(call->server->upstream, &call->lookup->question);
    return true;
}

/* Asks the upstream only if the checksum is not known here. */
static void call_on_checked(struct job *job, void *context)
{
    struct call *call = context;
    bool is_known = job->value != NULL;

    call_release_values(call);
    if (job->result == 0 && !is_known && !call->is_abandoned) {
        call_ask_upstream(call);
        return;
    }
    job->upstream = UPSTREAM_UNKNOWN;
    call_end_lookup(call);
}

static void call_prepare_job(struct call *call, enum job_kind kind, const struct request *request,
    void (*done)(struct job *job, void *context), enum call_stage stage)
{
    struct job *job = call->job;

    job->client = call->session;
    job->is_for_server = call->is_from_server;
    job->kind = kind;
    job->request = request;
    job->done = done;
    job->context = call;
    call_set_stage(call, stage);
}

static void call_check_database(struct call *call)
{
    struct request *check = &call->lookup->check;

    *check = call->request;
    check->kind = REQUEST_TEST_PR;
    call_prepare_job(call, JOB_LOOK, check, call_on_checked, CALL_CHECKING);
    executor_submit(call->server->executor, call->job);
}

void call_end_waiting(struct call *call)
{
    if (call->relayed)
        call_relay_end_waiting(call);
    if (call->job)
        executor_cancel(call->server->executor, call->job);
    if (call->stage == CALL_ASKING)
        call->lookup->question.is_cancelled = true;
}

void call_start(struct call *call)
{
    if (!call->lookup && (call->job || call->relayed)) {
        call_set_stage(call, CALL_READY);
    } else if (!call->job) {
        call_make_answer(call);
        call_set_stage(call, CALL_ANSWERED);
    } else if (call->request.history) {
        call_check_database(call);
    } else {
        call_ask_upstream(call);
    }
}

/* ---- RUNNING ---- */

/* Continues after RUNNING. */
static void call_end_run(struct call *call)
{
    const struct job *job = call->job;
    bool is_piece = call->pieces && (job->result == 0 || call->pieces->has_begun);

    if (call->server->audit)
        call_audit(call);
    if (!is_piece)
        call_log_error(call);
    if (!is_piece && !call->is_abandoned)
        call_make_answer(call);
    if (call->pieces && (job->result != 0 || !job->more))
        exports_close(call->server->exports, &call->pieces->turn);
    call_set_stage(call, CALL_ANSWERED);
    call->moved(call, CALL_RUNNING);
}

static void call_on_run(struct job *job, void *context)
{
    struct call *call = context;

    if (call->lookup && job->result == ERROR_UPSTREAM && call->lookup->question.may_wait &&
        !call->is_abandoned) {
        call_ask_again(call);
        return;
    }
    if (job->result == ERROR_UPSTREAM)
        log_often(call->server->log, LOG_ERROR, "%s", job->error.text);
    call_end_run(call);
}

/* Returns whether a call is a look-up for a server below, which needs the rows of the primary. */
static bool call_wants_primary(const struct call *call)
{
    return call->is_from_server && !call->server->read_only && call->server->has_replica &&
           call->request.kind == REQUEST_TEST_PR;
}

static enum job_kind call_job_kind(const struct call *call)
{
    if (call_is_scan(call))
        return JOB_SCAN;
    if (call_is_write(call) || call_wants_primary(call) ||
        (call->request.kind == REQUEST_MAX_PACKAGE_PR && !call->server->read_only))
        return JOB_DECIDE;
    return JOB_LOOK;
}

static void call_request_piece(struct call *call)
{
    struct job *job = call->job;

    if (job->scan || job->report)
        job->arrived_ms = clock_ms(); /* the patience of each piece begins anew */
    call->pieces->wants_piece = false;
    exports_request(
        call->server->exports, &call->pieces->turn, job, peer_address_text(&call->client->address));
}

/* Continues after the executor was done with a piece, which may be empty. */
static void call_on_piece(struct job *job, void *context)
{
    struct call *call = context;

    exports_end_piece(call->server->exports, &call->pieces->turn);
    call_count(call);
    if (job->result == 0)
        job->result = exports_check(call->server->exports, job, &job->error);
    if (job->result == 0 && job->more && job->piece.length == 0 && !call->is_abandoned)
        call_request_piece(call);
    else
        call_end_run(call);
}

void call_finish_relayed(struct call *call)
{
    call_move(call, CALL_ANSWERED);
}

void call_run(struct call *call)
{
    if (call->relayed) {
        call_set_stage(call, CALL_RUNNING);
        call_relay_run(call);
        return;
    }
    if (call->pieces) {
        call_prepare_job(call, JOB_SCAN, &call->request, call_on_piece, CALL_RUNNING);
        call_request_piece(call);
        return;
    }
    call_prepare_job(call, call_job_kind(call), &call->request, call_on_run, CALL_RUNNING);
    executor_submit(call->server->executor, call->job);
}

/* ---- writing ---- */

enum call_written call_write(struct call *call, struct buffer *out)
{
    if (buffer_failed(&call->answer))
        return CALL_BROKEN;
    if (call->pieces && call->answer.length == 0) {
        const enum call_written written =
            call->relayed ? call_relay_write_pieces(call, out) : call_answer_piece(call, out);

        call_count(call);
        return written;
    }
    framer_write(out, buffer_text(&call->answer));
    return buffer_failed(out) ? CALL_BROKEN : CALL_WRITTEN;
}

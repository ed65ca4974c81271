/* What is freed is not counted any more; else a call is counted anew whenever its stage
 * changes, or its buffers do. */
#include "server/call.h"

#include "wire/codec.h"

#include <stdlib.h>
#include <string.h>

#define ASKED_TIMES 8 /* a question holds a request: as a key, in two lines, escaped */

/* ---- memory ---- */

size_t call_values_bytes(const struct call *call)
{
    const struct upstream_question *question = call->question;
    size_t bytes = 0;

    if (question && question->umax)
        bytes += strlen(question->umax);
    if (question && question->uval)
        bytes += strlen(question->uval);
    return bytes;
}

static size_t memory_of(const struct call *call)
{
    size_t requests = call->bytes * (call->stage == CALL_ASKING ? ASKED_TIMES : 1);
    size_t bytes = sizeof *call + requests + call->answer.capacity + call->job.piece.capacity +
                   call->writer.pending.capacity;

    if (call->question && call->stage != CALL_ASKING)
        bytes += sizeof *call->question + call_values_bytes(call);
    return bytes;
}

/* Takes nothing of the budget any more. */
static void uncount(struct call *call)
{
    struct budget *budget = call->caller->service.budget;

    budget_give(budget, call->held);
    call->caller->idle -= call->idle;
    budget->under_way -= call->held - call->idle;
    call->held = call->idle = 0;
}

void call_count(struct call *call)
{
    struct budget *budget = call->caller->service.budget;

    uncount(call);
    call->held = memory_of(call);
    if (call->stage == CALL_READY || call->stage == CALL_ANSWERED)
        call->idle = call->held;
    budget_take(budget, call->held);
    call->caller->idle += call->idle;
    budget->under_way += call->held - call->idle;
}

void call_set_stage(struct call *call, enum call_stage stage)
{
    call->stage = stage;
    call_count(call);
}

/* ---- start and end ---- */

struct call *call_new(struct caller *caller, size_t bytes)
{
    struct call *call = calloc(1, sizeof *call);

    if (!call)
        return NULL;
    call->caller = caller;
    call->bytes = bytes;
    call->request.kind = REQUEST_KINDS;
    call->job.client = caller;
    call->job.budget = caller->service.budget;
    return call;
}

void call_drop_values(struct call *call)
{
    job_release_budget(&call->job);
    free(call->job.value);
    call->job.value = NULL;
    if (call->question)
        upstream_release(call->question);
}

void call_free(struct call *call)
{
    uncount(call);
    executor_end_export(call->caller->service.executor, &call->job);
    turns_end(call->caller->service.exports, &call->turn);
    codec_release(&call->request);
    call_drop_values(call);
    free(call->question);
    framer_writer_free(&call->writer);
    buffer_free(&call->job.piece);
    buffer_free(&call->answer);
    free(call);
}

/* ---- the answer ---- */

static void write_answer(const struct caller *caller, const struct call *call, struct buffer *out)
{
    switch (call->request.kind) {
    case REQUEST_PING:
        codec_write_alive(out);
        break;
    case REQUEST_IS_READONLY:
        codec_write_readonly(out, caller->read_only);
        break;
    case REQUEST_GET_PR:
    case REQUEST_TEST_PR:
    case REQUEST_MAX_PACKAGE_PR:
        codec_write_value(out, call->job.value);
        break;
    case REQUEST_TEST_PACKAGE:
        codec_write_found(out, call->job.found);
        break;
    case REQUEST_IMPORT_ONE:
        if (caller->read_only)
            codec_write_null(out);
        else
            codec_write_imported(out, &call->request);
        break;
    case REQUEST_GET_STATS:
        caller->service.write_stats(caller->service.stats_context, call->job.rows, out);
        break;
    case REQUEST_EXPORT: /* in pieces */
    case REQUEST_KINDS:
        break;
    }
}

static void count_error(const struct call *call)
{
    if (call->request.kind < REQUEST_KINDS)
        call->caller->service.counts->errors[call->request.kind]++;
}

void call_answer(struct call *call)
{
    if (call->job.result == 0) {
        write_answer(call->caller, call, &call->answer);
    } else {
        count_error(call);
        codec_write_error(&call->answer, call->job.error.text);
    }
    call_drop_values(call);
    call_set_stage(call, CALL_ANSWERED);
}

void call_refuse(struct call *call, const struct error *error)
{
    log_write(call->caller->service.log, LOG_DEBUG, "Refused a message: %s", error->text);
    count_error(call);
    codec_write_error(&call->answer, error->text);
    call_set_stage(call, CALL_ANSWERED);
}

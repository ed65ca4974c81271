/* With history, a checksum that is known here has its answer here: that is looked up first.
 * The look-up and the question are never under way together, so a call has one of them to
 * wait for. */
#include "server/inquiry.h"

#include <stdlib.h>

bool inquiry_is_needed(const struct call *call)
{
    return call->request.kind == REQUEST_GET_PR && call->caller->service.upstream;
}

/* Is there room for what the upstream said? */
static bool has_room_for_values(struct call *call)
{
    struct budget *budget = call->caller->service.budget;
    size_t bytes = call_values_bytes(call);

    if (bytes <= BUDGET_SMALL_BYTES || budget_used(budget) + bytes <= budget->limit)
        return true;
    call->job.result = error_set(&call->job.error, ERROR_MEMORY,
        "the memory for requests and answers (%zu bytes) is used up, and the revisions of the "
        "upstream are %zu bytes long; ask again later",
        budget->limit, bytes);
    return false;
}

static void upstream_answered(struct upstream_question *question, void *context)
{
    struct call *call = context;

    if (!call->caller->gone && has_room_for_values(call)) {
        call->job.upstream = question->result == 0 ? UPSTREAM_ASKED : UPSTREAM_UNKNOWN;
        call->job.umax = question->umax;
        call->job.uval = question->uval;
        call->job.upstream_reason = question->error.text;
    }
    call->inquired(call);
}

/* False: no memory. */
static bool ask(struct call *call)
{
    call->question = calloc(1, sizeof *call->question);
    if (!call->question) {
        call->job.result = error_set_memory(&call->job.error);
        return false;
    }
    *call->question = (struct upstream_question){
        .version = call->request.version,
        .pkgarch = call->request.pkgarch,
        .checksum = call->request.checksum,
        .history = call->request.history,
        .done = upstream_answered,
        .context = call,
    };
    call_set_stage(call, CALL_ASKING);
    upstream_ask(call->caller->service.upstream, call->question);
    return true;
}

static void checked(struct job *job, void *context)
{
    struct call *call = context;
    bool known = job->value != NULL;

    if (!call->caller->gone) {
        call_drop_values(call);
        if (known)
            job->upstream = UPSTREAM_UNKNOWN;
        else if (job->result == 0 && ask(call))
            return;
    }
    call->inquired(call);
}

static void check(struct call *call)
{
    call->check = call->request;
    call->check.kind = REQUEST_TEST_PR;
    call->job.kind = JOB_LOOK;
    call->job.request = &call->check;
    call->job.done = checked;
    call->job.context = call;
    call_set_stage(call, CALL_CHECKING);
    executor_submit(call->caller->service.executor, &call->job);
}

bool inquiry_begin(struct call *call, void (*done)(struct call *call))
{
    call->inquired = done;
    if (!call->request.history)
        return ask(call);
    check(call);
    return true;
}

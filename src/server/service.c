/* The life of a call, from message to answer:
 *
 *   CHECKING   history, with an upstream: is the checksum known here?
 *      ↓
 *   ASKING     the upstream is asked
 *      ↓
 *   READY ──→ RUNNING ──→ ANSWERED ──→ written and freed
 *               ↑            │
 *               └────────────┘ the next piece of an export
 *
 * CHECKING and ASKING happen as soon as a message is taken, for all of them at once.
 * RUNNING is ordered: calls that write run one after the other in the executor's
 * queue, together; calls that read wait for those that write before them, and the
 * other way round. */
#include "server/service.h"

#include "base/clock.h"
#include "wire/codec.h"
#include "wire/framer.h"

#include <stdlib.h>
#include <string.h>

#define MOST_CALLS 128
#define MOST_BYTES ((size_t)1024 * 1024) /* of requests under way; one larger one is fine */
#define ASKED_TIMES 8 /* a question holds a request: as a key, in two lines, escaped */

enum stage { CALL_CHECKING, CALL_ASKING, CALL_READY, CALL_RUNNING, CALL_ANSWERED };

struct call {
    TAILQ_ENTRY(call) link;
    struct session *session;
    size_t bytes; /* of its message */
    size_t held;  /* what it takes of the budget, when it was last counted */
    size_t idle;  /* of it: nobody works on it */
    enum stage stage;
    struct request request;
    struct request check; /* CHECKING: the same as a look-up */
    struct job job;
    struct upstream_question *question; /* NULL: not asked */
    struct buffer answer;               /* not for exports: job.piece */
    struct turn turn;                   /* of an export */
    uint64_t piece_ms;                  /* when its last piece was asked for (clock_ms) */
};

TAILQ_HEAD(call_list, call);

struct session {
    struct service service;
    bool read_only;
    void (*progress)(void *context);
    void *context;
    bool closed;            /* the client is gone */
    struct call_list calls; /* in the order of the messages */
    unsigned n_calls;
    size_t bytes;
    size_t idle;       /* bytes that its calls hold, and nobody works on */
    struct call *next; /* the first that does not run yet */
    unsigned reading;  /* calls that run, by what they do */
    unsigned writing;
    unsigned away; /* calls that someone else will call back */
    struct framer_writer writer;
    bool piece_written; /* of the export that is the first call */
};

/* ---- calls ---- */

static size_t values_bytes(const struct call *call)
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
    size_t bytes = sizeof *call + requests + call->answer.capacity + call->job.piece.capacity;

    if (call->question && call->stage != CALL_ASKING)
        bytes += sizeof *call->question + values_bytes(call);
    return call == TAILQ_FIRST(&call->session->calls)
               ? bytes + call->session->writer.pending.capacity
               : bytes;
}

/* Takes nothing of the budget any more. */
static void uncount(struct call *call)
{
    struct budget *budget = call->session->service.budget;

    budget_give(budget, call->held);
    call->session->idle -= call->idle;
    budget->under_way -= call->held - call->idle;
    call->held = call->idle = 0;
}

/* Takes as much of the budget as the call holds now. What waits for the client, or for
 * others of its calls, is not under way: that may last. */
static void count(struct call *call)
{
    struct budget *budget = call->session->service.budget;

    uncount(call);
    call->held = memory_of(call);
    if (call->stage == CALL_READY || call->stage == CALL_ANSWERED)
        call->idle = call->held;
    budget_take(budget, call->held);
    call->session->idle += call->idle;
    budget->under_way += call->held - call->idle;
}

/* What was needed to make the answer. */
static void drop_values(struct call *call)
{
    job_release_budget(&call->job);
    free(call->job.value);
    call->job.value = NULL;
    if (call->question)
        upstream_release(call->question);
}

static void free_call(struct call *call)
{
    uncount(call);
    executor_end_export(call->session->service.executor, &call->job);
    turns_end(call->session->service.exports, &call->turn);
    codec_release(&call->request);
    drop_values(call);
    free(call->question);
    buffer_free(&call->job.piece);
    buffer_free(&call->answer);
    free(call);
}

static void remove_call(struct session *session, struct call *call)
{
    if (session->next == call)
        session->next = TAILQ_NEXT(call, link);
    TAILQ_REMOVE(&session->calls, call, link);
    session->n_calls--;
    session->bytes -= call->bytes;
    free_call(call);
}

static struct call *add_call(struct session *session, size_t bytes)
{
    struct call *call = calloc(1, sizeof *call);

    if (!call)
        return NULL;
    call->request.kind = REQUEST_KINDS;
    call->session = session;
    call->bytes = bytes;
    call->job.budget = session->service.budget;
    TAILQ_INSERT_TAIL(&session->calls, call, link);
    session->n_calls++;
    session->bytes += bytes;
    if (!session->next)
        session->next = call;
    return call;
}

/* Something that was away is back. False: the client is gone, and so is the call. */
static bool come_back(struct call *call)
{
    struct session *session = call->session;

    session->away--;
    if (!session->closed)
        return true;
    remove_call(session, call);
    if (session->away == 0)
        free(session);
    return false;
}

/* ---- answers ---- */

static void write_answer(const struct session *session, const struct call *call, struct buffer *out)
{
    switch (call->request.kind) {
    case REQUEST_PING:
        codec_write_alive(out);
        break;
    case REQUEST_IS_READONLY:
        codec_write_readonly(out, session->read_only);
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
        if (session->read_only)
            codec_write_null(out);
        else
            codec_write_imported(out, &call->request);
        break;
    case REQUEST_GET_STATS:
        session->service.write_stats(session->service.stats_context, call->job.rows, out);
        break;
    case REQUEST_EXPORT: /* in pieces */
    case REQUEST_KINDS:
        break;
    }
}

static void count_error(const struct call *call)
{
    if (call->request.kind < REQUEST_KINDS)
        call->session->service.counts->errors[call->request.kind]++;
}

static void answer(struct call *call)
{
    if (call->job.result == 0) {
        write_answer(call->session, call, &call->answer);
    } else {
        count_error(call);
        codec_write_error(&call->answer, call->job.error.text);
    }
    drop_values(call);
    call->stage = CALL_ANSWERED;
    count(call);
}

/* ---- running ---- */

static void advance(struct session *session);

static bool is_scan(enum request_kind kind)
{
    return kind == REQUEST_EXPORT || kind == REQUEST_GET_STATS;
}

static bool writes(const struct call *call)
{
    return !call->session->read_only &&
           (call->request.kind == REQUEST_GET_PR || call->request.kind == REQUEST_IMPORT_ONE);
}

/* The count of running calls that it belongs to. */
static unsigned *running(const struct call *call)
{
    return writes(call) ? &call->session->writing : &call->session->reading;
}

/* Must it wait for calls before it? A scan has a connection to the database of its own:
 * one for each client is enough, when it is the client's turn. */
static bool must_wait(const struct call *call)
{
    const struct session *session = call->session;

    if (is_scan(call->request.kind) && call != TAILQ_FIRST(&session->calls))
        return true;
    return writes(call) ? session->reading > 0 : session->writing > 0;
}

static void job_done(struct job *job, void *context)
{
    struct call *call = context;
    struct session *session = call->session;

    (void)job;
    *running(call) -= 1;
    if (!come_back(call))
        return;
    if (call->request.kind != REQUEST_EXPORT) {
        answer(call);
    } else {
        call->stage = CALL_ANSWERED;
        count(call);
        if (!call->job.export)
            turns_end(session->service.exports, &call->turn);
    }
    advance(session);
    session->progress(session->context);
}

static void run(struct call *call)
{
    struct session *session = call->session;

    call->stage = CALL_RUNNING;
    *running(call) += 1;
    session->away++;
    call->piece_ms = clock_ms();
    count(call);
    executor_submit(session->service.executor, &call->job);
}

static void has_its_turn(void *context)
{
    struct call *call = context;
    struct session *session = call->session;

    advance(session);
    session->progress(session->context);
}

/* Exports of other clients may come first. */
static bool has_turn(struct call *call)
{
    if (call->request.kind != REQUEST_EXPORT)
        return true;
    call->turn.come = has_its_turn;
    call->turn.context = call;
    return turns_ask(call->session->service.exports, &call->turn);
}

/* Runs what may run now. */
static void advance(struct session *session)
{
    struct call *call;

    while ((call = session->next) && call->stage >= CALL_READY) {
        if (call->stage == CALL_READY) {
            if (must_wait(call) || !has_turn(call))
                return;
            run(call);
        }
        session->next = TAILQ_NEXT(call, link);
    }
}

static enum job_kind job_kind_of(const struct call *call)
{
    enum request_kind kind = call->request.kind;

    if (is_scan(kind))
        return JOB_SCAN;
    if (writes(call) || (kind == REQUEST_MAX_PACKAGE_PR && !call->session->service.read_only))
        return JOB_DECIDE;
    return JOB_LOOK;
}

static void make_ready(struct call *call)
{
    call->job.request = &call->request;
    call->job.client = call->session;
    call->job.done = job_done;
    call->job.context = call;
    call->job.kind = job_kind_of(call);
    call->stage = CALL_READY;
    count(call);
}

/* ---- the upstream ---- */

/* Is there room for what the upstream said? */
static bool has_room_for_values(struct call *call)
{
    struct budget *budget = call->session->service.budget;
    size_t bytes = values_bytes(call);

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
    struct session *session = call->session;

    if (!come_back(call))
        return;
    call->job.upstream = question->result == 0 ? UPSTREAM_ASKED : UPSTREAM_UNKNOWN;
    call->job.umax = question->umax;
    call->job.uval = question->uval;
    call->job.upstream_reason = question->error.text;
    if (has_room_for_values(call))
        make_ready(call);
    else
        answer(call);
    advance(session);
    session->progress(session->context);
}

static void ask(struct call *call)
{
    struct session *session = call->session;

    call->question = calloc(1, sizeof *call->question);
    if (!call->question) {
        call->job.result = error_set_memory(&call->job.error);
        answer(call);
        return;
    }
    call->stage = CALL_ASKING;
    *call->question = (struct upstream_question){
        .version = call->request.version,
        .pkgarch = call->request.pkgarch,
        .checksum = call->request.checksum,
        .history = call->request.history,
        .done = upstream_answered,
        .context = call,
    };
    session->away++;
    count(call);
    upstream_ask(session->service.upstream, call->question);
}

/* With history, a checksum that is known here has its answer here. */
static void checked(struct job *job, void *context)
{
    struct call *call = context;
    struct session *session = call->session;
    bool known = job->value != NULL;

    if (!come_back(call))
        return;
    drop_values(call);
    if (job->result != 0) {
        answer(call);
    } else if (known) {
        job->upstream = UPSTREAM_UNKNOWN;
        make_ready(call);
    } else {
        ask(call);
    }
    advance(session);
    session->progress(session->context);
}

static void check(struct call *call)
{
    struct session *session = call->session;

    call->stage = CALL_CHECKING;
    call->check = call->request;
    call->check.kind = REQUEST_TEST_PR;
    call->job.kind = JOB_LOOK;
    call->job.request = &call->check;
    call->job.done = checked;
    call->job.context = call;
    session->away++;
    count(call);
    executor_submit(session->service.executor, &call->job);
}

/* ---- messages ---- */

static bool is_answered_here(const struct session *session, enum request_kind kind)
{
    return kind == REQUEST_PING || kind == REQUEST_IS_READONLY ||
           (kind == REQUEST_IMPORT_ONE && session->read_only);
}

static void start(struct call *call)
{
    const struct session *session = call->session;

    if (is_answered_here(session, call->request.kind))
        answer(call);
    else if (call->request.kind != REQUEST_GET_PR || !session->service.upstream)
        make_ready(call);
    else if (call->request.history)
        check(call);
    else
        ask(call);
}

static void refuse(struct call *call, const struct error *error)
{
    log_write(call->session->service.log, LOG_DEBUG, "Refused a message: %s", error->text);
    count_error(call);
    codec_write_error(&call->answer, error->text);
    call->stage = CALL_ANSWERED;
    count(call);
}

enum session_result session_take(struct session *session, struct text message)
{
    struct call *call = add_call(session, message.length);
    enum codec_result result;
    struct error error;

    if (!call)
        return SESSION_ENDED;
    result = codec_read_request(message, &call->request, &error);
    if (call->request.kind < REQUEST_KINDS)
        session->service.counts->count[call->request.kind]++;
    if (result == CODEC_REQUEST)
        start(call);
    else if (result == CODEC_END)
        remove_call(session, call);
    else
        refuse(call, &error);
    advance(session);
    return result == CODEC_REQUEST || result == CODEC_REFUSED ? SESSION_GOES_ON : SESSION_ENDED;
}

void session_refuse(struct session *session, const char *reason)
{
    struct call *call = add_call(session, 0);
    struct error error;

    if (!call)
        return;
    (void)error_set(&error, ERROR_FRAMING, "%s", reason);
    refuse(call, &error);
    advance(session);
}

/* ---- writing ---- */

static bool write_whole(struct call *call, struct buffer *out)
{
    if (buffer_failed(&call->answer))
        return false;
    framer_write(out, buffer_text(&call->answer));
    remove_call(call->session, call);
    return !buffer_failed(out);
}

/* One piece of an export; then the next is asked for. */
static bool write_piece(struct call *call, struct buffer *out)
{
    struct session *session = call->session;
    struct job *job = &call->job;

    if (job->result != 0 && session->piece_written) {
        log_often(session->service.log, LOG_ERROR, "An export broke off: %s", job->error.text);
        return false;
    }
    if (job->result != 0) {
        answer(call);
        return write_whole(call, out);
    }
    framer_writer_add(&session->writer, out, buffer_text(&job->piece));
    buffer_reset(&job->piece, 0);
    count(call);
    session->piece_written = true;
    if (job->more) {
        run(call);
    } else {
        framer_writer_end(&session->writer, out);
        session->piece_written = false;
        remove_call(session, call);
    }
    return !buffer_failed(out);
}

bool session_write(struct session *session, struct buffer *out, size_t limit)
{
    struct call *call;
    bool goes_on = true;

    while (goes_on && out->length < limit && (call = TAILQ_FIRST(&session->calls)) &&
           call->stage == CALL_ANSWERED) {
        if (buffer_failed(&call->answer))
            goes_on = false;
        else if (call->request.kind == REQUEST_EXPORT && call->answer.length == 0)
            goes_on = write_piece(call, out);
        else
            goes_on = write_whole(call, out);
    }
    if (goes_on)
        advance(session); /* a scan may have become the first */
    return goes_on;
}

bool session_is_full(const struct session *session)
{
    return session->n_calls >= MOST_CALLS || session->bytes >= MOST_BYTES;
}

size_t session_idle_bytes(const struct session *session)
{
    return session->idle;
}

bool session_holds_up(const struct session *session, uint64_t ms)
{
    const struct call *call = TAILQ_FIRST(&session->calls);

    return call && call->stage == CALL_ANSWERED && call->turn.state == TURN_HAS &&
           turns_are_waited_for(session->service.exports) && clock_ms() - call->piece_ms >= ms;
}

bool session_is_done(const struct session *session)
{
    return TAILQ_EMPTY(&session->calls);
}

/* ---- start and end ---- */

struct session *session_open(
    const struct service *service, bool read_only, void (*progress)(void *context), void *context)
{
    struct session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    session->service = *service;
    session->read_only = read_only || service->read_only;
    session->progress = progress;
    session->context = context;
    TAILQ_INIT(&session->calls);
    return session;
}

void session_close(struct session *session)
{
    struct call *call, *following;

    session->closed = true;
    framer_writer_free(&session->writer);
    session->next = NULL;
    for (call = TAILQ_FIRST(&session->calls); call; call = following) {
        following = TAILQ_NEXT(call, link);
        if (call->stage == CALL_READY || call->stage == CALL_ANSWERED)
            remove_call(session, call);
    }
    if (session->away == 0)
        free(session);
}

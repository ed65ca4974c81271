/* A call's stages are drawn in call.h. Inquiries begin as soon as a message is taken, for
 * all of them at once.
 *
 * Running is ordered: calls that write run one after the other in the executor's queue,
 * together; calls that read wait for those that write before them, and the other way
 * round. */
#include "server/session.h"

#include "base/clock.h"
#include "server/call.h"
#include "server/inquiry.h"
#include "wire/codec.h"
#include "wire/framer.h"

#include <stdlib.h>

#define MOST_CALLS 128
#define MOST_BYTES ((size_t)1024 * 1024) /* of requests under way; one larger one is fine */

TAILQ_HEAD(call_list, call);

struct session {
    struct caller caller;
    void (*progress)(void *context);
    void *context;
    struct call_list calls; /* in the order of the messages */
    unsigned n_calls;
    size_t bytes;
    struct call *next; /* the first that does not run yet */
    unsigned reading;  /* calls that run, by what they do */
    unsigned writing;
    unsigned away; /* calls that someone else will call back */
};

/* ---- calls ---- */

static struct call *add_call(struct session *session, size_t bytes)
{
    struct call *call = call_new(&session->caller, bytes);

    if (!call)
        return NULL;
    TAILQ_INSERT_TAIL(&session->calls, call, link);
    session->n_calls++;
    session->bytes += bytes;
    if (!session->next)
        session->next = call;
    return call;
}

static void remove_call(struct session *session, struct call *call)
{
    if (session->next == call)
        session->next = TAILQ_NEXT(call, link);
    TAILQ_REMOVE(&session->calls, call, link);
    session->n_calls--;
    session->bytes -= call->bytes;
    call_free(call);
}

/* Something that was away is back. False: the client is gone, and so is the call. */
static bool come_back(struct call *call)
{
    struct session *session = call->caller->session;

    session->away--;
    if (!session->caller.gone)
        return true;
    remove_call(session, call);
    if (session->away == 0)
        free(session);
    return false;
}

/* ---- running ---- */

static bool is_scan(enum request_kind kind)
{
    return kind == REQUEST_EXPORT || kind == REQUEST_GET_STATS;
}

static bool writes(const struct call *call)
{
    return !call->caller->read_only &&
           (call->request.kind == REQUEST_GET_PR || call->request.kind == REQUEST_IMPORT_ONE);
}

/* The count of running calls that it belongs to. */
static unsigned *running(const struct call *call)
{
    struct session *session = call->caller->session;

    return writes(call) ? &session->writing : &session->reading;
}

/* Must it wait for calls before it? A scan has a connection to the database of its own:
 * one for each client is enough, when it is the client's turn. */
static bool must_wait(const struct call *call)
{
    const struct session *session = call->caller->session;

    if (is_scan(call->request.kind) && call != TAILQ_FIRST(&session->calls))
        return true;
    return writes(call) ? session->reading > 0 : session->writing > 0;
}

static void run(struct call *call)
{
    struct session *session = call->caller->session;

    *running(call) += 1;
    session->away++;
    call->piece_ms = clock_ms();
    call_set_stage(call, CALL_RUNNING);
    executor_submit(session->caller.service.executor, &call->job);
}

static void go_on(struct session *session);

static void has_its_turn(void *context)
{
    const struct call *call = context;

    go_on(call->caller->session);
}

/* Exports of other clients may come first. */
static bool has_turn(struct call *call)
{
    if (call->request.kind != REQUEST_EXPORT)
        return true;
    call->turn.come = has_its_turn;
    call->turn.context = call;
    return turns_ask(call->caller->service.exports, &call->turn);
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

/* Something came from elsewhere. */
static void go_on(struct session *session)
{
    advance(session);
    session->progress(session->context);
}

static void job_done(struct job *job, void *context)
{
    struct call *call = context;
    struct session *session = call->caller->session;

    (void)job;
    *running(call) -= 1;
    if (!come_back(call))
        return;
    if (call->request.kind != REQUEST_EXPORT) {
        call_answer(call);
    } else {
        call_set_stage(call, CALL_ANSWERED);
        if (!call->job.export)
            turns_end(session->caller.service.exports, &call->turn);
    }
    go_on(session);
}

static enum job_kind job_kind_of(const struct call *call)
{
    enum request_kind kind = call->request.kind;

    if (is_scan(kind))
        return JOB_SCAN;
    if (writes(call) || (kind == REQUEST_MAX_PACKAGE_PR && !call->caller->service.read_only))
        return JOB_DECIDE;
    return JOB_LOOK;
}

static void make_ready(struct call *call)
{
    call->job.request = &call->request;
    call->job.done = job_done;
    call->job.context = call;
    call->job.kind = job_kind_of(call);
    call_set_stage(call, CALL_READY);
}

/* ---- messages ---- */

static bool is_answered_here(const struct session *session, enum request_kind kind)
{
    return kind == REQUEST_PING || kind == REQUEST_IS_READONLY ||
           (kind == REQUEST_IMPORT_ONE && session->caller.read_only);
}

static void inquired(struct call *call)
{
    struct session *session = call->caller->session;

    if (!come_back(call))
        return;
    if (call->job.result == 0)
        make_ready(call);
    else
        call_answer(call);
    go_on(session);
}

static void start(struct session *session, struct call *call)
{
    if (is_answered_here(session, call->request.kind)) {
        call_answer(call);
        return;
    }
    if (!inquiry_is_needed(call)) {
        make_ready(call);
        return;
    }
    if (inquiry_begin(call, inquired))
        session->away++;
    else
        call_answer(call); /* no memory */
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
        session->caller.service.counts->count[call->request.kind]++;
    if (result == CODEC_REQUEST)
        start(session, call);
    else if (result == CODEC_END)
        remove_call(session, call);
    else
        call_refuse(call, &error);
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
    call_refuse(call, &error);
    advance(session);
}

/* ---- writing ---- */

static bool write_whole(struct session *session, struct call *call, struct buffer *out)
{
    if (buffer_failed(&call->answer))
        return false;
    framer_write(out, buffer_text(&call->answer));
    remove_call(session, call);
    return !buffer_failed(out);
}

/* One piece of an export; then the next is asked for. */
static bool write_piece(struct session *session, struct call *call, struct buffer *out)
{
    struct job *job = &call->job;

    if (job->result != 0 && call->piece_written) {
        log_often(
            session->caller.service.log, LOG_ERROR, "An export broke off: %s", job->error.text);
        return false;
    }
    if (job->result != 0) {
        call_answer(call);
        return write_whole(session, call, out);
    }
    framer_writer_add(&call->writer, out, buffer_text(&job->piece));
    buffer_reset(&job->piece, 0);
    call_count(call);
    call->piece_written = true;
    if (job->more) {
        run(call);
    } else {
        framer_writer_end(&call->writer, out);
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
            goes_on = write_piece(session, call, out);
        else
            goes_on = write_whole(session, call, out);
    }
    if (goes_on)
        advance(session); /* a scan may have become the first */
    return goes_on;
}

/* ---- how it stands ---- */

bool session_is_full(const struct session *session)
{
    return session->n_calls >= MOST_CALLS || session->bytes >= MOST_BYTES;
}

size_t session_idle_bytes(const struct session *session)
{
    return session->caller.idle;
}

bool session_holds_up(const struct session *session, uint64_t ms)
{
    const struct call *call = TAILQ_FIRST(&session->calls);

    return call && call->stage == CALL_ANSWERED && call->turn.state == TURN_HAS &&
           turns_are_waited_for(session->caller.service.exports) &&
           clock_ms() - call->piece_ms >= ms;
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
    session->caller.service = *service;
    session->caller.read_only = read_only || service->read_only;
    session->caller.session = session;
    session->progress = progress;
    session->context = context;
    TAILQ_INIT(&session->calls);
    return session;
}

void session_close(struct session *session)
{
    struct call *call, *following;

    session->caller.gone = true;
    session->next = NULL;
    for (call = TAILQ_FIRST(&session->calls); call; call = following) {
        following = TAILQ_NEXT(call, link);
        if (call->stage == CALL_READY || call->stage == CALL_ANSWERED)
            remove_call(session, call);
    }
    if (session->away == 0)
        free(session);
}

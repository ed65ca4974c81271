/* SPDX-License-Identifier: MIT */
#include "session_fixture.h"

#include "exec/export.h"

#include <stdlib.h>

/* ---- the executor and the upstream ---- */

void executor_submit(struct executor *executor, struct job *job)
{
    assert_true(executor->n_jobs < MAX_MOST);
    executor->jobs[executor->n_jobs++] = job;
}

void executor_cancel(struct executor *executor, struct job *job)
{
    (void)executor;
    atomic_store(&job->is_cancelled, true);
}

void executor_end_export(struct executor *executor, struct job *job)
{
    executor->n_exports_ended += job->scan != NULL;
    job->scan = NULL;
}

size_t export_bytes(const struct export_scan *scan)
{
    return scan ? 100 : 0;
}

bool export_is_search(const struct request *request)
{
    return request->checksum.length > 0;
}

void upstream_ask(struct upstream *upstream, struct upstream_question *question)
{
    assert_true(upstream->n_questions < MAX_MOST);
    upstream->questions[upstream->n_questions++] = question;
}

void upstream_ask_again(struct upstream *upstream, struct upstream_question *question)
{
    upstream->n_again++;
    upstream_ask(upstream, question);
}

void upstream_cancel(struct upstream *upstream, struct upstream_question *question)
{
    size_t which = 0;

    while (upstream->questions[which] != question)
        which++;
    upstream->n_questions--;
    memmove(&upstream->questions[which], &upstream->questions[which + 1],
        (upstream->n_questions - which) * sizeof(struct upstream_question *));
}

void upstream_add_instances(const struct upstream *upstream, struct instances *instances)
{
    (void)upstream;
    instances_add(instances, text_of("above"));
}

const char *executor_instance(const struct executor *executor)
{
    (void)executor;
    return "own";
}

bool executor_is_stale(const struct executor *executor)
{
    (void)executor;
    return false;
}

/* ---- fixture ---- */

static void on_progress(void *context)
{
    *(unsigned *)context += 1;
}

void stats_write(const struct stats *stats, const struct stats_view *view, struct buffer *out)
{
    (void)stats;
    assert_int_equal(view->rows, 42);
    assert_false(view->rows_estimated);
    buffer_append_string(out, "{\"rows\":42}");
}

static void open_session(struct fixture *fixture, bool is_read_only)
{
    const struct listener_options options = {
        .rights = is_read_only ? LISTENER_READ_ONLY : LISTENER_FULL};

    fixture->session = session_open(&fixture->server, &options, on_progress, &fixture->n_progress);
    assert_non_null(fixture->session);
}

static struct fixture *set_up_server(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
    budget_init(&fixture.budget, BUDGET_BYTES);
    fixture.stats.metrics = &fixture.metrics;
    exports_init(&fixture.exports, &fixture.executor, &fixture.budget);
    fixture.server = (struct server_context){
        .executor = &fixture.executor,
        .stats = &fixture.stats,
        .budget = &fixture.budget,
        .exports = &fixture.exports,
        .max_message_bytes = 1000,
    };
    *state = &fixture;
    return &fixture;
}

int set_up(void **state)
{
    open_session(set_up_server(state), false);
    return 0;
}

int set_up_read_only(void **state)
{
    open_session(set_up_server(state), true);
    return 0;
}

int set_up_below_an_upstream(void **state)
{
    struct fixture *fixture = set_up_server(state);

    fixture->server.upstream = &fixture->upstream;
    open_session(fixture, false);
    return 0;
}

int tear_down(void **state)
{
    struct fixture *fixture = *state;

    if (fixture->session)
        session_close(fixture->session);
    if (fixture->other)
        session_close(fixture->other);
    while (fixture->upstream.n_questions > 0)
        end_question(fixture, 0, ERROR_UPSTREAM);
    while (fixture->executor.n_jobs > 0)
        end_job(fixture, 0);
    assert_int_equal(fixture->upstream.n_questions, 0);
    assert_int_equal(budget_used(&fixture->budget), 0);
    assert_int_equal(fixture->budget.under_way, 0);
    assert_int_equal(fixture->exports.n_open, 0);
    exports_deinit(&fixture->exports);
    buffer_free(&fixture->out);
    return 0;
}

/* ---- what happens ---- */

void take(struct fixture *fixture, const char *message)
{
    assert_int_equal(session_take(fixture->session, text_of(message)), SESSION_CONTINUES);
}

void take_times(struct fixture *fixture, unsigned times, const char *message)
{
    while (times-- > 0)
        take(fixture, message);
}

struct job *job(struct fixture *fixture, size_t which)
{
    exports_turn(&fixture->exports);
    assert_true(which < fixture->executor.n_jobs);
    return fixture->executor.jobs[which];
}

void end_job(struct fixture *fixture, size_t which)
{
    struct executor *executor = &fixture->executor;
    struct job *ended = job(fixture, which);

    executor->n_jobs--;
    memmove(&executor->jobs[which], &executor->jobs[which + 1],
        (executor->n_jobs - which) * sizeof(struct job *));
    ended->done(ended, ended->context);
}

void end_job_with_value(struct fixture *fixture, size_t which, const char *value)
{
    job(fixture, which)->value = strdup(value);
    end_job(fixture, which);
}

void end_job_with_error(struct fixture *fixture, size_t which, const char *reason)
{
    struct job *failed = job(fixture, which);

    failed->result = error_set(&failed->error, ERROR_STORE, "%s", reason);
    end_job(fixture, which);
}

void end_piece(struct fixture *fixture, const char *piece, bool has_more)
{
    static char scan; /* stands for a scan; the session only passes it on */
    struct job *made = job(fixture, 0);

    buffer_append_string(&made->piece, piece);
    made->more = has_more;
    made->scan = has_more ? (struct export_scan *)&scan : NULL;
    end_job(fixture, 0);
}

void end_question(struct fixture *fixture, size_t which, int result)
{
    struct upstream *upstream = &fixture->upstream;
    struct upstream_question *ended = upstream->questions[which];

    assert_true(which < upstream->n_questions);
    upstream->n_questions--;
    memmove(&upstream->questions[which], &upstream->questions[which + 1],
        (upstream->n_questions - which) * sizeof(struct upstream_question *));
    ended->result = result;
    (void)error_set(&ended->error, ERROR_UPSTREAM, "it is away");
    ended->done(ended, ended->context);
}

void answer_question(struct fixture *fixture, size_t which, char *umax, char *uval)
{
    struct upstream_question_list one = TAILQ_HEAD_INITIALIZER(one);

    TAILQ_INSERT_TAIL(&one, fixture->upstream.questions[which], entry);
    upstream_question_answer_all(&one, umax, uval);
    end_question(fixture, which, 0);
}

void assert_running(struct fixture *fixture, size_t n)
{
    exports_turn(&fixture->exports);
    assert_int_equal(fixture->executor.n_jobs, n);
}

void assert_written(struct fixture *fixture, const char *expected)
{
    buffer_reset(&fixture->out, 0);
    assert_true(session_write(fixture->session, &fixture->out, SIZE_MAX));
    assert_text_is(buffer_text(&fixture->out), expected);
}

void open_other(struct fixture *fixture)
{
    const struct listener_options none = {.rights = LISTENER_FULL};

    fixture->other = session_open(&fixture->server, &none, on_progress, &fixture->n_other_progress);
    assert_non_null(fixture->other);
}

void close_session(struct fixture *fixture)
{
    session_close(fixture->session);
    fixture->session = NULL;
}

void assert_contains(const struct fixture *fixture, const char *words)
{
    assert_non_null(memmem(fixture->out.bytes, fixture->out.length, words, strlen(words)));
}

void assert_errors(const struct fixture *fixture, enum request_kind kind, unsigned n)
{
    assert_int_equal(metrics_errors(&fixture->metrics, kind), n);
}

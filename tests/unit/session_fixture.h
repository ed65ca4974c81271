/* SPDX-License-Identifier: MIT */
/* A session (src/server/session.h) on an executor and an upstream that do only what the test lets
 * them do. */
#ifndef PRSERVD_SESSION_FIXTURE_H
#define PRSERVD_SESSION_FIXTURE_H

#include "exec/executor.h"
#include "server/session.h"
#include "unit.h"
#include "upstream/upstream.h"

#define BUDGET_BYTES ((size_t)1024 * 1024)
#define MAX_MOST 300
#define PACKAGE "\"version\": \"v\", \"pkgarch\": \"a\""
#define ROW PACKAGE ", \"checksum\": \"c\""
#define PING "{\"ping\": {}}"
#define GET_PR "{\"get-pr\": {" ROW "}}"
#define GET_PR_HISTORY "{\"get-pr\": {" ROW ", \"history\": true}}"
#define TEST_PR "{\"test-pr\": {" ROW "}}"
#define TEST_PACKAGE "{\"test-package\": {" PACKAGE "}}"
#define MAX_PACKAGE_PR "{\"max-package-pr\": {" PACKAGE "}}"
#define IMPORT_ONE "{\"import-one\": {" ROW ", \"value\": 7}}"
#define EXPORT "{\"export\": {}}"
#define GET_STATS "{\"get-stats\": {}}"
#define STREAM "{\"chunk-stream\": null}\n"
#define ALIVE "{\"alive\":true}\n"

struct executor {
    struct job *jobs[MAX_MOST]; /* submitted and not done */
    size_t n_jobs;
    unsigned n_exports_ended;
};

struct upstream {
    struct upstream_question *questions[MAX_MOST]; /* asked and not done */
    size_t n_questions;
    size_t n_again; /* those that were asked again */
};

struct fixture {
    struct executor executor;
    struct upstream upstream;
    struct stats stats;
    struct metrics metrics;
    struct budget budget;
    struct exports exports;
    struct server_context server;
    struct session *session;
    struct session *other; /* of another client; NULL in most tests */
    unsigned n_progress;
    unsigned n_other_progress;
    struct buffer out;
};

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define TEST_READ_ONLY(test) cmocka_unit_test_setup_teardown(test, set_up_read_only, tear_down)
#define TEST_UPSTREAM(test) \
    cmocka_unit_test_setup_teardown(test, set_up_below_an_upstream, tear_down)

/* A session; of a client that may not store; of a server below an upstream. */
int set_up(void **state);
int set_up_read_only(void **state);
int set_up_below_an_upstream(void **state);

/* Whatever a test leaves under way comes back, and nothing is left of it. */
int tear_down(void **state);

/* Opens a session of another client. */
void open_other(struct fixture *fixture);

/* Passes on messages, which leave the session open. */
void take(struct fixture *fixture, const char *message);
void take_times(struct fixture *fixture, unsigned times, const char *message);

void close_session(struct fixture *fixture);

/* Returns one of the jobs that the executor has, in their order. */
struct job *job(struct fixture *fixture, size_t which);

/* The executor calls back. */
void end_job(struct fixture *fixture, size_t which);
void end_job_with_value(struct fixture *fixture, size_t which, const char *value);
void end_job_with_error(struct fixture *fixture, size_t which, const char *reason);
void end_piece(struct fixture *fixture, const char *piece, bool has_more);

/* The upstream calls back; umax and uval become the question's. */
void end_question(struct fixture *fixture, size_t which, int result);
void answer_question(struct fixture *fixture, size_t which, char *umax, char *uval);

/* Checks the number of jobs that the executor has. */
void assert_running(struct fixture *fixture, size_t n);

/* Writes what can be written, and checks that it is this. */
void assert_written(struct fixture *fixture, const char *expected);

/* Checks that what was written last holds these words. */
void assert_contains(const struct fixture *fixture, const char *words);

/* Checks how many requests of this kind got an error. */
void assert_errors(const struct fixture *fixture, enum request_kind kind, unsigned n);

#endif

/* SPDX-License-Identifier: MIT */
/* Requests to an upstream (src/upstream/upstream_requests.h), without connections. */
#ifndef PRSERVD_UPSTREAM_REQUESTS_FIXTURE_H
#define PRSERVD_UPSTREAM_REQUESTS_FIXTURE_H

#include "upstream/upstream_requests.h"

#include "unit.h"

#define MAX_BREAKS 2
#define REVISION(value) "{\"value\": \"" value "\"}"
#define NONE "{\"value\": null}"
#define CHECK "{\"is-readonly\":{}}\n"
#define REFUSAL "{\"invoke-error\": {\"message\": \"no such luck\"}}"

#define LINES(checksum)                                                          \
    "{\"max-package-pr\":{\"version\":\"v\",\"pkgarch\":\"a\"}}\n"               \
    "{\"test-pr\":{\"version\":\"v\",\"pkgarch\":\"a\",\"checksum\":\"" checksum \
    "\",\"history\":false}}\n"

struct fixture {
    struct upstream_requests requests;
    struct upstream_request_list sent; /* on the shared connection */
    struct upstream_request_list solitary;
    struct upstream_question questions[4];
    struct upstream_question_list ended;
    struct buffer lines;
    struct upstream_answer answer;
};

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int set_up(void **state);
int tear_down(void **state);

/* Asks one of the fixture's questions. */
void ask(struct fixture *fixture, size_t which, const char *checksum);
void ask_with_history(struct fixture *fixture, size_t which, const char *checksum, bool history);

/* Checks what is sent next: on the shared connection; of the suspects, one at a time. */
void assert_sends(struct fixture *fixture, const char *expected);
void assert_sends_suspect(struct fixture *fixture, const char *expected);

/* Passes on a message of the upstream; NULL: one that is not JSON. */
enum upstream_request_result answer(struct fixture *fixture, const char *message);
enum upstream_request_result answer_on(
    struct fixture *fixture, struct upstream_request_list *sent, const char *message);

/* The connection with these requests breaks. */
void break_connection(struct fixture *fixture, struct upstream_request_list *sent);

/* Takes the next question that has ended; it has to be this one. */
void assert_ended(struct fixture *fixture, size_t which);
void assert_none_ended(const struct fixture *fixture);

/* Checks the answer to a question; "none": NULL. */
void assert_has(const struct fixture *fixture, size_t which, const char *umax, const char *uval);

#endif

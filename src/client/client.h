/* One connection to a PR server, from a program that may wait: asks, and blocks until
 * the answer is there or the time is over. One thread at a time. */
#ifndef PRSERVD_CLIENT_H
#define PRSERVD_CLIENT_H

#include "base/address.h"
#include "base/error.h"
#include "wire/request.h"

#include <stdbool.h>

struct client;

/* Connects within timeout_ms, which is also the longest that an answer may take.
 * *client is the caller's. Fails with ERROR_SYSTEM or ERROR_MEMORY; the text names
 * the server. */
ERROR_MUST_CHECK int client_open(
    struct client **client, const struct address *server, unsigned timeout_ms, struct error *error);

/* NULL is allowed. */
void client_close(struct client *client);

/* Asks for a revision (get-pr, test-pr, max-package-pr). *revision is the caller's
 * (free), NULL if there is none. ERROR_INPUT: the server said no, and the client is
 * usable; after any other error it is only good for client_close. */
ERROR_MUST_CHECK int client_ask_revision(
    struct client *client, const struct request *request, char **revision, struct error *error);

/* Asks for a yes or no: ping, test-package, is-readonly. Errors as above. */
ERROR_MUST_CHECK int client_ask_flag(
    struct client *client, const struct request *request, bool *flag, struct error *error);

#endif

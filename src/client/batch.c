/* SPDX-License-Identifier: MIT */
/* Batches. Requests are sent in windows, as many together as the server accepts, and their answers
 * are read one by one. Each request has an error of its own; only a broken connection ends the
 * batch. */
#include "client/handle.h"

#define WINDOW 128 /* requests under way; prservd accepts that many */

/* prservd reads on while it answers, and these answers are short: they fit in a socket's buffer. */
#define PACKAGES_WINDOW 1000

/* The requests of a batch are of one of two kinds. */
struct batch {
    struct prserv_request *requests;
    struct prserv_package *packages; /* NULL: requests are used */
    size_t n;
    size_t window;
};

static struct prserv_error *client_batch_error(const struct batch *batch, size_t at)
{
    return batch->packages ? &batch->packages[at].error : &batch->requests[at].error;
}

static enum request_kind client_batch_kind(const struct batch *batch, size_t at)
{
    if (batch->packages)
        return REQUEST_MAX_PACKAGE_PR;
    return batch->requests[at].row.value.bytes ? REQUEST_IMPORT_ONE : REQUEST_GET_PR;
}

static struct request client_batch_request(const struct batch *batch, size_t at)
{
    if (batch->packages) {
        const struct prserv_row row = {
            .version = batch->packages[at].version, .pkgarch = batch->packages[at].pkgarch};

        return handle_request(REQUEST_MAX_PACKAGE_PR, &row, false);
    }
    return handle_request(
        client_batch_kind(batch, at), &batch->requests[at].row, batch->requests[at].history);
}

/* Writes the requests of a window. One that can't be asked gets an error, and is left out. */
static int client_batch_write_window(const struct prserv *server, const struct batch *batch,
    size_t from, size_t to, struct buffer *lines, struct prserv_error *error)
{
    buffer_reset(lines, BUFFER_KEEP_BYTES);
    for (size_t i = from; i < to; i++) {
        const struct request request = client_batch_request(batch, i);
        struct prserv_error *own = client_batch_error(batch, i);
        int result = handle_write(lines, &request, own);

        if (result == PRSERV_ERROR_ARGUMENT) {
            handle_blame(server, request.kind, own);
        } else if (result != 0) {
            *error = *own;
            return result;
        }
    }
    return 0;
}

/* Reads an answer into its request. Fails only with what ends the batch. */
static int client_batch_take_answer(const struct prserv *server, const struct batch *batch,
    size_t at, struct text answer, struct prserv_error *error)
{
    const enum request_kind kind = client_batch_kind(batch, at);
    struct prserv_error *own = client_batch_error(batch, at);
    int result;

    if (kind == REQUEST_MAX_PACKAGE_PR)
        result = handle_read_revision(answer, false, &batch->packages[at].revision, own);
    else if (kind == REQUEST_IMPORT_ONE)
        result = handle_read_imported(answer, field_text(batch->requests[at].row.value), own);
    else
        result = handle_read_revision(answer, true, &batch->requests[at].revision, own);
    if (result == PRSERV_ERROR_REFUSED)
        handle_blame(server, kind, own);
    if (result == 0 || result == PRSERV_ERROR_REFUSED)
        return 0;
    *error = *own;
    return result;
}

/* Sends a window and reads its answers. *done moves to the first request without an answer. */
static int client_batch_run_window(struct prserv *server, const struct batch *batch, size_t to,
    struct buffer *lines, size_t *done, struct prserv_error *error)
{
    bool sent = false;
    int result = client_batch_write_window(server, batch, *done, to, lines, error);

    for (; result == 0 && *done < to; ++*done) {
        struct text answer;

        if (client_batch_error(batch, *done)->code != 0)
            continue;
        result = sent ? handle_next(server, &answer, NULL, error)
                      : handle_start(server, buffer_text(lines), &answer, NULL, error);
        sent = true;
        if (result == 0)
            result = client_batch_take_answer(server, batch, *done, answer, error);
        if (result != 0)
            return result;
    }
    return result;
}

static int client_batch_run(
    struct prserv *server, const struct batch *batch, struct prserv_error *error)
{
    struct buffer lines = BUFFER_EMPTY;
    enum request_kind kind;
    size_t done = 0;
    int result = 0;

    handle_begin(server);
    while (done < batch->n && result == 0) {
        const size_t left = batch->n - done;

        result = client_batch_run_window(server, batch,
            done + (left < batch->window ? left : batch->window), &lines, &done, error);
    }
    buffer_free(&lines);
    kind = done < batch->n           ? client_batch_kind(batch, done)
           : batch->packages != NULL ? REQUEST_MAX_PACKAGE_PR
                                     : REQUEST_GET_PR;
    result = handle_end(server, kind, result, error);
    for (; done < batch->n; done++)
        *client_batch_error(batch, done) = *error;
    return result;
}

int prserv_batch(struct prserv *server, struct prserv_request *requests, size_t n_requests,
    struct prserv_error *error)
{
    const struct batch batch = {.requests = requests, .n = n_requests, .window = WINDOW};

    for (size_t i = 0; i < n_requests; i++) {
        requests[i].revision = NULL;
        requests[i].error = (struct prserv_error){.code = 0};
    }
    return client_batch_run(server, &batch, error);
}

int prserv_max_package_prs(struct prserv *server, struct prserv_package *packages,
    size_t n_packages, struct prserv_error *error)
{
    const struct batch batch = {.packages = packages, .n = n_packages, .window = PACKAGES_WINDOW};

    for (size_t i = 0; i < n_packages; i++) {
        packages[i].revision = NULL;
        packages[i].error = (struct prserv_error){.code = 0};
    }
    return client_batch_run(server, &batch, error);
}

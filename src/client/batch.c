/* SPDX-License-Identifier: MIT */
/* Batches. Requests are sent in windows, as many together as the server accepts, and their answers
 * are read one by one. Each request has an error of its own; only a broken connection ends the
 * batch. */
#include "client/handle.h"

#define WINDOW 128 /* requests under way; prservd accepts that many */

static enum request_kind client_batch_kind_of(const struct prserv_request *asked)
{
    return asked->row.value.bytes ? REQUEST_IMPORT_ONE : REQUEST_GET_PR;
}

/* Writes the requests of a window. One that can't be asked gets an error, and is left out. */
static int client_batch_write_window(const struct prserv *server, struct prserv_request *requests,
    size_t n, struct buffer *lines, struct prserv_error *error)
{
    buffer_reset(lines, BUFFER_KEEP_BYTES);
    for (size_t i = 0; i < n; i++) {
        const struct request request = handle_request(
            client_batch_kind_of(&requests[i]), &requests[i].row, requests[i].history);
        int result = handle_write(lines, &request, &requests[i].error);

        if (result == PRSERV_ERROR_ARGUMENT) {
            handle_blame(server, request.kind, &requests[i].error);
        } else if (result != 0) {
            *error = requests[i].error;
            return result;
        }
    }
    return 0;
}

/* Reads an answer into its request. Fails only with what ends the batch. */
static int client_batch_take_answer(const struct prserv *server, struct prserv_request *asked,
    struct text answer, struct prserv_error *error)
{
    int result = client_batch_kind_of(asked) == REQUEST_IMPORT_ONE
                     ? handle_read_imported(answer, field_text(asked->row.value), &asked->error)
                     : handle_read_revision(answer, true, &asked->revision, &asked->error);

    if (result == PRSERV_ERROR_REFUSED)
        handle_blame(server, client_batch_kind_of(asked), &asked->error);
    if (result == 0 || result == PRSERV_ERROR_REFUSED)
        return 0;
    *error = asked->error;
    return result;
}

/* Sends a window and reads its answers. *answered is the number of finished requests, also after an
 * error. */
static int client_batch_run_window(struct prserv *server, struct prserv_request *requests, size_t n,
    struct buffer *lines, size_t *answered, struct prserv_error *error)
{
    bool sent = false;
    int result = client_batch_write_window(server, requests, n, lines, error);

    for (*answered = 0; result == 0 && *answered < n; ++*answered) {
        struct prserv_request *asked = &requests[*answered];
        struct text answer;

        if (asked->error.code != 0)
            continue;
        result = sent ? handle_next(server, &answer, NULL, error)
                      : handle_start(server, buffer_text(lines), &answer, NULL, error);
        sent = true;
        if (result == 0)
            result = client_batch_take_answer(server, asked, answer, error);
        if (result != 0)
            return result;
    }
    return result;
}

int prserv_batch(struct prserv *server, struct prserv_request *requests, size_t n_requests,
    struct prserv_error *error)
{
    struct buffer lines = BUFFER_EMPTY;
    enum request_kind kind;
    size_t done = 0;
    int result = 0;

    for (size_t i = 0; i < n_requests; i++) {
        requests[i].revision = NULL;
        requests[i].error = (struct prserv_error){.code = 0};
    }
    handle_begin(server);
    while (done < n_requests && result == 0) {
        size_t n = n_requests - done < WINDOW ? n_requests - done : WINDOW;
        size_t answered;

        result = client_batch_run_window(server, requests + done, n, &lines, &answered, error);
        done += answered;
    }
    buffer_free(&lines);
    kind = done < n_requests ? client_batch_kind_of(&requests[done]) : REQUEST_GET_PR;
    result = handle_end(server, kind, result, error);
    for (; done < n_requests; done++)
        requests[done].error = *error;
    return result;
}

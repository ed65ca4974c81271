/* SPDX-License-Identifier: MIT */
/* Single requests: each is sent alone, and its answer is one message. */
#include "client/prserv.h"

#include "client/client_error.h"
#include "client/handle.h"
#include "wire/codec.h"

static int prserv_ask_revision(struct prserv *server, const struct request *request,
    char **revision, struct prserv_error *error)
{
    struct text answer;
    int result = handle_ask(server, request, &answer, NULL, error);

    *revision = NULL;
    if (result == 0)
        result = handle_read_revision(answer, request->kind == REQUEST_GET_PR, revision, error);
    return handle_end(server, request->kind, result, error);
}

static int prserv_ask_flag(struct prserv *server, const struct request *request, const char *member,
    bool *flag, struct prserv_error *error)
{
    struct text answer;
    struct error reason;
    int result = handle_ask(server, request, &answer, NULL, error);

    if (result == 0 && (result = codec_read_flag(answer, member, flag, &reason)) != 0)
        result = client_error_from_codec(error, result, &reason);
    return handle_end(server, request->kind, result, error);
}

int prserv_ping(struct prserv *server, struct prserv_error *error)
{
    const struct request request = {.kind = REQUEST_PING};
    bool alive = false;
    int result = prserv_ask_flag(server, &request, "alive", &alive, error);

    if (result == 0 && !alive)
        return client_error_set(error, PRSERV_ERROR_REFUSED,
            "%s: ping: the server says that it is not alive", prserv_address(server));
    return result;
}

int prserv_is_readonly(struct prserv *server, bool *read_only, struct prserv_error *error)
{
    const struct request request = {.kind = REQUEST_IS_READONLY};

    return prserv_ask_flag(server, &request, "readonly", read_only, error);
}

int prserv_get_pr(struct prserv *server, struct prserv_text version, struct prserv_text pkgarch,
    struct prserv_text checksum, bool history, char **revision, struct prserv_error *error)
{
    const struct prserv_row row = {.version = version, .pkgarch = pkgarch, .checksum = checksum};
    const struct request request = handle_request(REQUEST_GET_PR, &row, history);

    return prserv_ask_revision(server, &request, revision, error);
}

int prserv_test_pr(struct prserv *server, struct prserv_text version, struct prserv_text pkgarch,
    struct prserv_text checksum, bool history, char **revision, struct prserv_error *error)
{
    const struct prserv_row row = {.version = version, .pkgarch = pkgarch, .checksum = checksum};
    const struct request request = handle_request(REQUEST_TEST_PR, &row, history);

    return prserv_ask_revision(server, &request, revision, error);
}

int prserv_max_package_pr(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, char **revision, struct prserv_error *error)
{
    const struct prserv_row row = {.version = version, .pkgarch = pkgarch};
    const struct request request = handle_request(REQUEST_MAX_PACKAGE_PR, &row, false);

    return prserv_ask_revision(server, &request, revision, error);
}

int prserv_test_package(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, bool *known, struct prserv_error *error)
{
    const struct prserv_row row = {.version = version, .pkgarch = pkgarch};
    const struct request request = handle_request(REQUEST_TEST_PACKAGE, &row, false);

    return prserv_ask_flag(server, &request, "value", known, error);
}

int prserv_import_one(
    struct prserv *server, const struct prserv_row *row, struct prserv_error *error)
{
    const struct request request = handle_request(REQUEST_IMPORT_ONE, row, false);
    struct text answer;
    int result;

    if (!row->value.bytes) {
        handle_begin(server);
        result = client_error_set(error, PRSERV_ERROR_ARGUMENT, "a row needs a value");
        return handle_end(server, request.kind, result, error);
    }
    result = handle_ask(server, &request, &answer, NULL, error);
    if (result == 0)
        result = handle_read_imported(answer, request.value, error);
    return handle_end(server, request.kind, result, error);
}

int prserv_get_stats(struct prserv *server, char **json, struct prserv_error *error)
{
    const struct request request = {.kind = REQUEST_GET_STATS};
    struct text answer;
    struct error reason;
    int result = handle_ask(server, &request, &answer, NULL, error);

    *json = NULL;
    if (result == 0 && (result = codec_check_answer(answer, "requests", &reason)) != 0)
        result = client_error_from_codec(error, result, &reason);
    if (result == 0) {
        *json = strndup(answer.bytes, answer.length);
        result = *json ? 0 : client_error_set(error, PRSERV_ERROR_MEMORY, "out of memory");
    }
    return handle_end(server, request.kind, result, error);
}

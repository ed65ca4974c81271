/* The requests that are one line and one message: each asks, and reads the answer. */
#include "client/prserv.h"

#include "client/answer.h"
#include "client/fail.h"
#include "client/handle.h"
#include "wire/codec.h"

#include <stdlib.h>

static int ask_revision(struct prserv *server, const struct request *request, char **revision,
    struct prserv_error *error)
{
    struct text answer;
    int result = handle_ask(server, request, &answer, error);

    *revision = NULL;
    if (result == 0)
        result = answer_read_revision(answer, request->kind == REQUEST_GET_PR, revision, error);
    return handle_end(server, request->kind, result, error);
}

static int ask_flag(struct prserv *server, const struct request *request, const char *member,
    bool *flag, struct prserv_error *error)
{
    struct text answer;
    struct error reason;
    int result = handle_ask(server, request, &answer, error);

    if (result == 0 && (result = codec_read_flag(answer, member, flag, &reason)) != 0)
        result = answer_fail(error, result, &reason);
    return handle_end(server, request->kind, result, error);
}

int prserv_ping(struct prserv *server, struct prserv_error *error)
{
    const struct request request = {.kind = REQUEST_PING};
    bool alive = false;
    int result = ask_flag(server, &request, "alive", &alive, error);

    if (result == 0 && !alive)
        return fail(error, PRSERV_ERROR_REFUSED, "%s: ping: it says that it is not alive",
            prserv_address(server));
    return result;
}

int prserv_is_readonly(struct prserv *server, bool *read_only, struct prserv_error *error)
{
    const struct request request = {.kind = REQUEST_IS_READONLY};

    return ask_flag(server, &request, "readonly", read_only, error);
}

int prserv_get_pr(struct prserv *server, struct prserv_text version, struct prserv_text pkgarch,
    struct prserv_text checksum, bool history, char **revision, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_GET_PR,
        .version = field_text(version),
        .pkgarch = field_text(pkgarch),
        .checksum = field_text(checksum),
        .history = history,
    };

    return ask_revision(server, &request, revision, error);
}

int prserv_test_pr(struct prserv *server, struct prserv_text version, struct prserv_text pkgarch,
    struct prserv_text checksum, bool history, char **revision, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_TEST_PR,
        .version = field_text(version),
        .pkgarch = field_text(pkgarch),
        .checksum = field_text(checksum),
        .history = history,
    };

    return ask_revision(server, &request, revision, error);
}

int prserv_max_package_pr(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, char **revision, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_MAX_PACKAGE_PR,
        .version = field_text(version),
        .pkgarch = field_text(pkgarch),
    };

    return ask_revision(server, &request, revision, error);
}

int prserv_test_package(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, bool *known, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_TEST_PACKAGE,
        .version = field_text(version),
        .pkgarch = field_text(pkgarch),
    };

    return ask_flag(server, &request, "value", known, error);
}

int prserv_import_one(
    struct prserv *server, const struct prserv_row *row, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_IMPORT_ONE,
        .version = field_text(row->version),
        .pkgarch = field_text(row->pkgarch),
        .checksum = field_text(row->checksum),
        .value = field_text(row->value),
    };
    struct text answer;
    int result;

    if (!row->value.bytes) {
        handle_begin(server);
        result = fail(error, PRSERV_ERROR_ARGUMENT, "a row needs a value");
        return handle_end(server, request.kind, result, error);
    }
    result = handle_ask(server, &request, &answer, error);
    if (result == 0)
        result = answer_read_imported(answer, request.value, error);
    return handle_end(server, request.kind, result, error);
}

int prserv_get_stats(struct prserv *server, char **json, struct prserv_error *error)
{
    const struct request request = {.kind = REQUEST_GET_STATS};
    struct text answer;
    struct error reason;
    int result = handle_ask(server, &request, &answer, error);

    *json = NULL;
    if (result == 0 && (result = codec_check_answer(answer, "requests", &reason)) != 0)
        result = answer_fail(error, result, &reason);
    if (result == 0) {
        *json = strndup(answer.bytes, answer.length);
        result = *json ? 0 : fail(error, PRSERV_ERROR_MEMORY, "out of memory");
    }
    return handle_end(server, request.kind, result, error);
}

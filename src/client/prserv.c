/* The public functions: each takes the handle's lock, asks, and reads the answer. */
#include "client/prserv.h"

#include "client/channel.h"
#include "client/fail.h"
#include "client/splitter.h"
#include "wire/codec.h"

#include <pthread.h>
#include <stdlib.h>

struct prserv {
    pthread_mutex_t mutex; /* guards what follows */
    struct channel channel;
    unsigned timeout_ms;
    struct address address;
    char name[ADDRESS_TEXT_BYTES];
};

/* ---- small change between the two worlds ---- */

static struct text to_text(struct prserv_text text)
{
    return (struct text){.bytes = text.bytes, .length = text.length};
}

static struct prserv_text from_text(struct text text)
{
    return (struct prserv_text){.bytes = text.bytes, .length = text.length};
}

/* Puts host and request before the reason. */
static int blame(const struct prserv *server, enum request_kind kind, struct prserv_error *error)
{
    char reason[sizeof error->text];

    (void)snprintf(reason, sizeof reason, "%s", error->text);
    return fail(error, error->code, "%s: %s: %.200s", server->name, request_name(kind), reason);
}

/* The codec's code for what an answer is, in ours. */
static int from_codec(int code)
{
    switch (code) {
    case ERROR_MEMORY:
        return PRSERV_ERROR_MEMORY;
    case ERROR_INPUT:
        return PRSERV_ERROR_REFUSED;
    default:
        return PRSERV_ERROR_PROTOCOL;
    }
}

/* Does the handle's connection have to go after this? */
static bool breaks_connection(int code)
{
    return code == PRSERV_ERROR_CONNECTION || code == PRSERV_ERROR_TIMEOUT ||
           code == PRSERV_ERROR_PROTOCOL;
}

/* Ends a call: the answer's failure, if any, becomes the caller's. */
static int end_call(
    struct prserv *server, enum request_kind kind, int result, struct prserv_error *error)
{
    if (breaks_connection(result))
        channel_close(&server->channel);
    if (result != 0)
        result = blame(server, kind, error);
    else
        *error = (struct prserv_error){.code = 0};
    (void)pthread_mutex_unlock(&server->mutex);
    return result;
}

/* ---- asking ---- */

static int write_line(
    struct buffer *line, const struct request *request, struct prserv_error *error)
{
    struct buffer text = BUFFER_EMPTY;

    codec_write_request(&text, request);
    line->failed = line->failed || buffer_failed(&text);
    framer_write(line, buffer_text(&text));
    buffer_free(&text);
    return buffer_failed(line) ? fail(error, PRSERV_ERROR_MEMORY, "out of memory") : 0;
}

/* Sends, and waits until the answer begins. What was left of an older connection is
 * given one try: if the server has closed it, a new one is opened. */
static int start_exchange(struct prserv *server, struct text line, bool *last, struct text *piece,
    struct prserv_error *error)
{
    bool kept = server->channel.descriptor >= 0;
    int result = 0;

    channel_hurry(&server->channel, server->timeout_ms);
    if (!kept)
        result = channel_open(&server->channel, &server->address, error);
    if (result == 0)
        result = channel_send(&server->channel, line, error);
    if (result == 0 && last)
        result = channel_piece(&server->channel, piece, last, error);
    else if (result == 0)
        result = channel_message(&server->channel, piece, error);
    if (result != PRSERV_ERROR_CONNECTION || !kept || server->channel.heard)
        return result;
    channel_close(&server->channel);
    return start_exchange(server, line, last, piece, error);
}

/* Takes the lock and asks; end_call has to follow. */
static int ask(struct prserv *server, const struct request *request, struct text *answer,
    struct prserv_error *error)
{
    struct buffer line = BUFFER_EMPTY;
    int result;

    (void)pthread_mutex_lock(&server->mutex);
    result = write_line(&line, request, error);
    if (result == 0)
        result = start_exchange(server, buffer_text(&line), NULL, answer, error);
    buffer_free(&line);
    return result;
}

static int ask_revision(struct prserv *server, const struct request *request, char **revision,
    struct prserv_error *error)
{
    struct text answer;
    struct error reason;
    int result = ask(server, request, &answer, error);

    *revision = NULL;
    if (result == 0 && (result = codec_read_value(answer, revision, &reason)) != 0)
        result = fail(error, from_codec(result), "%s", reason.text);
    return end_call(server, request->kind, result, error);
}

static int ask_flag(struct prserv *server, const struct request *request, const char *member,
    bool *flag, struct prserv_error *error)
{
    struct text answer;
    struct error reason;
    int result = ask(server, request, &answer, error);

    if (result == 0 && (result = codec_read_flag(answer, member, flag, &reason)) != 0)
        result = fail(error, from_codec(result), "%s", reason.text);
    return end_call(server, request->kind, result, error);
}

/* ---- one request each ---- */

int prserv_ping(struct prserv *server, struct prserv_error *error)
{
    const struct request request = {.kind = REQUEST_PING};
    bool alive;

    return ask_flag(server, &request, "alive", &alive, error);
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
        .version = to_text(version),
        .pkgarch = to_text(pkgarch),
        .checksum = to_text(checksum),
        .history = history,
    };

    return ask_revision(server, &request, revision, error);
}

int prserv_test_pr(struct prserv *server, struct prserv_text version, struct prserv_text pkgarch,
    struct prserv_text checksum, bool history, char **revision, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_TEST_PR,
        .version = to_text(version),
        .pkgarch = to_text(pkgarch),
        .checksum = to_text(checksum),
        .history = history,
    };

    return ask_revision(server, &request, revision, error);
}

int prserv_max_package_pr(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, char **revision, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_MAX_PACKAGE_PR,
        .version = to_text(version),
        .pkgarch = to_text(pkgarch),
    };

    return ask_revision(server, &request, revision, error);
}

int prserv_test_package(struct prserv *server, struct prserv_text version,
    struct prserv_text pkgarch, bool *known, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_TEST_PACKAGE,
        .version = to_text(version),
        .pkgarch = to_text(pkgarch),
    };

    return ask_flag(server, &request, "value", known, error);
}

/* What an import-one was answered: null is the no of a read-only server. */
static int read_imported(struct text answer, struct prserv_error *error)
{
    struct error reason;
    char *revision = NULL;
    int result;

    if (text_is(answer, "null"))
        return fail(error, PRSERV_ERROR_REFUSED, "the server is read-only");
    result = codec_read_value(answer, &revision, &reason);
    free(revision);
    return result == 0 ? 0 : fail(error, from_codec(result), "%s", reason.text);
}

static void fill_import(struct request *request, const struct prserv_row *row)
{
    *request = (struct request){
        .kind = REQUEST_IMPORT_ONE,
        .version = to_text(row->version),
        .pkgarch = to_text(row->pkgarch),
        .checksum = to_text(row->checksum),
        .value = to_text(row->value),
    };
}

int prserv_import_one(
    struct prserv *server, const struct prserv_row *row, struct prserv_error *error)
{
    struct request request;
    struct text answer;
    int result;

    if (!row->value.bytes)
        return fail(error, PRSERV_ERROR_ARGUMENT, "import-one: a row needs a value");
    fill_import(&request, row);
    result = ask(server, &request, &answer, error);
    if (result == 0)
        result = read_imported(answer, error);
    return end_call(server, request.kind, result, error);
}

int prserv_get_stats(struct prserv *server, char **json, struct prserv_error *error)
{
    const struct request request = {.kind = REQUEST_GET_STATS};
    struct text answer;
    struct error reason;
    int result = ask(server, &request, &answer, error);

    *json = NULL;
    if (result == 0 && (result = codec_check_answer(answer, "requests", &reason)) != 0)
        result = fail(error, from_codec(result), "%s", reason.text);
    if (result == 0) {
        *json = strndup(answer.bytes, answer.length);
        result = *json ? 0 : fail(error, PRSERV_ERROR_MEMORY, "out of memory");
    }
    return end_call(server, request.kind, result, error);
}

/* ---- export ---- */

struct exporting {
    const struct prserv_export *export;
    struct prserv_error *error;
};

static int found_row(struct exporting *exporting, struct text json)
{
    struct codec_row row;
    struct prserv_row handed;
    struct error reason;
    int result = codec_read_row(json, &row, &reason);

    if (result != 0)
        return fail(exporting->error, from_codec(result), "%s", reason.text);
    handed.version = from_text(row.version);
    handed.pkgarch = from_text(row.pkgarch);
    handed.checksum = from_text(row.checksum);
    handed.value = from_text(row.value);
    result = exporting->export->row(exporting->export->context, &handed);
    codec_release_row(&row);
    return result == 0 ? 0 : fail(exporting->error, PRSERV_ERROR_STOPPED, "the caller stopped it");
}

static int found_member(void *context, struct text key, struct text value)
{
    struct exporting *exporting = context;
    const struct prserv_export *export = exporting->export;

    if (text_is(key, "datainfo"))
        return found_row(exporting, value);
    if (text_is(key, "metainfo")) {
        if (!export->metainfo || export->metainfo(export->context, from_text(value)) == 0)
            return 0;
        return fail(exporting->error, PRSERV_ERROR_STOPPED, "the caller stopped it");
    }
    if (text_is(key, "invoke-error")) {
        struct error reason;

        (void)codec_read_refusal(value, &reason);
        return fail(exporting->error, PRSERV_ERROR_REFUSED, "%s", reason.text);
    }
    return 0;
}

static int feed(struct splitter *splitter, struct text piece, struct prserv_error *error)
{
    int result = splitter_feed(splitter, piece);

    if (result == SPLITTER_NONSENSE)
        return fail(error, PRSERV_ERROR_PROTOCOL, "it answered with something that is no export");
    if (result == SPLITTER_NO_MEMORY)
        return fail(error, PRSERV_ERROR_MEMORY, "out of memory");
    return result;
}

/* Reads the answer to its end, piece by piece. */
static int read_export(struct prserv *server, struct splitter *splitter, struct text piece,
    bool last, struct prserv_error *error)
{
    int result = feed(splitter, piece, error);

    while (result == 0 && !last) {
        channel_hurry(&server->channel, server->timeout_ms);
        result = channel_piece(&server->channel, &piece, &last, error);
        if (result == 0)
            result = feed(splitter, piece, error);
    }
    if (result == 0 && !splitter_is_complete(splitter))
        return fail(error, PRSERV_ERROR_PROTOCOL, "the export ended midway");
    /* What is left of an answer that is not read to its end can't be skipped. */
    if (result != 0 && !last)
        channel_close(&server->channel);
    return result;
}

int prserv_export(
    struct prserv *server, const struct prserv_export *export, struct prserv_error *error)
{
    const struct request request = {
        .kind = REQUEST_EXPORT,
        .version = to_text(export->version),
        .pkgarch = to_text(export->pkgarch),
        .checksum = to_text(export->checksum),
        .history = export->history,
        .colinfo = export->colinfo,
    };
    struct exporting exporting = {.export = export, .error = error};
    struct splitter splitter = {.found = found_member, .context = &exporting};
    struct buffer line = BUFFER_EMPTY;
    struct text piece;
    bool last;
    int result;

    (void)pthread_mutex_lock(&server->mutex);
    result = write_line(&line, &request, error);
    if (result == 0)
        result = start_exchange(server, buffer_text(&line), &last, &piece, error);
    buffer_free(&line);
    if (result == 0)
        result = read_export(server, &splitter, piece, last, error);
    splitter_free(&splitter);
    return end_call(server, request.kind, result, error);
}

/* ---- many requests at once ---- */

#define WINDOW 128 /* requests that are under way; prservd takes that many */

static void fill_request(struct request *request, const struct prserv_request *asked)
{
    fill_import(request, &asked->row);
    request->history = asked->history;
    if (!asked->row.value.bytes)
        request->kind = REQUEST_GET_PR;
}

static enum request_kind kind_of(const struct prserv_request *asked)
{
    return asked->row.value.bytes ? REQUEST_IMPORT_ONE : REQUEST_GET_PR;
}

static int write_window(const struct prserv_request *requests, size_t n, struct buffer *lines,
    struct prserv_error *error)
{
    buffer_reset(lines, (size_t)64 * 1024);
    for (size_t i = 0; i < n; i++) {
        struct request request;
        int result;

        fill_request(&request, &requests[i]);
        result = write_line(lines, &request, error);
        if (result != 0)
            return result;
    }
    return 0;
}

static void take_answer(struct prserv *server, struct prserv_request *asked, struct text answer)
{
    struct error reason;
    int result;

    asked->error = (struct prserv_error){.code = 0};
    if (asked->row.value.bytes) {
        result = read_imported(answer, &asked->error);
    } else {
        result = codec_read_value(answer, &asked->revision, &reason);
        if (result != 0)
            (void)fail(&asked->error, from_codec(result), "%s", reason.text);
    }
    if (result != 0)
        (void)blame(server, kind_of(asked), &asked->error);
}

/* One window: sent together, then answered one by one. */
static int run_window(struct prserv *server, struct prserv_request *requests, size_t n,
    struct buffer *lines, size_t *answered, struct prserv_error *error)
{
    struct text answer;
    int result = write_window(requests, n, lines, error);

    if (result == 0)
        result = start_exchange(server, buffer_text(lines), NULL, &answer, error);
    while (result == 0) {
        take_answer(server, &requests[*answered], answer);
        if (requests[*answered].error.code == PRSERV_ERROR_PROTOCOL) {
            *error = requests[*answered].error;
            return PRSERV_ERROR_PROTOCOL;
        }
        if (++*answered == n)
            return 0;
        channel_hurry(&server->channel, server->timeout_ms);
        result = channel_message(&server->channel, &answer, error);
    }
    return result;
}

int prserv_batch(struct prserv *server, struct prserv_request *requests, size_t n_requests,
    struct prserv_error *error)
{
    struct buffer lines = BUFFER_EMPTY;
    size_t done = 0;
    int result = 0;

    (void)pthread_mutex_lock(&server->mutex);
    for (size_t i = 0; i < n_requests; i++)
        requests[i].revision = NULL;
    while (done < n_requests && result == 0) {
        size_t n = n_requests - done < WINDOW ? n_requests - done : WINDOW;
        size_t answered = 0;

        result = run_window(server, requests + done, n, &lines, &answered, error);
        done += answered;
    }
    buffer_free(&lines);
    result = end_call(
        server, done < n_requests ? kind_of(&requests[done]) : REQUEST_PING, result, error);
    for (; done < n_requests; done++)
        requests[done].error = *error;
    return result;
}

/* ---- connecting ---- */

int prserv_connect(
    struct prserv **result, const char *address, unsigned timeout_ms, struct prserv_error *error)
{
    struct prserv *server = calloc(1, sizeof *server);
    struct error reason;
    int code;

    *result = NULL;
    if (!server)
        return fail(error, PRSERV_ERROR_MEMORY, "out of memory");
    channel_init(&server->channel);
    if (address_parse(&server->address, address, &reason) != 0) {
        free(server);
        return fail(error, PRSERV_ERROR_ARGUMENT, "%s", reason.text);
    }
    (void)pthread_mutex_init(&server->mutex, NULL);
    address_format(&server->address, server->name);
    server->timeout_ms = timeout_ms;
    channel_hurry(&server->channel, timeout_ms);
    code = channel_open(&server->channel, &server->address, error);
    if (code != 0) {
        char what[sizeof error->text];

        (void)snprintf(what, sizeof what, "%s", error->text);
        (void)fail(error, code, "%s: can't connect: %.200s", server->name, what);
        prserv_close(server);
        return code;
    }
    *error = (struct prserv_error){.code = 0};
    *result = server;
    return 0;
}

void prserv_close(struct prserv *server)
{
    if (!server)
        return;
    channel_close(&server->channel);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
}

void prserv_set_timeout(struct prserv *server, unsigned timeout_ms)
{
    (void)pthread_mutex_lock(&server->mutex);
    server->timeout_ms = timeout_ms;
    (void)pthread_mutex_unlock(&server->mutex);
}

const char *prserv_address(const struct prserv *server)
{
    return server->name;
}

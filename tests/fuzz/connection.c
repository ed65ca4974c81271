/* SPDX-License-Identifier: MIT */
/* A whole server and one client. However the client splits its input into pieces, each message gets
 * one answer, in the order of the messages. An answer is JSON in ASCII, in lines that BitBake can
 * read, and is either the result of its request or an error. The same request twice in a row gets
 * the same answer twice.
 *
 * Input: a byte that seeds the pieces, a byte whose lowest bit chooses the read-only address, and
 * what the client sends until it shuts down its side. The server lives as long as the process;
 * for each input, this program restores the same rows in its database. */
#include "base/log.h"
#include "fuzz.h"
#include "revision/revision.h"
#include "server/server.h"
#include "wire/codec.h"
#include "wire/framer.h"
#include "wire/handshake.h"
#include "wire/xml_rpc.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FILE_NAME "connection.sqlite3"
#define MAX_MESSAGE_BYTES 2048
#define MAX_MEMORY_BYTES ((size_t)64 * 1024 * 1024)
#define MOST_SENT ((size_t)64 * 1024) /* fits into the socket buffer */
#define ROWS "300"                    /* enough to make an export a chunk stream */
#define ANY_LENGTH ((size_t)1 << 40)

/* ---- the server ---- */

struct place {
    struct sockaddr_un name;
    socklen_t length;
};

struct harness {
    struct place addresses[2];
    sqlite3 *database;
};

/* Binds an unnamed address: the kernel chooses one without a file. */
static int listen_to(struct place *address)
{
    struct sockaddr *name = (struct sockaddr *)&address->name;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address = (struct place){.name.sun_family = AF_UNIX, .length = sizeof address->name};
    REQUIRE(bind(descriptor, name, sizeof address->name.sun_family) == 0);
    REQUIRE(listen(descriptor, 16) == 0);
    REQUIRE(getsockname(descriptor, name, &address->length) == 0);
    return descriptor;
}

static void *serve(void *server)
{
    server_run(server);
    return NULL;
}

static void remove_files(void)
{
    (void)unlink(FILE_NAME);
    (void)unlink(FILE_NAME "-wal");
    (void)unlink(FILE_NAME "-shm");
    (void)unlink(FILE_NAME "-mark");
}

static void start_server(struct harness *harness)
{
    struct server_inherited inherited[2] = {
        {.descriptor = listen_to(&harness->addresses[0]), .options = {.rights = LISTENER_FULL}},
        {.descriptor = listen_to(&harness->addresses[1]),
            .options = {.rights = LISTENER_READ_ONLY}},
    };
    struct server_options options = {
        .file = FILE_NAME,
        .sync = STORE_SYNC_OFF,
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .max_memory_bytes = MAX_MEMORY_BYTES,
        .inherited = inherited,
        .n_inherited = 2,
    };
    struct server *server;
    struct error error;
    pthread_t thread;

    remove_files();
    /* A line for each request: what it reads must not be freed. */
    REQUIRE(log_open(&options.log, "/dev/null", LOG_DEBUG, &error) == 0);
    REQUIRE(server_create(&server, &options, &error) == 0);
    REQUIRE(server_open(server, &error) == 0);
    server_start(server);
    REQUIRE(pthread_create(&thread, NULL, serve, server) == 0);
    REQUIRE(pthread_detach(thread) == 0);
    REQUIRE(atexit(remove_files) == 0);
    REQUIRE(sqlite3_open(FILE_NAME, &harness->database) == SQLITE_OK);
    REQUIRE(sqlite3_busy_timeout(harness->database, 10000) == SQLITE_OK);
    REQUIRE(sqlite3_exec(harness->database,
                "PRAGMA synchronous=OFF;"
                "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < " ROWS ")"
                "INSERT INTO PRMAIN SELECT 'large', 'all', hex(i) || ' "
                "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', i FROM n",
                NULL, NULL, NULL) == SQLITE_OK);
}

static const struct harness *get_ready(void)
{
    static struct harness harness; /* a fuzzer's process has one server */

    if (!harness.database)
        start_server(&harness);
    REQUIRE(sqlite3_exec(harness.database,
                "DELETE FROM PRMAIN WHERE version <> 'large' OR length(checksum) < 64", NULL, NULL,
                NULL) == SQLITE_OK);
    return &harness;
}

/* ---- the client ---- (libFuzzer's timer interrupts its system calls) */

/* musl lacks this macro of glibc. */
#ifndef TEMP_FAILURE_RETRY
#define TEMP_FAILURE_RETRY(call)               \
    ({                                         \
        ssize_t retried;                       \
        do                                     \
            retried = (call);                  \
        while (retried < 0 && errno == EINTR); \
        retried;                               \
    })
#endif

static void send_all(int descriptor, struct text sent, uint8_t cut)
{
    struct fuzz_pieces pieces = {.state = cut};

    while (sent.length > 0) {
        size_t length = fuzz_piece_length(&pieces, sent.length);

        REQUIRE(TEMP_FAILURE_RETRY(send(descriptor, sent.bytes, length, MSG_NOSIGNAL)) ==
                (ssize_t)length);
        sent.bytes += length;
        sent.length -= length;
    }
}

static void talk(
    const struct place *address, struct text sent, uint8_t cut, struct buffer *received)
{
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char bytes[64 * 1024];
    ssize_t length;

    REQUIRE(connect(descriptor, (const struct sockaddr *)&address->name, address->length) == 0);
    send_all(descriptor, sent, cut);
    REQUIRE(shutdown(descriptor, SHUT_WR) == 0);
    while ((length = TEMP_FAILURE_RETRY(recv(descriptor, bytes, sizeof bytes, 0))) > 0)
        buffer_append(received, bytes, (size_t)length);
    REQUIRE(length == 0);
    (void)close(descriptor);
}

/* ---- expected answers ---- */

/* Both sides of a conversation, parsed in parallel. */
struct check {
    struct framer sent;
    struct framer received;
    bool read_only;
    struct buffer last_question;
    struct buffer last_answer;
};

static bool is_revision(const json_t *value)
{
    return json_is_string(value) &&
           revision_is_valid(json_string_value(value), json_string_length(value));
}

static bool has_reason(const json_t *answer)
{
    return json_string_length(json_object_get(json_object_get(answer, "invoke-error"), "message")) >
           0;
}

static bool is_export(const json_t *answer)
{
    const json_t *rows = json_object_get(answer, "datainfo");
    const json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (!json_is_string(json_object_get(row, "version")) ||
            !json_is_string(json_object_get(row, "pkgarch")) ||
            !json_is_string(json_object_get(row, "checksum")) ||
            !is_revision(json_object_get(row, "value")))
            return false;
    }
    return json_is_array(rows) && json_is_object(json_object_get(answer, "metainfo"));
}

static bool is_imported(const struct request *request, const json_t *value)
{
    if (request->value_is_integer)
        return json_is_integer(value) &&
               json_integer_value(value) == strtoll(request->value.bytes, NULL, 10);
    return json_is_string(value) && text_is(request->value, json_string_value(value));
}

static bool fits(const struct request *request, bool read_only, const json_t *answer)
{
    const json_t *value = json_object_get(answer, "value");
    const json_t *flag = json_object_get(answer, "readonly");

    switch (request->kind) {
    case REQUEST_PING:
        return json_is_true(json_object_get(answer, "alive"));
    case REQUEST_GET_PR:
        return is_revision(value);
    case REQUEST_TEST_PR:
    case REQUEST_MAX_PACKAGE_PR:
        return is_revision(value) || json_is_null(value);
    case REQUEST_TEST_PACKAGE:
        return json_is_boolean(value);
    case REQUEST_IMPORT_ONE:
        return read_only ? json_is_null(answer) : is_imported(request, value);
    case REQUEST_EXPORT:
        return is_export(answer);
    case REQUEST_IS_READONLY:
        return json_is_boolean(flag) && json_is_true(flag) == read_only;
    case REQUEST_GET_STATS:
        return json_is_object(json_object_get(answer, "requests"));
    case REQUEST_GET_LOG:
        return json_is_array(json_object_get(answer, "log"));
    case REQUEST_GET_WHY:
    case REQUEST_GET_CHURN:
        return json_is_array(json_object_get(answer, "revisions"));
    case REQUEST_KINDS:
        break;
    }
    return false;
}

/* Returns the next answer, which must exist. The caller owns *json. */
static struct text take_answer(struct check *check, json_t **json)
{
    struct text text;
    struct error error;

    REQUIRE(framer_next_message(&check->received, &text, &error) == FRAMER_READY);
    for (size_t i = 0; i < text.length; i++)
        REQUIRE(text.bytes[i] >= 0x20);
    *json = json_loadb(
        text.bytes, text.length, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    REQUIRE(*json != NULL);
    return text;
}

static void check_refusal(struct check *check)
{
    json_t *answer;

    (void)take_answer(check, &answer);
    REQUIRE(json_object_size(answer) == 1 && has_reason(answer));
    json_decref(answer);
}

/* Checks that an equal request directly before got the same answer. */
static void check_repetition(
    struct check *check, const struct request *request, struct text question, struct text answer)
{
    bool same = text_equal(buffer_text(&check->last_question), question);

    REQUIRE(!same || request->kind == REQUEST_GET_STATS ||
            text_equal(buffer_text(&check->last_answer), answer));
    buffer_reset(&check->last_question, 4096);
    buffer_append_text(&check->last_question, question);
    buffer_reset(&check->last_answer, 4096);
    buffer_append_text(&check->last_answer, answer);
}

static void check_answer(struct check *check, const struct request *request, struct text question)
{
    json_t *json;
    struct text answer = take_answer(check, &json);

    REQUIRE(fits(request, check->read_only, json));
    check_repetition(check, request, question, answer);
    json_decref(json);
}

/* Returns false if no more answers are expected. */
static bool check_message(struct check *check)
{
    struct text message;
    struct request request;
    struct error error;
    enum framer_result framed = framer_next_message(&check->sent, &message, &error);
    enum codec_result result;

    if (framed == FRAMER_LOST)
        check_refusal(check);
    if (framed != FRAMER_READY)
        return false;
    result = codec_read_request(message, &request, &error);
    if (result == CODEC_REQUEST) {
        check_answer(check, &request, message);
        codec_release(&request);
    } else if (result != CODEC_END) {
        check_refusal(check);
    }
    return result == CODEC_REQUEST || result == CODEC_REFUSED;
}

/* Skips the server's headers: only an empty line. */
static void check_headers(struct check *check)
{
    struct text line;
    struct error error;

    REQUIRE(framer_next_line(&check->received, 0, &line, &error) == FRAMER_READY);
    REQUIRE(line.length == 0);
}

/* A client that speaks XML-RPC is told so in its own protocol, and nothing else. */
static void check_fault(const struct check *check)
{
    const struct framer *received = &check->received;
    struct buffer fault = BUFFER_EMPTY;

    xml_rpc_write_fault(&fault);
    REQUIRE(
        text_equal(buffer_text(&fault), text_from(buffer_text(&received->input), received->start)));
    buffer_free(&fault);
}

static void check_conversation(struct check *check)
{
    struct handshake handshake = {.n_headers = 0};
    struct error error;
    enum framer_result opened = handshake_read(&handshake, &check->sent, &error);
    struct text line;

    handshake_release(&handshake);
    if (opened == FRAMER_LOST && handshake.is_xml_rpc) {
        check_fault(check);
        return;
    }
    if (opened != FRAMER_MORE && handshake.needs_headers)
        check_headers(check);
    if (opened == FRAMER_LOST)
        check_refusal(check);
    while (opened == FRAMER_READY && check_message(check))
        continue;
    REQUIRE(framer_next_line(&check->received, ANY_LENGTH, &line, &error) == FRAMER_MORE);
    REQUIRE(check->received.start == check->received.input.length); /* no incomplete answer */
}

static void check_lines(struct text received)
{
    while (received.length > 0) {
        const char *end = memchr(received.bytes, '\n', received.length);

        REQUIRE(end != NULL && end - received.bytes <= FRAMER_CHUNK_CHARACTERS);
        received.length -= (size_t)(end + 1 - received.bytes);
        received.bytes = end + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct harness *harness = get_ready();
    struct fuzz_input input = {.at = data, .left = size};
    uint8_t cut = fuzz_take_byte(&input);
    struct check check = {.read_only = fuzz_take_byte(&input) & 1};
    struct text sent = fuzz_take_rest(&input);
    struct buffer received = BUFFER_EMPTY;
    struct error error;

    if (sent.length > MOST_SENT)
        return -1;
    talk(&harness->addresses[check.read_only], sent, cut, &received);
    check_lines(buffer_text(&received));
    framer_init(&check.sent, MAX_MESSAGE_BYTES);
    framer_init(&check.received, ANY_LENGTH);
    REQUIRE(framer_feed(&check.sent, sent.bytes, sent.length, &error) == 0);
    REQUIRE(framer_feed(&check.received, received.bytes, received.length, &error) == 0);
    check_conversation(&check);
    framer_free(&check.sent);
    framer_free(&check.received);
    buffer_free(&check.last_question);
    buffer_free(&check.last_answer);
    buffer_free(&received);
    return 0;
}

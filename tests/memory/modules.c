/* SPDX-License-Identifier: MIT */
/* Failing allocations in modules without threads and database: revisions, framer, codec, questions
 * to an upstream, listeners. */
#include "failing.h"

#include "base/map.h"
#include "client/json_stream.h"
#include "revision/allocate.h"
#include "revision/revision.h"
#include "server/listener.h"
#include "upstream/upstream_requests.h"
#include "wire/codec.h"
#include "wire/framer.h"
#include "wire/handshake.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LONG_TEXT "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"

static enum failing_outcome worked(bool all)
{
    return all ? FAILING_RIGHT : FAILING_ERROR;
}

/* ---- revisions ---- */

static bool is_right(char *revision, const char *expected)
{
    bool there = revision != NULL;

    FAILING_REQUIRE(!revision || strcmp(revision, expected) == 0);
    free(revision);
    return there;
}

static enum failing_outcome revisions(void *context)
{
    bool all = is_right(revision_increase("1.99"), "1.100");

    (void)context;
    all = is_right(revision_child("4"), "4.0") && all;
    return worked(all);
}

static bool allocates(const struct allocate_facts *facts, const char *expected)
{
    char *value;
    enum allocate_result result = allocate_revision(facts, &value);

    FAILING_REQUIRE((result == ALLOCATE_OK) == (value != NULL));
    FAILING_REQUIRE(value || result == ALLOCATE_NO_MEMORY);
    return is_right(value, expected);
}

static enum failing_outcome allocation(void *context)
{
    static const struct {
        struct allocate_facts facts;
        const char *expected;
    } rules[] = {
        {{.lmax = NULL}, "0"},
        {{.lmax = "9"}, "10"},
        {{.lmax = "1", .umax = "3", .upstream = UPSTREAM_ASKED}, "3.0"},
        {{.lmax = "1", .umax = "3", .uval = "2", .upstream = UPSTREAM_ASKED}, "2"},
        {{.lmax = "1", .lval = "1", .umax = "3", .uval = "2", .upstream = UPSTREAM_ASKED}, "3"},
        {{.lmax = "2", .lval = "1", .umax = "9", .upstream = UPSTREAM_ASKED}, "9.0"},
    };
    bool all = true;

    (void)context;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        all = allocates(&rules[i].facts, rules[i].expected) && all;
    return worked(all);
}

/* ---- the hash map ---- */

/* Where it can't grow, it holds its items all the same. */
static enum failing_outcome mapping(void *context)
{
    static const char keys[] = "abcdefghijklmnopqrstuvwxyz";
    struct map map = MAP_EMPTY;
    size_t n_added = 0;

    (void)context;
    for (size_t i = 0; i < sizeof keys - 1; i++) {
        const struct text key = {.bytes = keys + i, .length = 1};
        const struct map_entry *item = map_find_or_add(&map, key, sizeof *item);

        n_added += item != NULL;
        FAILING_REQUIRE(map_find(&map, key) == item);
    }
    FAILING_REQUIRE(map.n_items == n_added);
    map_clear(&map, free);
    return worked(n_added == sizeof keys - 1);
}

/* ---- the framer ---- */

/* Sends a message as a chunk stream, and reads it again. */
static enum failing_outcome framing(void *context)
{
    static const char handshake[] = "PRSERVICE 1.0\nneeds-headers: true\nname: \xc3\xa9\n\n";
    static char bytes[80 * 1024];
    const struct text sent = {.bytes = bytes, .length = sizeof bytes};
    struct handshake opened = {.n_headers = 0};
    struct framer framer;
    struct buffer line = BUFFER_EMPTY;
    struct error error;
    struct text message;
    bool all = false;

    (void)context;
    memset(bytes, 'a', sizeof bytes);
    framer_init(&framer, 1024 * 1024);
    framer_write(&line, sent);
    if (!buffer_failed(&line) && framer_feed(&framer, handshake, strlen(handshake), &error) == 0 &&
        framer_feed(&framer, line.bytes, line.length, &error) == 0) {
        FAILING_REQUIRE(handshake_read(&opened, &framer, &error) == FRAMER_READY);
        FAILING_REQUIRE(opened.needs_headers);
        all = framer_next_message(&framer, &message, &error) == FRAMER_READY;
        FAILING_REQUIRE(!all || text_equal(message, sent));
    }
    framer_free(&framer);
    buffer_free(&line);
    return worked(all);
}

/* ---- requests ---- */

static bool reads_request(const char *message, const char *checksum, const char *value)
{
    struct request request;
    struct error error;
    enum codec_result result = codec_read_request(text_of(message), &request, &error);

    if (result != CODEC_REQUEST)
        return false;
    FAILING_REQUIRE(text_is(request.version, "v") && text_is(request.pkgarch, "p"));
    FAILING_REQUIRE(text_is(request.checksum, checksum));
    FAILING_REQUIRE(!value || text_is(request.value, value));
    codec_release(&request);
    return true;
}

static enum failing_outcome requests(void *context)
{
    bool all = reads_request("{\"get-pr\": {\"version\": \"v\", \"pkgarch\": \"p\", \"checksum\": "
                             "\"" LONG_TEXT "\"}}",
        LONG_TEXT, NULL);

    (void)context;
    all = reads_request("{\"get-pr\": {\"version\": \"v\", \"pkgarch\": \"p\", \"other\": [1, {}], "
                        "\"checksum\": \"" LONG_TEXT "\\u00e9\"}}",
              LONG_TEXT "\xc3\xa9", NULL) &&
          all;
    all = reads_request("{\"import-one\": {\"version\": \"v\", \"pkgarch\": \"p\", \"checksum\": "
                        "\"c\", \"value\": 1234567890123456789}}",
              "c", "1234567890123456789") &&
          all;
    return worked(all);
}

/* ---- writing answers ---- */

static bool is_written(struct buffer *out, const char *expected)
{
    bool there = !buffer_failed(out);

    FAILING_REQUIRE(!there || text_is(buffer_text(out), expected));
    buffer_free(out);
    return there;
}

static enum failing_outcome writing(void *context)
{
    const struct request request = {.kind = REQUEST_TEST_PR,
        .version = text_of("v"),
        .pkgarch = text_of("\xc3\xa9"),
        .checksum = text_of("\"")};
    struct buffer out = BUFFER_EMPTY;
    bool all;

    (void)context;
    codec_write_string(&out, text_of("\xc3\xa9\xe2\x82\xac"));
    all = is_written(&out, "\"\\u00E9\\u20AC\"");
    codec_write_string(&out, text_of("a\xff"
                                     "b\xc3\xa9"));
    all = is_written(&out, "\"a\\uFFFDb\\u00E9\"") && all;
    codec_write_request(&out, &request);
    all = is_written(&out, "{\"test-pr\":{\"version\":\"v\",\"pkgarch\":\"\\u00E9\",\"checksum\":"
                           "\"\\\"\",\"history\":false}}") &&
          all;
    codec_write_error(&out, "it's \xc3\xa9");
    all = is_written(&out, "{\"invoke-error\":{\"message\":\"it's \\u00E9\"}}") && all;
    return worked(all);
}

/* ---- reading answers ---- */

static bool reads_value(const char *message, const char *expected)
{
    struct error error;
    char *revision;
    int result = codec_read_value(text_of(message), CODEC_INTEGERS_TAKEN, &revision, &error);

    FAILING_REQUIRE(result == 0 || !revision);
    FAILING_REQUIRE(result == 0 || result == ERROR_MEMORY);
    FAILING_REQUIRE(result != 0 || (revision == NULL) == (expected == NULL));
    return expected ? is_right(revision, expected) : result == 0;
}

static bool reads_row(const char *message)
{
    struct row row;
    char *owned;
    struct error error;

    if (codec_read_row(text_of(message), &row, &owned, &error) != 0)
        return false;
    FAILING_REQUIRE(text_is(row.checksum, LONG_TEXT "\xc3\xa9"));
    FAILING_REQUIRE(text_is(row.value, "7") && text_is(row.version, "v"));
    free(owned);
    return true;
}

static bool reads_refusal(void)
{
    struct error error;
    char *revision;
    int result = codec_read_value(text_of("{\"invoke-error\":{\"message\":\"" LONG_TEXT "\"}}"),
        CODEC_INTEGERS_TAKEN, &revision, &error);

    FAILING_REQUIRE(
        result == ERROR_MEMORY || (result == ERROR_INPUT && strcmp(error.text, LONG_TEXT) == 0));
    return result == ERROR_INPUT;
}

static enum failing_outcome answers(void *context)
{
    bool all = reads_value("{\"value\": \"1.2.34567890123456789\"}", "1.2.34567890123456789");

    (void)context;
    all = reads_value("{\"value\": 12345678901234567}", "12345678901234567") && all;
    all = reads_value("{\"value\": null}", NULL) && all;
    all = reads_row("{\"version\": \"v\", \"pkgarch\": \"p\", \"checksum\": \"" LONG_TEXT
                    "\\u00e9\", \"value\": 7}") &&
          all;
    all = reads_refusal() && all;
    return worked(all);
}

static int see_part(void *context, enum json_stream_part part, struct text key, struct text value)
{
    unsigned *seen = context;

    FAILING_REQUIRE(text_is(key, "a-long-name-of-a-list"));
    FAILING_REQUIRE(part == JSON_STREAM_LIST_END || text_is(value, "{\"" LONG_TEXT "\":[1,2]}"));
    ++*seen;
    return 0;
}

static enum failing_outcome splitting(void *context)
{
    unsigned seen = 0;
    struct json_stream stream = {.found = see_part, .context = &seen};
    int result = json_stream_feed(
        &stream, text_of("{\"a-long-name-of-a-list\":[{\"" LONG_TEXT "\":[1,2]}]}"));

    (void)context;
    FAILING_REQUIRE(result == JSON_STREAM_NO_MEMORY || (result == 0 && seen == 2));
    json_stream_deinit(&stream);
    return worked(result == 0);
}

/* ---- questions to an upstream ---- */

/* Checks that a question has both answers or none. */
static bool check_question(struct upstream_question *question)
{
    bool whole = question->umax && question->uval;

    FAILING_REQUIRE(whole || (!question->umax && !question->uval));
    FAILING_REQUIRE((question->result == 0) == whole);
    FAILING_REQUIRE(!whole || strcmp(question->umax, "4") == 0);
    FAILING_REQUIRE(!whole || strcmp(question->uval, "3") == 0);
    upstream_question_release(question);
    return whole;
}

static enum failing_outcome asking(void *context)
{
    struct upstream_question questions[2];
    struct upstream_question_list done = TAILQ_HEAD_INITIALIZER(done);
    struct upstream_request_list sent = TAILQ_HEAD_INITIALIZER(sent);
    struct upstream_requests upstream;
    struct upstream_answer answer;
    struct buffer lines = BUFFER_EMPTY;
    const struct text umax = text_of("{\"value\": \"4\"}");
    const struct text uval = text_of("{\"value\": \"3\"}");
    unsigned n = 0;
    bool all = true;

    (void)context;
    upstream_requests_init(&upstream);
    for (int i = 0; i < 2; i++) {
        questions[i] = (struct upstream_question){.version = text_of("v"),
            .pkgarch = text_of("p"),
            .checksum = text_of(LONG_TEXT),
            .result = ERROR_UPSTREAM};
        n += upstream_requests_add(&upstream, &questions[i]) == 0;
    }
    upstream_requests_write(&upstream, &sent, &lines);
    upstream_requests_break(&upstream, &sent, 2, &done);
    if (upstream_requests_have_suspects(&upstream)) {
        enum upstream_request_result first;
        enum upstream_request_result second = UPSTREAM_REQUEST_LOST;

        upstream_requests_write_suspect(&upstream, &sent, &lines);
        first = upstream_requests_take_answer(&upstream, &sent, &umax, &answer);
        if (first == UPSTREAM_REQUEST_MORE)
            second = upstream_requests_take_answer(&upstream, &sent, &uval, &answer);
        FAILING_REQUIRE(first == UPSTREAM_REQUEST_MORE || first == UPSTREAM_REQUEST_LOST);
        FAILING_REQUIRE(second != UPSTREAM_REQUEST_MORE);
    }
    for (int i = 0; i < 2; i++)
        all = check_question(&questions[i]) && all;
    upstream_requests_requeue(&upstream, &sent, false);
    upstream_requests_end_all(&upstream, &done);
    upstream_requests_deinit(&upstream);
    all = all && n == 2 && !buffer_failed(&lines);
    buffer_free(&lines);
    return worked(all);
}

/* ---- listeners ---- */

static bool listens(uv_loop_t *loop, const struct address *address)
{
    struct listeners listeners;
    struct error error;
    int result;

    listeners_init(&listeners, loop, NULL, &(struct listeners_events){.context = NULL});
    result = listeners_bind(
        &listeners, address, &(struct listener_options){.history = true}, false, &error);
    FAILING_REQUIRE(result == 0 || result == ERROR_MEMORY);
    FAILING_REQUIRE((access(address->path, F_OK) == 0) == (result == 0));
    listeners_close(&listeners);
    FAILING_REQUIRE(uv_run(loop, UV_RUN_DEFAULT) == 0);
    FAILING_REQUIRE(access(address->path, F_OK) != 0);
    return result == 0;
}

/* Checks that the file of a unix socket exists as long as the listener. */
static enum failing_outcome listening(void *context)
{
    struct address address = {.is_unix = true};
    uv_loop_t loop;
    bool all = false;

    (void)context;
    (void)snprintf(
        address.path, sizeof address.path, "/tmp/prservd-modules-%ld.socket", (long)getpid());
    if (uv_loop_init(&loop) == 0) {
        all = listens(&loop, &address);
        FAILING_REQUIRE(uv_loop_close(&loop) == 0);
    }
    return worked(all);
}

int main(int n_arguments, char **arguments)
{
    static const struct failing_case cases[] = {
        {.name = "revision", .run = revisions},
        {.name = "allocate", .run = allocation},
        {.name = "map", .run = mapping},
        {.name = "framer, handshake", .run = framing},
        {.name = "codec: requests", .run = requests},
        {.name = "codec: writing", .run = writing},
        {.name = "codec: answers", .run = answers},
        {.name = "json_stream", .run = splitting},
        {.name = "exchange", .run = asking},
        {.name = "listener", .run = listening},
    };
    unsigned long every = failing_read_options(n_arguments, arguments);

    failing_adopt_libraries();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        failing_try(&cases[i], every);
    return 0;
}

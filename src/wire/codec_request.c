/* SPDX-License-Identifier: MIT */
/* Requests on the wire: struct request → JSON text, and back.
 *
 * A message that is read is gone through once. What it says is noted as it comes, because which
 * request counts is known only at its end: of several, the first in the order of enum request_kind,
 * and of one that comes twice, the last. Then the arguments are checked, and their texts copied. */
#include "revision/floor.h"
#include "revision/revision.h"
#include "wire/codec.h"
#include "wire/framer.h"
#include "wire/json_reader.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    VERSION,
    PKGARCH,
    CHECKSUM,
    VALUE,
    N_TEXTS,
    HISTORY = N_TEXTS,
    COLINFO,
    SINCE,
    AFTER,
    LIMIT,
    N_ARGUMENTS
};

static const char *const argument_names[N_ARGUMENTS] = {
    "version", "pkgarch", "checksum", "value", "history", "colinfo", "since", "after", "limit"};

/* Which arguments a request has: the first so many texts, and flags. */
static const struct shape {
    int n_texts;
    bool has_filters; /* the texts may be null or absent */
    bool has_history;
    bool has_colinfo;
    bool has_limit; /* and since */
    bool has_after;
} shapes[REQUEST_KINDS] = {
    [REQUEST_GET_PR] = {.n_texts = CHECKSUM + 1, .has_history = true},
    [REQUEST_TEST_PR] = {.n_texts = CHECKSUM + 1, .has_history = true},
    [REQUEST_TEST_PACKAGE] = {.n_texts = PKGARCH + 1},
    [REQUEST_MAX_PACKAGE_PR] = {.n_texts = PKGARCH + 1},
    [REQUEST_IMPORT_ONE] = {.n_texts = VALUE + 1},
    [REQUEST_EXPORT] = {.n_texts = CHECKSUM + 1,
        .has_filters = true,
        .has_history = true,
        .has_colinfo = true},
    [REQUEST_GET_LOG] = {.n_texts = PKGARCH + 1,
        .has_filters = true,
        .has_limit = true,
        .has_after = true},
    [REQUEST_GET_WHY] = {.n_texts = PKGARCH + 1},
    [REQUEST_GET_CHURN] = {.has_limit = true},
};

/* ---- writing ---- */

static void codec_request_append_name(struct buffer *out, bool is_first, int argument)
{
    buffer_append_string(out, is_first ? "\"" : ",\"");
    buffer_append_string(out, argument_names[argument]);
    buffer_append_string(out, "\":");
}

static void codec_request_append_flag(struct buffer *out, int argument, bool value)
{
    codec_request_append_name(out, false, argument);
    buffer_append_string(out, value ? "true" : "false");
}

static void codec_request_append_numbers(
    struct buffer *out, const struct shape *shape, const struct request *request)
{
    const int64_t numbers[] = {request->limit, request->since, request->after};
    static const int arguments[] = {LIMIT, SINCE, AFTER};
    bool is_first = shape->n_texts == 0;

    for (int i = 0; i < 3; i++) {
        if (numbers[i] < 0 || (arguments[i] == AFTER && !shape->has_after))
            continue;
        codec_request_append_name(out, is_first, arguments[i]);
        buffer_append_format(out, "%" PRId64, numbers[i]);
        is_first = false;
    }
}

void codec_write_request(struct buffer *out, const struct request *request)
{
    const struct shape *shape = &shapes[request->kind];
    const struct text texts[N_TEXTS] = {
        request->version, request->pkgarch, request->checksum, request->value};

    buffer_append_string(out, "{\"");
    buffer_append_string(out, request_name(request->kind));
    buffer_append_string(out, "\":{");
    for (int i = 0; i < shape->n_texts; i++) {
        codec_request_append_name(out, i == 0, i);
        if (i == VALUE && request->value_is_integer)
            buffer_append_text(out, texts[i]); /* the answer has the type that was sent */
        else
            codec_write_string(out, texts[i]);
    }
    if (shape->has_colinfo)
        codec_request_append_flag(out, COLINFO, request->colinfo);
    if (shape->has_history)
        codec_request_append_flag(out, HISTORY, request->history);
    if (shape->has_limit)
        codec_request_append_numbers(out, shape, request);
    buffer_append_string(out, "}}");
}

size_t codec_request_bytes(const struct request *request)
{
    const enum request_kind kind =
        request->kind == REQUEST_GET_PR ? REQUEST_TEST_PR : request->kind;
    const struct shape *shape = &shapes[kind];
    const struct text texts[N_TEXTS] = {
        request->version, request->pkgarch, request->checksum, request->value};
    size_t bytes = strlen("{\"\":{}}") + strlen(request_name(kind));

    for (int i = 0; i < shape->n_texts; i++)
        bytes += strlen(",\"\":") + strlen(argument_names[i]) + codec_string_bytes(texts[i]);
    if (shape->n_texts > 0)
        bytes -= strlen(","); /* before the first */
    if (shape->has_colinfo)
        bytes += strlen(",\"colinfo\":") + strlen(request->colinfo ? "true" : "false");
    if (shape->has_history)
        bytes += strlen(",\"history\":") + strlen(request->history ? "true" : "false");
    return bytes;
}

void codec_write_message(struct buffer *lines, const struct request *request)
{
    struct buffer text = BUFFER_EMPTY;

    codec_write_request(&text, request);
    lines->failed = lines->failed || buffer_failed(&text);
    framer_write(lines, buffer_text(&text));
    buffer_free(&text);
}

/* ---- reading ---- */

/* A message as it was read. */
struct message {
    enum request_kind kind;                   /* REQUEST_KINDS: it names no request */
    struct json_value object;                 /* the value of that request's member */
    struct json_value arguments[N_ARGUMENTS]; /* if that is an object */
    struct json_value unknown;                /* the first name that is not a request's */
};

static void codec_request_read_arguments(struct json_reader *reader, struct message *message)
{
    struct json_value name;

    memset(message->arguments, 0, sizeof message->arguments);
    while (json_reader_member(reader, &name)) {
        int argument = json_value_find(&name, argument_names, N_ARGUMENTS);
        struct json_value value;

        json_reader_whole(reader, &value);
        if (argument < N_ARGUMENTS)
            message->arguments[argument] = value;
    }
}

static void codec_request_read_member(
    struct json_reader *reader, const struct json_value *name, struct message *message)
{
    enum request_kind kind = (enum request_kind)json_value_find(name, request_names, REQUEST_KINDS);
    struct json_value value;

    if (kind == REQUEST_KINDS && message->unknown.kind == JSON_KIND_NONE)
        message->unknown = *name;
    if (kind == REQUEST_KINDS || kind > message->kind) {
        json_reader_whole(reader, &value);
        return;
    }
    message->kind = kind;
    if (json_reader_object(reader, &message->object))
        codec_request_read_arguments(reader, message);
}

/* Reads the whole text. *whole is what it is. */
static bool codec_request_read_text(
    struct json_reader *reader, struct json_value *whole, struct message *message)
{
    struct json_value name;

    message->kind = REQUEST_KINDS;
    message->unknown.kind = JSON_KIND_NONE;
    if (json_reader_object(reader, whole)) {
        while (json_reader_member(reader, &name))
            codec_request_read_member(reader, &name, message);
    }
    return json_reader_finish(reader);
}

/* ---- checking ---- */

static const char *codec_request_kind_name(const struct json_value *value)
{
    static const char *const names[] = {
        [JSON_KIND_NONE] = "null",
        [JSON_KIND_NULL] = "null",
        [JSON_KIND_FALSE] = "true or false",
        [JSON_KIND_TRUE] = "true or false",
        [JSON_KIND_INTEGER] = "a number",
        [JSON_KIND_REAL] = "a number",
        [JSON_KIND_STRING] = "a string",
        [JSON_KIND_LIST] = "a list",
        [JSON_KIND_OBJECT] = "an object",
    };

    return names[value->kind];
}

static bool codec_request_is_given(const struct json_value *value)
{
    return value->kind != JSON_KIND_NONE && value->kind != JSON_KIND_NULL;
}

static int codec_request_refuse_type(
    const struct message *message, int argument, const char *expected, struct error *error)
{
    return error_set(error, ERROR_INPUT, "%s: argument '%s' must be %s, not %s",
        request_name(message->kind), argument_names[argument], expected,
        codec_request_kind_name(&message->arguments[argument]));
}

static int codec_request_take_flag(
    const struct message *message, int argument, bool *flag, struct error *error)
{
    const struct json_value *value = &message->arguments[argument];

    *flag = value->kind == JSON_KIND_TRUE;
    if (*flag || value->kind == JSON_KIND_FALSE || !codec_request_is_given(value))
        return 0;
    return codec_request_refuse_type(message, argument, "true or false", error);
}

/* Takes a number that need not be given: -1 then. */
static int codec_request_take_number(
    const struct message *message, int argument, int64_t *number, struct error *error)
{
    const struct json_value *value = &message->arguments[argument];
    int64_t result = 0;

    *number = -1;
    if (!codec_request_is_given(value))
        return 0;
    if (value->kind != JSON_KIND_INTEGER || value->text.length > 18)
        return codec_request_refuse_type(
            message, argument, "a non-negative integer of at most 18 digits", error);
    for (size_t i = 0; i < value->text.length; i++) {
        const char digit = value->text.bytes[i];

        if (digit < '0' || digit > '9')
            return codec_request_refuse_type(message, argument, "a non-negative integer", error);
        result = result * 10 + (digit - '0');
    }
    *number = result;
    return 0;
}

/* Python's json reads integers of any size, SQLite stores 64 bits. Larger ones come as strings. */
static bool codec_request_is_too_large(struct text digits)
{
    static const char most[] = "9223372036854775807";
    const size_t length = sizeof most - 1;

    return digits.length > length ||
           (digits.length == length && memcmp(digits.bytes, most, length) > 0);
}

static int codec_request_check_text(
    const struct message *message, int argument, struct error *error)
{
    const struct json_value *value = &message->arguments[argument];
    const bool is_filter = shapes[message->kind].has_filters;

    if (value->kind == JSON_KIND_STRING || (is_filter && !codec_request_is_given(value)))
        return 0;
    if (value->kind == JSON_KIND_NONE)
        return error_set(error, ERROR_INPUT, "%s: argument '%s' is missing",
            request_name(message->kind), argument_names[argument]);
    if (argument != VALUE)
        return codec_request_refuse_type(
            message, argument, is_filter ? "a string or null" : "a string", error);
    if (value->kind != JSON_KIND_INTEGER)
        return codec_request_refuse_type(
            message, VALUE, "a revision as a string or an integer", error);
    if (codec_request_is_too_large(value->text))
        return error_set(error, ERROR_INPUT,
            "%s: argument 'value' is a number that is too large; send large revisions as strings",
            request_name(message->kind));
    return 0;
}

/* Checks the types of the arguments, and takes the flags. */
static int codec_request_check(
    const struct message *message, struct request *request, struct error *error)
{
    const struct shape *shape = &shapes[message->kind];
    int result = 0;

    for (int i = 0; i < shape->n_texts && result == 0; i++)
        result = codec_request_check_text(message, i, error);
    if (result == 0 && shape->has_colinfo)
        result = codec_request_take_flag(message, COLINFO, &request->colinfo, error);
    if (result == 0 && shape->has_history)
        result = codec_request_take_flag(message, HISTORY, &request->history, error);
    if (result == 0 && shape->has_limit)
        result = codec_request_take_number(message, LIMIT, &request->limit, error);
    if (result == 0 && shape->has_limit)
        result = codec_request_take_number(message, SINCE, &request->since, error);
    if (result == 0 && shape->has_after)
        result = codec_request_take_number(message, AFTER, &request->after, error);
    return result;
}

static int codec_request_own_texts(
    const struct message *message, struct request *request, struct error *error)
{
    const size_t n_texts = (size_t)shapes[message->kind].n_texts;
    struct text texts[N_TEXTS] = {{.bytes = NULL}};

    if (n_texts == 0)
        return 0;
    request->owned = json_values_copy(message->arguments, n_texts, texts);
    if (!request->owned)
        return error_set_memory(error);
    request->version = texts[VERSION];
    request->pkgarch = texts[PKGARCH];
    request->checksum = texts[CHECKSUM];
    request->value = texts[VALUE];
    return 0;
}

/* Checks what an import stores, in its final form. */
static int codec_request_check_revision(
    const struct message *message, struct request *request, struct error *error)
{
    request->value_is_integer = message->arguments[VALUE].kind == JSON_KIND_INTEGER;
    if (revision_is_valid(request->value.bytes, request->value.length))
        return 0;
    return error_set(error, ERROR_INPUT,
        "%s: argument 'value' is not a revision (decimal numbers joined by dots, such as 3 or "
        "1.2): "
        "%.80s",
        request_name(message->kind), request->value.bytes);
}

/* Refuses to give a revision to a floor, which is not a content. */
static int codec_request_check_content(const struct request *request, struct error *error)
{
    if (!floor_is_checksum(request->checksum))
        return 0;
    return error_set(error, ERROR_INPUT,
        "%s: argument 'checksum' must not begin with \"" FLOOR_PREFIX
        "\": such a row only raises the greatest revision of its package; store it with import-one",
        request_name(request->kind));
}

/* Checks what depends on the texts. */
static int codec_request_check_texts(
    const struct message *message, struct request *request, struct error *error)
{
    switch (request->kind) {
    case REQUEST_GET_PR:
        return codec_request_check_content(request, error);
    case REQUEST_IMPORT_ONE:
        return codec_request_check_revision(message, request, error);
    default:
        return 0;
    }
}

/* ---- messages ---- */

static enum codec_result codec_request_refuse_message(
    const struct json_value *whole, const struct message *message, struct error *error)
{
    const struct text name = message->unknown.text;

    if (whole->kind != JSON_KIND_OBJECT)
        return error_set(error, CODEC_REFUSED,
            "a request is an object such as {\"ping\": {}}; this message is %s",
            codec_request_kind_name(whole));
    if (message->unknown.kind == JSON_KIND_NONE)
        return error_set(error, CODEC_REFUSED, "the message {} names no request");
    return error_set(error, CODEC_REFUSED, "unknown request '%.*s'",
        name.length < 80 ? (int)name.length : 80, name.bytes);
}

enum codec_result codec_read_request(struct text text, struct request *request, struct error *error)
{
    struct message message;
    struct json_reader reader;
    struct json_value whole;

    *request = (struct request){.kind = REQUEST_KINDS};
    json_reader_init(&reader, text);
    if (!codec_request_read_text(&reader, &whole, &message))
        return error_set(error, CODEC_LOST, "the message is not JSON in UTF-8: %s at byte %zu",
            reader.problem, json_reader_position(&reader));
    if (whole.kind == JSON_KIND_NULL)
        return CODEC_END;
    if (message.kind == REQUEST_KINDS)
        return codec_request_refuse_message(&whole, &message, error);
    request->kind = message.kind;
    if (message.object.kind != JSON_KIND_OBJECT)
        return error_set(error, CODEC_REFUSED, "%s: the arguments must be an object, not %s",
            request_name(message.kind), codec_request_kind_name(&message.object));
    if (codec_request_check(&message, request, error) == 0 &&
        codec_request_own_texts(&message, request, error) == 0 &&
        codec_request_check_texts(&message, request, error) == 0)
        return CODEC_REQUEST;
    codec_release(request);
    *request = (struct request){.kind = message.kind}; /* without the texts, which are gone */
    return CODEC_REFUSED;
}

void codec_release(struct request *request)
{
    free(request->owned);
    request->owned = NULL;
}

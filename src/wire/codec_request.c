/* Requests on the wire: JSON text → struct request. jansson reads what is not plain
 * (codec_plain.c); its tree lives as long as the request, which borrows from it. */
#include "revision/revision.h"
#include "wire/codec.h"
#include "wire/codec_plain.h"
#include "wire/json_load.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_VALUES 10000u

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "null";
}

/* ---- arguments ---- */

struct arguments {
    const json_t *object;
    const char *request; /* its name, for errors */
    struct error *error;
};

static int refuse_type(
    const struct arguments *arguments, const char *name, const char *expected, const json_t *value)
{
    return error_set(arguments->error, ERROR_INPUT, "%s: argument '%s' must be %s, not %s",
        arguments->request, name, expected, type_name(value));
}

static struct text string_text(const json_t *string)
{
    return (struct text){.bytes = json_string_value(string), .length = json_string_length(string)};
}

static int need_string(const struct arguments *arguments, const char *name, struct text *text)
{
    const json_t *value = json_object_get(arguments->object, name);

    if (!value)
        return error_set(arguments->error, ERROR_INPUT, "%s: argument '%s' is missing",
            arguments->request, name);
    if (!json_is_string(value))
        return refuse_type(arguments, name, "a string", value);
    *text = string_text(value);
    return 0;
}

static int take_filter(const struct arguments *arguments, const char *name, struct text *text)
{
    const json_t *value = json_object_get(arguments->object, name);

    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return refuse_type(arguments, name, "a string or null", value);
    *text = string_text(value);
    return 0;
}

static int take_flag(const struct arguments *arguments, const char *name, bool *flag)
{
    const json_t *value = json_object_get(arguments->object, name);

    if (!value || json_is_null(value))
        return 0;
    if (!json_is_boolean(value))
        return refuse_type(arguments, name, "true or false", value);
    *flag = json_is_true(value);
    return 0;
}

static int need_value(const struct arguments *arguments, struct request *request)
{
    const json_t *value = json_object_get(arguments->object, "value");

    if (!value)
        return error_set(
            arguments->error, ERROR_INPUT, "%s: argument 'value' is missing", arguments->request);
    if (json_is_string(value)) {
        request->value = string_text(value);
    } else if (json_is_integer(value)) {
        request->value_is_integer = true;
        (void)snprintf(request->number, sizeof request->number, "%" JSON_INTEGER_FORMAT,
            json_integer_value(value));
        request->value = text_of(request->number);
    } else {
        return refuse_type(arguments, "value", "a revision as a string or an integer", value);
    }
    if (!revision_is_valid(request->value.bytes, request->value.length))
        return error_set(arguments->error, ERROR_INPUT,
            "%s: argument 'value' is no revision (decimal numbers joined by dots, such as 3 or "
            "1.2): %.80s",
            arguments->request, request->value.bytes);
    return 0;
}

static int need_package(const struct arguments *arguments, struct request *request)
{
    int result = need_string(arguments, "version", &request->version);

    return result ? result : need_string(arguments, "pkgarch", &request->pkgarch);
}

static int need_checksum(const struct arguments *arguments, struct request *request)
{
    int result = need_package(arguments, request);

    return result ? result : need_string(arguments, "checksum", &request->checksum);
}

static int take_export(const struct arguments *arguments, struct request *request)
{
    int result = take_filter(arguments, "version", &request->version);

    if (result == 0)
        result = take_filter(arguments, "pkgarch", &request->pkgarch);
    if (result == 0)
        result = take_filter(arguments, "checksum", &request->checksum);
    if (result == 0)
        result = take_flag(arguments, "colinfo", &request->colinfo);
    return result ? result : take_flag(arguments, "history", &request->history);
}

static int read_arguments(const struct arguments *arguments, struct request *request)
{
    int result = 0;

    switch (request->kind) {
    case REQUEST_GET_PR:
    case REQUEST_TEST_PR:
        result = need_checksum(arguments, request);
        return result ? result : take_flag(arguments, "history", &request->history);
    case REQUEST_TEST_PACKAGE:
    case REQUEST_MAX_PACKAGE_PR:
        return need_package(arguments, request);
    case REQUEST_IMPORT_ONE:
        result = need_checksum(arguments, request);
        return result ? result : need_value(arguments, request);
    case REQUEST_EXPORT:
        return take_export(arguments, request);
    case REQUEST_PING:
    case REQUEST_IS_READONLY:
    case REQUEST_GET_STATS:
    case REQUEST_KINDS:
        break;
    }
    return 0;
}

/* ---- messages ---- */

static enum codec_result refuse_message(const json_t *message, struct error *error)
{
    const char *name = json_object_iter_key(json_object_iter((json_t *)message));

    if (!json_is_object(message))
        (void)error_set(error, ERROR_INPUT,
            "a request is an object such as {\"ping\": {}}; this message is %s",
            type_name(message));
    else if (!name)
        (void)error_set(error, ERROR_INPUT, "the message {} names no request");
    else
        (void)error_set(error, ERROR_INPUT, "unknown request '%.80s'", name);
    return CODEC_REFUSED;
}

static enum codec_result read_message(
    const json_t *message, struct request *request, struct error *error)
{
    struct arguments arguments = {.error = error};

    if (json_is_null(message))
        return CODEC_END;
    for (int kind = 0; kind < REQUEST_KINDS && !arguments.object; kind++) {
        request->kind = (enum request_kind)kind;
        arguments.request = request_name(request->kind);
        arguments.object = json_object_get(message, arguments.request);
    }
    if (!arguments.object) {
        request->kind = REQUEST_KINDS;
        return refuse_message(message, error);
    }
    if (!json_is_object(arguments.object)) {
        (void)error_set(error, ERROR_INPUT, "%s: the arguments must be an object, not %s",
            arguments.request, type_name(arguments.object));
        return CODEC_REFUSED;
    }
    return read_arguments(&arguments, request) == 0 ? CODEC_REQUEST : CODEC_REFUSED;
}

static enum codec_result refuse_json(const json_error_t *reason, struct error *error)
{
    switch (json_error_code(reason)) {
    case json_error_numeric_overflow:
        (void)error_set(error, ERROR_INPUT,
            "the message holds a number that is too large (send large revisions as strings): %s",
            reason->text);
        return CODEC_REFUSED;
    default:
        (void)error_set(error, ERROR_FRAMING, "the message is not JSON in UTF-8: %s at byte %d",
            reason->text, reason->position);
        return CODEC_LOST;
    }
}

/* A message of millions of tiny values would take far more memory and time than its
 * length says. No request has more than a few. */
static bool has_too_many_values(struct text message)
{
    bool in_string = false;
    unsigned values = 0;

    for (size_t i = 0; i < message.length && values <= MOST_VALUES; i++) {
        char byte = message.bytes[i];

        if (in_string && byte == '\\')
            i++;
        else if (byte == '"')
            in_string = !in_string;
        else if (!in_string && (byte == ',' || byte == '[' || byte == '{'))
            values++;
    }
    return values > MOST_VALUES;
}

enum codec_result codec_read_request(
    struct text message, struct request *request, struct error *error)
{
    json_error_t reason;
    bool no_memory;
    json_t *root;
    enum codec_result result;

    *request = (struct request){.kind = REQUEST_KINDS};
    if (codec_plain_read(message, request))
        return CODEC_REQUEST;
    if (has_too_many_values(message)) {
        (void)error_set(error, ERROR_FRAMING, "the message holds more than %u values", MOST_VALUES);
        return CODEC_LOST;
    }
    if (message.length > 0 && memchr(message.bytes, '\0', message.length)) {
        /* The library passes over one behind a number. */
        (void)error_set(error, ERROR_FRAMING, "the message is not JSON in UTF-8: it holds a NUL");
        return CODEC_LOST;
    }
    root = json_load_whole(message, &reason, &no_memory);
    if (!root && no_memory) {
        (void)error_set_memory(error);
        return CODEC_REFUSED;
    }
    if (!root)
        return refuse_json(&reason, error);
    result = read_message(root, request, error);
    if (result == CODEC_REQUEST)
        request->owner = root;
    else
        json_decref(root);
    return result;
}

void codec_release(struct request *request)
{
    json_decref(request->owner);
    free(request->copy);
    request->owner = NULL;
    request->copy = NULL;
}

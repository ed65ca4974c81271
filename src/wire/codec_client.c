/* The client's side of the wire: requests that are sent, answers that are read. */
#include "revision/revision.h"
#include "wire/codec.h"
#include "wire/codec_plain.h"
#include "wire/json_load.h"

#include <jansson.h>

/* ---- requests ---- */

static void append_argument(struct buffer *out, const char *name, struct text text)
{
    if (out->bytes[out->length - 1] != '{')
        buffer_append_string(out, ",");
    buffer_append_string(out, "\"");
    buffer_append_string(out, name);
    buffer_append_string(out, "\":");
    codec_write_string(out, text);
}

static void append_flag(struct buffer *out, const char *name, bool value)
{
    buffer_append_string(out, ",\"");
    buffer_append_string(out, name);
    buffer_append_string(out, value ? "\":true" : "\":false");
}

static void append_arguments(struct buffer *out, const struct request *request)
{
    append_argument(out, "version", request->version);
    append_argument(out, "pkgarch", request->pkgarch);
    if (request->kind != REQUEST_MAX_PACKAGE_PR && request->kind != REQUEST_TEST_PACKAGE)
        append_argument(out, "checksum", request->checksum);
    if (request->kind == REQUEST_IMPORT_ONE)
        append_argument(out, "value", request->value);
    if (request->kind == REQUEST_EXPORT)
        append_flag(out, "colinfo", request->colinfo);
    if (request->kind == REQUEST_GET_PR || request->kind == REQUEST_TEST_PR ||
        request->kind == REQUEST_EXPORT)
        append_flag(out, "history", request->history);
}

void codec_write_request(struct buffer *out, const struct request *request)
{
    bool bare = request->kind == REQUEST_PING || request->kind == REQUEST_IS_READONLY ||
                request->kind == REQUEST_GET_STATS;

    buffer_append_string(out, "{\"");
    buffer_append_string(out, request_name(request->kind));
    buffer_append_string(out, "\":{");
    if (!bare && !buffer_failed(out))
        append_arguments(out, request);
    buffer_append_string(out, "}}");
}

/* ---- answers ---- */

static int no_answer(struct text message, struct error *error)
{
    return error_set(error, ERROR_FRAMING, "it answered with something that is no answer: %.*s",
        message.length < 100 ? (int)message.length : 100, message.bytes);
}

/* NULL: *result says why. */
static json_t *load_answer(struct text message, int *result, struct error *error)
{
    json_error_t reason;
    bool no_memory;
    json_t *root = json_load_whole(message, &reason, &no_memory);

    *result = 0;
    if (!root)
        *result = no_memory ? error_set_memory(error) : no_answer(message, error);
    return root;
}

int codec_read_refusal(struct text value, struct error *error)
{
    int result;
    json_t *root = load_answer(value, &result, error);
    const char *reason = json_string_value(json_object_get(root, "message"));

    if (result != ERROR_MEMORY)
        result = error_set(error, ERROR_INPUT, "%s", reason ? reason : "it gave no reason");
    json_decref(root);
    return result;
}

/* Reads the one member that an answer has. *root is the caller's (json_decref). */
static int read_member(struct text message, const char *name, json_t **root, const json_t **member,
    struct error *error)
{
    const json_t *reason;
    int result;

    *root = load_answer(message, &result, error);
    *member = json_object_get(*root, name);
    if (result != 0)
        return result;
    if (*member)
        return 0;
    reason = json_object_get(json_object_get(*root, "invoke-error"), "message");
    return json_is_string(reason) ? error_set(error, ERROR_INPUT, "%s", json_string_value(reason))
                                  : no_answer(message, error);
}

/* Makes an integer, which is how servers before BitBake 2.10 answer, a string. *value is the
 * member, or NULL if there is none. */
static int take_value(json_t *object, const json_t **value, struct error *error)
{
    *value = json_object_get(object, "value");
    if (!json_is_integer(*value))
        return 0;
    if (json_object_set_new(object, "value",
            json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(*value))) != 0)
        return error_set_memory(error);
    *value = json_object_get(object, "value");
    return 0;
}

int codec_read_value(
    struct text message, enum codec_integers integers, char **revision, struct error *error)
{
    json_t *root;
    const json_t *member;
    int result = read_member(message, "value", &root, &member, error);

    *revision = NULL;
    if (result == 0 && integers == CODEC_INTEGERS_TAKEN)
        result = take_value(root, &member, error);
    if (result == 0 && json_is_string(member) &&
        revision_is_valid(json_string_value(member), json_string_length(member))) {
        *revision = strdup(json_string_value(member));
        result = *revision ? 0 : error_set_memory(error);
    } else if (result == 0 && !json_is_null(member)) {
        result =
            error_set(error, ERROR_INPUT, "it answered with something that is no revision: %.*s",
                message.length < 100 ? (int)message.length : 100, message.bytes);
    }
    json_decref(root);
    return result;
}

int codec_read_flag(struct text message, const char *name, bool *flag, struct error *error)
{
    json_t *root;
    const json_t *member;
    int result = read_member(message, name, &root, &member, error);

    if (result == 0 && !json_is_boolean(member))
        result = error_set(
            error, ERROR_FRAMING, "it answered '%s' with something else than true or false", name);
    else if (result == 0)
        *flag = json_is_true(member);
    json_decref(root);
    return result;
}

int codec_check_answer(struct text message, const char *name, struct error *error)
{
    json_t *root;
    const json_t *member;
    int result = read_member(message, name, &root, &member, error);

    json_decref(root);
    return result;
}

int codec_check_object(struct text json, struct error *error)
{
    int result;
    json_t *root = load_answer(json, &result, error);

    if (result == 0 && !json_is_object(root))
        result = no_answer(json, error);
    json_decref(root);
    return result;
}

/* ---- rows of an export ---- */

static bool take_field(const json_t *row, const char *name, struct text *text)
{
    const json_t *value = json_object_get(row, name);

    *text = (struct text){.bytes = json_string_value(value), .length = json_string_length(value)};
    return json_is_string(value);
}

int codec_read_row(struct text json, struct codec_row *row, struct error *error)
{
    json_t *root;
    const json_t *value = NULL;
    bool complete;
    int result;

    if (codec_plain_read_row(json, row))
        return 0;
    root = load_answer(json, &result, error);
    if (result == 0)
        result = take_value(root, &value, error);
    complete = take_field(root, "version", &row->version) &&
               take_field(root, "pkgarch", &row->pkgarch) &&
               take_field(root, "checksum", &row->checksum) &&
               (take_field(root, "value", &row->value) || json_is_null(value));

    row->owner = root;
    if (result == 0 && complete)
        return 0;
    codec_release_row(row);
    return result ? result : no_answer(json, error);
}

void codec_release_row(struct codec_row *row)
{
    json_decref(row->owner);
    row->owner = NULL;
}

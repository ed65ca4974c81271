/* Answers on the wire: what a server writes and what a client reads. */
#include "revision/revision.h"
#include "wire/codec.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define WRITE_FLAGS (JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII)

/* ---- strings ---- */

static int append_dump(const char *bytes, size_t length, void *out)
{
    buffer_append(out, bytes, length);
    return 0;
}

/* Appends valid UTF-8 in quotes. */
static void append_utf8(struct buffer *out, struct text text)
{
    json_t *string = json_stringn_nocheck(text.bytes, text.length);

    if (!string || json_dump_callback(string, append_dump, out, WRITE_FLAGS) != 0)
        out->failed = true;
    json_decref(string);
}

/* Appends what is not UTF-8 (another program's work) with U+FFFD for each byte
 * that belongs to no character. */
static void append_repaired(struct buffer *out, struct text text)
{
    struct buffer repaired = BUFFER_EMPTY;
    size_t at = 0;

    while (at < text.length) {
        size_t take = 1;

        while (take <= 4 && at + take <= text.length &&
               !codec_is_utf8((struct text){.bytes = text.bytes + at, .length = take}))
            take++;
        if (take > 4 || at + take > text.length) {
            buffer_append_string(&repaired, "\xef\xbf\xbd");
            take = 1;
        } else {
            buffer_append(&repaired, text.bytes + at, take);
        }
        at += take;
    }
    out->failed = out->failed || buffer_failed(&repaired);
    if (!out->failed)
        append_utf8(out, buffer_text(&repaired));
    buffer_free(&repaired);
}

static bool is_plain(struct text text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];

        if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\')
            return false;
    }
    return true;
}

static void append_string(struct buffer *out, struct text text)
{
    if (is_plain(text)) {
        buffer_append_string(out, "\"");
        buffer_append_text(out, text);
        buffer_append_string(out, "\"");
    } else if (codec_is_utf8(text)) {
        append_utf8(out, text);
    } else {
        append_repaired(out, text);
    }
}

static void append_optional(struct buffer *out, const char *string_or_null)
{
    if (string_or_null)
        append_string(out, text_of(string_or_null));
    else
        buffer_append_string(out, "null");
}

static void append_bool(struct buffer *out, bool value)
{
    buffer_append_string(out, value ? "true" : "false");
}

/* ---- answers ---- */

void codec_write_alive(struct buffer *out)
{
    buffer_append_string(out, "{\"alive\":true}");
}

void codec_write_readonly(struct buffer *out, bool read_only)
{
    buffer_append_string(out, "{\"readonly\":");
    append_bool(out, read_only);
    buffer_append_string(out, "}");
}

void codec_write_value(struct buffer *out, const char *revision_or_null)
{
    buffer_append_string(out, "{\"value\":");
    append_optional(out, revision_or_null);
    buffer_append_string(out, "}");
}

void codec_write_found(struct buffer *out, bool found)
{
    buffer_append_string(out, "{\"value\":");
    append_bool(out, found);
    buffer_append_string(out, "}");
}

void codec_write_imported(struct buffer *out, const struct request *request)
{
    buffer_append_string(out, "{\"value\":");
    if (request->value_is_integer)
        buffer_append_text(out, request->value);
    else
        append_string(out, request->value);
    buffer_append_string(out, "}");
}

void codec_write_null(struct buffer *out)
{
    buffer_append_string(out, "null");
}

void codec_write_error(struct buffer *out, const char *message)
{
    buffer_append_string(out, "{\"invoke-error\":{\"message\":");
    append_string(out, text_of(message));
    buffer_append_string(out, "}}");
}

/* ---- export ---- */

void codec_write_export_begin(struct buffer *out, const char *server_version)
{
    buffer_append_string(out, "{\"metainfo\":{");
    if (!server_version)
        return;
    buffer_append_string(out, "\"tbl_name\":\"PRMAIN\",\"core_ver\":");
    append_string(out, text_of(server_version));
    buffer_append_string(out, ",\"col_info\":[");
}

void codec_write_export_column(struct buffer *out, bool first, const struct codec_column *column)
{
    char key[32];

    buffer_append_string(out, first ? "{\"name\":" : ",{\"name\":");
    append_optional(out, column->name);
    buffer_append_string(out, ",\"type\":");
    append_optional(out, column->type);
    buffer_append_string(out, column->not_null ? ",\"notnull\":1" : ",\"notnull\":0");
    buffer_append_string(out, ",\"dflt_value\":");
    append_optional(out, column->default_value);
    (void)snprintf(key, sizeof key, ",\"pk\":%d}", column->primary_key);
    buffer_append_string(out, key);
}

void codec_write_export_rows(struct buffer *out, bool with_columns)
{
    buffer_append_string(out, with_columns ? "]},\"datainfo\":[" : "},\"datainfo\":[");
}

void codec_write_export_row(struct buffer *out, bool first, struct text version,
    struct text pkgarch, struct text checksum, struct text value)
{
    buffer_append_string(out, first ? "{\"version\":" : ",{\"version\":");
    append_string(out, version);
    buffer_append_string(out, ",\"pkgarch\":");
    append_string(out, pkgarch);
    buffer_append_string(out, ",\"checksum\":");
    append_string(out, checksum);
    buffer_append_string(out, ",\"value\":");
    if (value.bytes)
        append_string(out, value);
    else
        buffer_append_string(out, "null");
    buffer_append_string(out, "}");
}

void codec_write_export_end(struct buffer *out)
{
    buffer_append_string(out, "]}");
}

/* ---- the client's side ---- */

static void append_argument(struct buffer *out, const char *name, struct text text, bool first)
{
    buffer_append_string(out, first ? "\"" : ",\"");
    buffer_append_string(out, name);
    buffer_append_string(out, "\":");
    append_string(out, text);
}

void codec_write_request(struct buffer *out, const struct request *request)
{
    bool has_package = request->kind != REQUEST_PING && request->kind != REQUEST_IS_READONLY;
    bool has_checksum = has_package && request->kind != REQUEST_MAX_PACKAGE_PR &&
                        request->kind != REQUEST_TEST_PACKAGE;

    buffer_append_string(out, "{\"");
    buffer_append_string(out, request_name(request->kind));
    buffer_append_string(out, "\":{");
    if (has_package) {
        append_argument(out, "version", request->version, true);
        append_argument(out, "pkgarch", request->pkgarch, false);
    }
    if (has_checksum)
        append_argument(out, "checksum", request->checksum, false);
    if (request->kind == REQUEST_GET_PR || request->kind == REQUEST_TEST_PR) {
        buffer_append_string(out, ",\"history\":");
        append_bool(out, request->history);
    }
    buffer_append_string(out, "}}");
}

/* Reads the one member that an answer has. *root is the caller's (json_decref). */
static int read_member(struct text message, const char *name, json_t **root, const json_t **member,
    struct error *error)
{
    const json_t *refusal;

    *root = json_loadb(message.bytes, message.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    *member = json_object_get(*root, name);
    if (*member)
        return 0;
    refusal = json_object_get(json_object_get(*root, "invoke-error"), "message");
    if (json_is_string(refusal))
        return error_set(error, ERROR_INPUT, "%s", json_string_value(refusal));
    return error_set(error, ERROR_FRAMING, "it answered with something that is no answer: %.*s",
        message.length < 100 ? (int)message.length : 100, message.bytes);
}

int codec_read_value(struct text message, char **revision, struct error *error)
{
    json_t *root;
    const json_t *member;
    int result = read_member(message, "value", &root, &member, error);

    *revision = NULL;
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

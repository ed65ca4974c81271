/* SPDX-License-Identifier: MIT */
/* Answers on the wire: JSON text → values, for clients. Of members that come twice, the last
 * counts, as in Python. */
#include "revision/revision.h"
#include "wire/codec.h"
#include "wire/json_reader.h"

#include <stdlib.h>

/* ---- answers ---- */

static int codec_client_refuse(struct text message, struct error *error)
{
    return error_set(error, ERROR_FRAMING, "it sent an invalid answer: %.*s",
        message.length < 100 ? (int)message.length : 100, message.bytes);
}

/* Reads an object. *member becomes its member of this name; absent if it has none. Returns whether
 * the text is an object. */
static bool codec_client_find_member(struct text json, const char *name, struct json_value *member)
{
    struct json_reader reader;
    struct json_value object;
    struct json_value value;
    struct json_value key;

    *member = (struct json_value){.kind = JSON_KIND_NONE};
    json_reader_init(&reader, json);
    if (!json_reader_object(&reader, &object))
        return false;
    while (json_reader_member(&reader, &key)) {
        json_reader_whole(&reader, &value);
        if (json_value_is(&key, name))
            *member = value;
    }
    return json_reader_finish(&reader);
}

/* Reads the value of an invoke-error. Returns whether its message is a string. */
static bool codec_client_find_reason(struct text refusal, struct json_value *reason)
{
    return codec_client_find_member(refusal, "message", reason) && reason->kind == JSON_KIND_STRING;
}

/* Fails with ERROR_INPUT, in the server's words. */
static int codec_client_fail_refused(const struct json_value *reason, struct error *error)
{
    struct text text;
    char *words = json_values_copy(reason, 1, &text);
    int result = words ? error_set(error, ERROR_INPUT, "%s", words) : error_set_memory(error);

    free(words);
    return result;
}

int codec_read_refusal(struct text value, struct error *error)
{
    struct json_value reason;

    return codec_client_find_reason(value, &reason)
               ? codec_client_fail_refused(&reason, error)
               : error_set(error, ERROR_INPUT, "it gave no reason");
}

/* Reads the one member that an answer has. */
static int codec_client_read_member(
    struct text message, const char *name, struct json_value *member, struct error *error)
{
    struct json_value refusal;
    struct json_value reason;

    if (!codec_client_find_member(message, name, member))
        return codec_client_refuse(message, error);
    if (member->kind != JSON_KIND_NONE)
        return 0;
    (void)codec_client_find_member(message, "invoke-error", &refusal);
    if (refusal.kind == JSON_KIND_OBJECT && codec_client_find_reason(refusal.text, &reason))
        return codec_client_fail_refused(&reason, error);
    return codec_client_refuse(message, error);
}

int codec_read_value(
    struct text message, enum codec_integers integers, char **revision, struct error *error)
{
    struct json_value member;
    int result = codec_client_read_member(message, "value", &member, error);
    struct text text;

    *revision = NULL;
    if (result != 0 || member.kind == JSON_KIND_NULL)
        return result;
    if (member.kind == JSON_KIND_STRING ||
        (member.kind == JSON_KIND_INTEGER && integers == CODEC_INTEGERS_TAKEN)) {
        *revision = json_values_copy(&member, 1, &text);
        if (!*revision)
            return error_set_memory(error);
        if (revision_is_valid(text.bytes, text.length))
            return 0;
        free(*revision);
        *revision = NULL;
    }
    return error_set(error, ERROR_INPUT, "it answered with a value that is not a revision: %.*s",
        message.length < 100 ? (int)message.length : 100, message.bytes);
}

int codec_read_flag(struct text message, const char *name, bool *flag, struct error *error)
{
    struct json_value member;
    int result = codec_client_read_member(message, name, &member, error);

    if (result != 0)
        return result;
    if (member.kind != JSON_KIND_TRUE && member.kind != JSON_KIND_FALSE)
        return error_set(error, ERROR_FRAMING,
            "it answered with a value of '%s' that is neither true nor false", name);
    *flag = member.kind == JSON_KIND_TRUE;
    return 0;
}

/* Adds the strings of a list; ignores anything else. */
static void codec_client_read_instances(const struct json_value *list, struct instances *instances)
{
    struct json_reader reader;
    struct json_value value;

    json_reader_init(&reader, list->text);
    if (!json_reader_value(&reader, &value) || value.kind != JSON_KIND_LIST)
        return;
    while (json_reader_element(&reader)) {
        json_reader_whole(&reader, &value);
        if (value.kind == JSON_KIND_STRING && !value.has_escapes)
            instances_add(instances, value.text);
    }
}

int codec_read_peer(struct text message, struct codec_peer *peer, struct error *error)
{
    struct json_value member;
    int result;

    *peer = (struct codec_peer){.is_stale = false};
    result = codec_read_flag(message, "readonly", &peer->is_read_only, error);
    if (result != 0)
        return result;
    if (codec_client_find_member(message, "stale", &member))
        peer->is_stale = member.kind == JSON_KIND_TRUE;
    if (codec_client_find_member(message, "instances", &member) && member.kind == JSON_KIND_LIST)
        codec_client_read_instances(&member, &peer->instances);
    return 0;
}

int codec_check_answer(struct text message, const char *name, struct error *error)
{
    struct json_value member;

    return codec_client_read_member(message, name, &member, error);
}

int codec_check_object(struct text json, struct error *error)
{
    struct json_reader reader;
    struct json_value value;

    json_reader_init(&reader, json);
    json_reader_whole(&reader, &value);
    return json_reader_finish(&reader) && value.kind == JSON_KIND_OBJECT
               ? 0
               : codec_client_refuse(json, error);
}

/* ---- rows of an export ---- */

enum { VERSION, PKGARCH, CHECKSUM, VALUE, N_FIELDS };

static const char *const field_names[N_FIELDS] = {"version", "pkgarch", "checksum", "value"};

/* Reads the members of a row. Returns the field that comes twice, or N_FIELDS. */
static int codec_client_read_fields(struct json_reader *reader, struct json_value fields[N_FIELDS])
{
    int repeated = N_FIELDS;
    struct json_value name;

    while (json_reader_member(reader, &name)) {
        int field = json_value_find(&name, field_names, N_FIELDS);
        struct json_value value;

        json_reader_whole(reader, &value);
        if (field == N_FIELDS)
            continue;
        if (fields[field].kind != JSON_KIND_NONE)
            repeated = field;
        fields[field] = value;
    }
    return repeated;
}

static int codec_client_check_field(int field, const struct json_value *value, struct error *error)
{
    if (value->kind == JSON_KIND_NONE)
        return error_set(error, ERROR_FRAMING, "%s is missing", field_names[field]);
    if (value->kind == JSON_KIND_STRING ||
        (field == VALUE && (value->kind == JSON_KIND_NULL || value->kind == JSON_KIND_INTEGER)))
        return 0;
    return error_set(error, ERROR_FRAMING, "%s is not a string", field_names[field]);
}

/* Hands out the fields, as copies if any of them has escapes. */
static int codec_client_take_fields(
    const struct json_value fields[N_FIELDS], struct row *row, char **owned, struct error *error)
{
    struct text texts[N_FIELDS];
    bool has_escapes = false;

    for (int i = 0; i < N_FIELDS; i++) {
        texts[i] = fields[i].text;
        has_escapes = has_escapes || fields[i].has_escapes;
    }
    if (has_escapes)
        *owned = json_values_copy(fields, N_FIELDS, texts);
    if (has_escapes && !*owned)
        return error_set_memory(error);
    row->version = texts[VERSION];
    row->pkgarch = texts[PKGARCH];
    row->checksum = texts[CHECKSUM];
    row->value = texts[VALUE];
    if (fields[VALUE].kind == JSON_KIND_NULL)
        row->value = (struct text){.bytes = NULL};
    return 0;
}

int codec_read_row(struct text json, struct row *row, char **owned, struct error *error)
{
    struct json_value fields[N_FIELDS] = {{.kind = JSON_KIND_NONE}};
    int repeated = N_FIELDS;
    struct json_reader reader;
    struct json_value whole;

    *owned = NULL;
    json_reader_init(&reader, json);
    if (json_reader_object(&reader, &whole))
        repeated = codec_client_read_fields(&reader, fields);
    if (!json_reader_finish(&reader))
        return error_set(error, ERROR_FRAMING, "not JSON: %s at byte %zu", reader.problem,
            json_reader_position(&reader));
    if (whole.kind != JSON_KIND_OBJECT)
        return error_set(error, ERROR_FRAMING, "a row of datainfo is not an object");
    if (repeated != N_FIELDS)
        return error_set(error, ERROR_FRAMING, "%s comes twice", field_names[repeated]);
    for (int i = 0; i < N_FIELDS; i++) {
        if (codec_client_check_field(i, &fields[i], error) != 0)
            return ERROR_FRAMING;
    }
    return codec_client_take_fields(fields, row, owned, error);
}

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
               !text_is_utf8((struct text){.bytes = text.bytes + at, .length = take}))
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

void codec_write_string(struct buffer *out, struct text text)
{
    if (is_plain(text)) {
        buffer_append_string(out, "\"");
        buffer_append_text(out, text);
        buffer_append_string(out, "\"");
    } else if (text_is_utf8(text)) {
        append_utf8(out, text);
    } else {
        append_repaired(out, text);
    }
}

static void append_optional(struct buffer *out, const char *string_or_null)
{
    if (string_or_null)
        codec_write_string(out, text_of(string_or_null));
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
        codec_write_string(out, request->value);
    buffer_append_string(out, "}");
}

void codec_write_null(struct buffer *out)
{
    buffer_append_string(out, "null");
}

void codec_write_error(struct buffer *out, const char *message)
{
    buffer_append_string(out, "{\"invoke-error\":{\"message\":");
    codec_write_string(out, text_of(message));
    buffer_append_string(out, "}}");
}

/* ---- export ---- */

void codec_write_export_begin(struct buffer *out, const char *server_version)
{
    buffer_append_string(out, "{\"metainfo\":{");
    if (!server_version)
        return;
    buffer_append_string(out, "\"tbl_name\":\"PRMAIN\",\"core_ver\":");
    codec_write_string(out, text_of(server_version));
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
    codec_write_string(out, version);
    buffer_append_string(out, ",\"pkgarch\":");
    codec_write_string(out, pkgarch);
    buffer_append_string(out, ",\"checksum\":");
    codec_write_string(out, checksum);
    buffer_append_string(out, ",\"value\":");
    if (value.bytes)
        codec_write_string(out, value);
    else
        buffer_append_string(out, "null");
    buffer_append_string(out, "}");
}

void codec_write_export_end(struct buffer *out)
{
    buffer_append_string(out, "]}");
}

/* SPDX-License-Identifier: MIT */
/* The answers of a server, written. */
#include "wire/codec.h"

/* ---- strings ---- */

/* Returns how many of the first bytes are written as they are. */
static size_t codec_answer_count_plain(struct text text)
{
    size_t n = 0;

    while (n < text.length && (unsigned char)text.bytes[n] >= 0x20 &&
           (unsigned char)text.bytes[n] < 0x80 && text.bytes[n] != '"' && text.bytes[n] != '\\')
        n++;
    return n;
}

/* Returns the letter that stands for a character behind a backslash, or NUL. */
static char codec_answer_short_escape(uint32_t code)
{
    switch (code) {
    case '"':
    case '\\':
        return (char)code;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return '\0';
    }
}

/* Writes \uXXXX. */
static char *codec_answer_put_unit(uint32_t unit, char *to)
{
    static const char digits[] = "0123456789ABCDEF";

    *to++ = '\\';
    *to++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4)
        *to++ = digits[unit >> shift & 0xf];
    return to;
}

static void codec_answer_append_escaped(struct buffer *out, uint32_t code)
{
    const char letter = codec_answer_short_escape(code);
    char escaped[12];
    char *end = escaped;

    if (letter) {
        *end++ = '\\';
        *end++ = letter;
    } else if (code < 0x10000) {
        end = codec_answer_put_unit(code, end);
    } else {
        end = codec_answer_put_unit(0xd800 + ((code - 0x10000) >> 10), end);
        end = codec_answer_put_unit(0xdc00 + (code & 0x3ff), end);
    }
    buffer_append(out, escaped, (size_t)(end - escaped));
}

void codec_write_string(struct buffer *out, struct text text)
{
    buffer_append_string(out, "\"");
    for (;;) {
        size_t n = codec_answer_count_plain(text);
        uint32_t code;

        buffer_append(out, text.bytes, n);
        if (n == text.length)
            break;
        text = text_from(text, n);
        n = text_decode(text.bytes, text.length, &code);
        codec_answer_append_escaped(out, n > 0 ? code : 0xfffd);
        text = text_from(text, n > 0 ? n : 1); /* one byte that is not UTF-8 */
    }
    buffer_append_string(out, "\"");
}

size_t codec_string_bytes(struct text text)
{
    size_t bytes = strlen("\"\"");

    for (;;) {
        size_t n = codec_answer_count_plain(text);
        uint32_t code = 0;

        bytes += n;
        if (n == text.length)
            return bytes;
        text = text_from(text, n);
        n = text_decode(text.bytes, text.length, &code);
        if (n == 1 && codec_answer_short_escape(code))
            bytes += strlen("\\n");
        else
            bytes += n > 0 && code >= 0x10000 ? strlen("\\u0000\\u0000") : strlen("\\u0000");
        text = text_from(text, n > 0 ? n : 1); /* one byte that is not UTF-8 */
    }
}

static void codec_answer_append_optional(struct buffer *out, const char *string_or_null)
{
    if (string_or_null)
        codec_write_string(out, text_of(string_or_null));
    else
        buffer_append_string(out, "null");
}

/* ---- answers ---- */

void codec_write_alive(struct buffer *out)
{
    buffer_append_string(out, "{\"alive\":true}");
}

void codec_write_peer(struct buffer *out, const struct codec_peer *peer)
{
    buffer_append_string(out, peer->is_read_only ? "{\"readonly\":true" : "{\"readonly\":false");
    buffer_append_string(out, ",\"instances\":[");
    for (unsigned i = 0; i < peer->instances.n; i++) {
        buffer_append_string(out, i == 0 ? "" : ",");
        codec_write_string(out, text_of(peer->instances.names[i]));
    }
    buffer_append_string(out, peer->is_stale ? "],\"stale\":true}" : "]}");
}

void codec_write_value(struct buffer *out, const char *revision_or_null)
{
    buffer_append_string(out, "{\"value\":");
    codec_answer_append_optional(out, revision_or_null);
    buffer_append_string(out, "}");
}

void codec_write_found(struct buffer *out, bool found)
{
    buffer_append_string(out, found ? "{\"value\":true}" : "{\"value\":false}");
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
    buffer_append_string(out, first ? "{\"name\":" : ",{\"name\":");
    codec_answer_append_optional(out, column->name);
    buffer_append_string(out, ",\"type\":");
    codec_answer_append_optional(out, column->type);
    buffer_append_string(out, column->not_null ? ",\"notnull\":1" : ",\"notnull\":0");
    buffer_append_string(out, ",\"dflt_value\":");
    codec_answer_append_optional(out, column->default_value);
    buffer_append_format(out, ",\"pk\":%d}", column->primary_key);
}

void codec_write_export_rows(struct buffer *out, bool with_columns)
{
    buffer_append_string(out, with_columns ? "]},\"datainfo\":[" : "},\"datainfo\":[");
}

void codec_write_export_row(struct buffer *out, bool first, const struct row *row)
{
    buffer_append_string(out, first ? "{\"version\":" : ",{\"version\":");
    codec_write_string(out, row->version);
    buffer_append_string(out, ",\"pkgarch\":");
    codec_write_string(out, row->pkgarch);
    buffer_append_string(out, ",\"checksum\":");
    codec_write_string(out, row->checksum);
    buffer_append_string(out, ",\"value\":");
    if (row->value.bytes)
        codec_write_string(out, row->value);
    else
        buffer_append_string(out, "null");
    buffer_append_string(out, "}");
}

void codec_write_export_end(struct buffer *out)
{
    buffer_append_string(out, "]}");
}

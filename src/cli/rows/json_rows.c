/* SPDX-License-Identifier: MIT */
/* JSON as in the protocol's answer to export. The reader feeds the file to the stream parser byte
 * by byte until it has found the next element of datainfo. The writer puts each row on a line of
 * its own, so that line numbers in messages are useful. */
#include "cli/rows/rows.h"
#include "client/json_stream.h"
#include "wire/codec.h"

#include <stdlib.h>

#define FOUND_ERROR 100 /* the file holds an error answer; in addition to the parser's results */

struct json_row_reader {
    struct row_reader reader; /* first */
    struct json_stream stream;
    bool has_rows; /* datainfo has ended */
    bool found;
    struct buffer text; /* of the row that was found */
    char *owned;        /* texts of the row that was handed out, which also borrows from text */
};

struct json_row_writer {
    struct row_writer writer; /* first */
    bool first;
    struct buffer text;
};

/* ---- reading ---- */

/* Keeps the text of a row. The parser can't be paused, so it is fed one byte at a time and finds
 * at most one row in it. */
static int json_rows_found_member(
    void *context, enum json_stream_part part, struct text key, struct text value)
{
    struct json_row_reader *json = context;

    if (text_is(key, "invoke-error"))
        return FOUND_ERROR;
    if (!text_is(key, "datainfo"))
        return 0;
    if (json->has_rows || part == JSON_STREAM_MEMBER_VALUE)
        return JSON_STREAM_INVALID;
    json->has_rows = json->reader.is_known = part == JSON_STREAM_LIST_END;
    if (json->has_rows)
        return 0;
    json->found = true;
    buffer_reset(&json->text, BUFFER_KEEP_BYTES);
    buffer_append_text(&json->text, value);
    return buffer_failed(&json->text) ? JSON_STREAM_NO_MEMORY : 0;
}

static int json_rows_at_end(struct json_row_reader *json, struct error *error)
{
    if (source_failed(&json->reader.source, error) != 0)
        return ROW_BROKEN;
    if (!json_stream_is_complete(&json->stream))
        return error_set(error, ROW_BROKEN, "the JSON ends midway");
    if (!json->has_rows)
        return error_set(error, ROW_BROKEN, "the JSON has no datainfo");
    return ROW_END;
}

/* Reads on until a row is found. */
static int json_rows_find_row(struct json_row_reader *json, struct error *error)
{
    int result = 0;

    json->found = false;
    while (result == 0 && !json->found) {
        int byte = source_next(&json->reader.source);
        char one = (char)byte;

        json->reader.line = json->reader.source.line;
        if (byte == EOF)
            return json_rows_at_end(json, error);
        result = json_stream_feed(&json->stream, (struct text){.bytes = &one, .length = 1});
    }
    if (result == 0)
        return ROW_READ;
    if (result == FOUND_ERROR)
        return error_set(
            error, ROW_BROKEN, "the file holds a server's error answer, not an export");
    if (result == JSON_STREAM_NO_MEMORY)
        return error_set(error, ROW_BROKEN, "out of memory");
    if (result == JSON_STREAM_TOO_LONG)
        return error_set(error, ROW_BROKEN, "the row is too long");
    return error_set(
        error, ROW_BROKEN, "not the JSON of an export: {\"metainfo\": {}, \"datainfo\": [...]}");
}

static int json_rows_next(struct row_reader *reader, struct row *row, struct error *error)
{
    struct json_row_reader *json = (struct json_row_reader *)reader;
    int found = json_rows_find_row(json, error);
    int result;

    if (found != ROW_READ)
        return found;
    for (size_t i = 0; i < json->text.length; i++)
        reader->line -= json->text.bytes[i] == '\n';
    free(json->owned);
    result = codec_read_row(buffer_text(&json->text), row, &json->owned, error);
    if (result != 0)
        return result == ERROR_MEMORY ? ROW_BROKEN : ROW_REFUSED;
    return ROW_READ;
}

static void json_rows_reader_free(struct row_reader *reader)
{
    struct json_row_reader *json = (struct json_row_reader *)reader;

    free(json->owned);
    buffer_free(&json->text);
    json_stream_deinit(&json->stream);
    free(json);
}

struct row_reader *json_reader_create(void)
{
    struct json_row_reader *json = calloc(1, sizeof *json);

    if (!json)
        return NULL;
    json->reader.next = json_rows_next;
    json->reader.free = json_rows_reader_free;
    json->stream.found = json_rows_found_member;
    json->stream.context = json;
    return &json->reader;
}

/* ---- writing ---- */

static void json_rows_begin(struct row_writer *writer, struct text metainfo)
{
    if (metainfo.length == 0)
        metainfo = text_of("{}");
    (void)fputs("{\"metainfo\":", writer->file);
    (void)fwrite(metainfo.bytes, 1, metainfo.length, writer->file);
    (void)fputs(",\"datainfo\":[", writer->file);
}

static int json_rows_row(struct row_writer *writer, const struct row *row, struct error *error)
{
    struct json_row_writer *json = (struct json_row_writer *)writer;

    buffer_reset(&json->text, BUFFER_KEEP_BYTES);
    buffer_append_string(&json->text, json->first ? "\n" : ",\n");
    json->first = false;
    codec_write_export_row(&json->text, true, row);
    if (buffer_failed(&json->text))
        return error_set_memory(error);
    (void)fwrite(json->text.bytes, 1, json->text.length, writer->file);
    return 0;
}

static int json_rows_end(struct row_writer *writer, struct error *error)
{
    (void)error;
    (void)fputs("\n]}\n", writer->file);
    return 0;
}

static void json_rows_writer_free(struct row_writer *writer)
{
    struct json_row_writer *json = (struct json_row_writer *)writer;

    buffer_free(&json->text);
    free(json);
}

struct row_writer *json_writer_create(FILE *file)
{
    struct json_row_writer *json = calloc(1, sizeof *json);

    if (!json)
        return NULL;
    json->writer = (struct row_writer){.file = file,
        .begin = json_rows_begin,
        .row = json_rows_row,
        .end = json_rows_end,
        .free = json_rows_writer_free};
    json->first = true;
    return &json->writer;
}

/* The file is the protocol's answer to export. It is read a byte at a time, until the
 * splitter has found the next element of datainfo; and written with a row on each line, so
 * that line numbers say something. */
#include "cli/rows.h"
#include "client/splitter.h"
#include "wire/codec.h"

#include <jansson.h>
#include <stdlib.h>

#define KEEP_BYTES ((size_t)64 * 1024)
#define FOUND_ERROR 100 /* the file holds a server's refusal; beside the splitter's codes */

struct json_reader {
    struct row_reader reader; /* first */
    struct splitter splitter;
    bool has_rows; /* the list has ended */
    bool found;
    struct buffer text; /* of the row that was found */
    json_t *row;        /* owns the texts of the row that was handed out */
};

struct json_writer {
    struct row_writer writer; /* first */
    bool first;
    struct buffer text;
};

/* ---- reading ---- */

/* The splitter can't be stopped and go on: it is fed so little that it finds one row at most. */
static int found_member(void *context, enum splitter_part part, struct text key, struct text value)
{
    struct json_reader *json = context;

    if (text_is(key, "invoke-error"))
        return FOUND_ERROR;
    if (!text_is(key, "datainfo"))
        return 0;
    if (json->has_rows || part == SPLITTER_MEMBER)
        return SPLITTER_NONSENSE;
    json->has_rows = part == SPLITTER_LIST_END;
    if (json->has_rows)
        return 0;
    json->found = true;
    buffer_reset(&json->text, KEEP_BYTES);
    buffer_append_text(&json->text, value);
    return buffer_failed(&json->text) ? SPLITTER_NO_MEMORY : 0;
}

static int broken(const char *reason, struct error *error)
{
    (void)error_set(error, ERROR_INPUT, "%s", reason);
    return ROW_BROKEN;
}

static int at_end(struct json_reader *json, struct error *error)
{
    if (source_failed(json->reader.source, error) != 0)
        return ROW_BROKEN;
    if (!splitter_is_complete(&json->splitter))
        return broken("the JSON ends midway", error);
    if (!json->has_rows)
        return broken("the JSON has no datainfo", error);
    return ROW_END;
}

/* Reads on until a row is found. */
static int find_row(struct json_reader *json, struct error *error)
{
    int result = 0;

    json->found = false;
    while (result == 0 && !json->found) {
        int byte = source_take(json->reader.source);
        char one = (char)byte;

        json->reader.line = json->reader.source->line;
        if (byte == EOF)
            return at_end(json, error);
        result = splitter_feed(&json->splitter, (struct text){.bytes = &one, .length = 1});
    }
    if (result == 0)
        return ROW_READ;
    if (result == FOUND_ERROR)
        return broken("this is a server's refusal, not an export", error);
    if (result == SPLITTER_NO_MEMORY)
        return broken("out of memory", error);
    if (result == SPLITTER_TOO_LONG)
        return broken("the row is too long", error);
    return broken("not the JSON of an export: {\"metainfo\": {}, \"datainfo\": [...]}", error);
}

static int refuse(const char *reason, const char *member, struct error *error)
{
    (void)error_set(error, ERROR_INPUT, "%s%s", member, reason);
    return ROW_REFUSED;
}

static int read_text(
    const json_t *row, const char *member, struct prserv_text *text, struct error *error)
{
    const json_t *value = json_object_get(row, member);

    if (!value)
        return refuse(" is missing", member, error);
    if (!json_is_string(value))
        return refuse(" is no string", member, error);
    text->bytes = json_string_value(value);
    text->length = json_string_length(value);
    return ROW_READ;
}

/* A string, an integer (OE-core's), or null: none. */
static int read_value(struct json_reader *json, struct prserv_text *text, struct error *error)
{
    const json_t *value = json_object_get(json->row, "value");

    if (json_is_null(value)) {
        *text = (struct prserv_text){.bytes = NULL};
        return ROW_READ;
    }
    if (json_is_integer(value))
        (void)json_object_set_new(
            json->row, "value", json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(value)));
    return read_text(json->row, "value", text, error);
}

static int read_row(struct json_reader *json, struct prserv_row *row, struct error *error)
{
    json_error_t reason;
    int result;

    json_decref(json->row);
    json->row = json_loadb(json->text.bytes, json->text.length,
        JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &reason);
    if (!json->row) {
        (void)error_set(error, ERROR_INPUT, "not JSON: %s", reason.text);
        return ROW_REFUSED;
    }
    if (!json_is_object(json->row))
        return refuse("is no object", "a row of datainfo ", error);
    result = read_text(json->row, "version", &row->version, error);
    if (result == ROW_READ)
        result = read_text(json->row, "pkgarch", &row->pkgarch, error);
    if (result == ROW_READ)
        result = read_text(json->row, "checksum", &row->checksum, error);
    return result == ROW_READ ? read_value(json, &row->value, error) : result;
}

static int json_next(struct row_reader *reader, struct prserv_row *row, struct error *error)
{
    struct json_reader *json = (struct json_reader *)reader;
    int found = find_row(json, error);

    if (found != ROW_READ)
        return found;
    for (size_t i = 0; i < json->text.length; i++)
        reader->line -= json->text.bytes[i] == '\n';
    return read_row(json, row, error);
}

static void json_reader_free(struct row_reader *reader)
{
    struct json_reader *json = (struct json_reader *)reader;

    json_decref(json->row);
    buffer_free(&json->text);
    splitter_free(&json->splitter);
    free(json);
}

struct row_reader *json_reader_new(void)
{
    struct json_reader *json = calloc(1, sizeof *json);

    if (!json)
        return NULL;
    json->reader.next = json_next;
    json->reader.free = json_reader_free;
    json->splitter.found = found_member;
    json->splitter.context = json;
    return &json->reader;
}

/* ---- writing ---- */

static void json_begin(struct row_writer *writer, struct text metainfo)
{
    if (metainfo.length == 0)
        metainfo = text_of("{}");
    (void)fputs("{\"metainfo\":", writer->file);
    (void)fwrite(metainfo.bytes, 1, metainfo.length, writer->file);
    (void)fputs(",\"datainfo\":[", writer->file);
}

static int json_row(struct row_writer *writer, const struct prserv_row *row, struct error *error)
{
    struct json_writer *json = (struct json_writer *)writer;

    buffer_reset(&json->text, KEEP_BYTES);
    buffer_append_string(&json->text, json->first ? "\n" : ",\n");
    json->first = false;
    codec_write_export_row(&json->text, true, field_text(row->version), field_text(row->pkgarch),
        field_text(row->checksum), field_text(row->value));
    if (buffer_failed(&json->text))
        return error_set_memory(error);
    (void)fwrite(json->text.bytes, 1, json->text.length, writer->file);
    return 0;
}

static int json_end(struct row_writer *writer, struct error *error)
{
    (void)error;
    (void)fputs("\n]}\n", writer->file);
    return 0;
}

static void json_writer_free(struct row_writer *writer)
{
    struct json_writer *json = (struct json_writer *)writer;

    buffer_free(&json->text);
    free(json);
}

struct row_writer *json_writer_new(FILE *file)
{
    struct json_writer *json = calloc(1, sizeof *json);

    if (!json)
        return NULL;
    json->writer = (struct row_writer){.file = file,
        .begin = json_begin,
        .row = json_row,
        .end = json_end,
        .free = json_writer_free};
    json->first = true;
    return &json->writer;
}

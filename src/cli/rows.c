#include "cli/rows.h"

#include <jansson.h>
#include <stdlib.h>

int row_reader_new(struct row_reader **result, struct source *source, struct error *error)
{
    struct row_reader *reader;

    switch (source_peek(source)) {
    case '{':
    case '[':
        reader = json_reader_new();
        break;
    case 'v': /* version, */
    case '"':
        reader = csv_reader_new();
        break;
    default:
        reader = conf_reader_new();
        break;
    }
    *result = reader;
    if (!reader)
        return error_set_memory(error);
    reader->source = source;
    return 0;
}

void row_reader_free(struct row_reader *reader)
{
    if (reader)
        reader->free(reader);
}

void row_writer_free(struct row_writer *writer)
{
    if (writer)
        writer->free(writer);
}

/* ---- JSON ---- */

static int append_dump(const char *bytes, size_t length, void *out)
{
    buffer_append(out, bytes, length);
    return 0;
}

static json_t *make_string(struct text text)
{
    json_t *string = json_stringn(text.length > 0 ? text.bytes : "", text.length);
    struct buffer ascii = BUFFER_EMPTY;

    if (string)
        return string;
    for (size_t i = 0; i < text.length; i++)
        buffer_append(&ascii, (unsigned char)text.bytes[i] < 0x80 ? &text.bytes[i] : "?", 1);
    if (!buffer_failed(&ascii))
        string = json_stringn(ascii.bytes, ascii.length);
    buffer_free(&ascii);
    return string;
}

bool row_write_string(struct buffer *out, struct text text)
{
    json_t *string = make_string(text);
    bool done = string && json_dump_callback(string, append_dump, out,
                              JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII) == 0;

    json_decref(string);
    return done && !buffer_failed(out);
}

bool row_write_json(struct buffer *out, const struct prserv_row *row)
{
    bool done;

    buffer_append_string(out, "{\"version\":");
    done = row_write_string(out, row_text(row->version));
    buffer_append_string(out, ",\"pkgarch\":");
    done = done && row_write_string(out, row_text(row->pkgarch));
    buffer_append_string(out, ",\"checksum\":");
    done = done && row_write_string(out, row_text(row->checksum));
    buffer_append_string(out, ",\"value\":");
    if (!row->value.bytes)
        buffer_append_string(out, "null");
    else
        done = done && row_write_string(out, row_text(row->value));
    buffer_append_string(out, "}");
    return done && !buffer_failed(out);
}

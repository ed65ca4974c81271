/* SPDX-License-Identifier: MIT */
#include "cli/rows/rows.h"

static struct row_reader *row_reader_create(struct source *source)
{
    switch (source_peek(source)) {
    case '{':
    case '[':
        return json_reader_create();
    case 'v': /* version, */
    case 'V': /* Version, */
    case '"':
        return csv_reader_create();
    default:
        return conf_reader_create();
    }
}

int row_reader_open(struct row_reader **opened, const char *name, struct error *error)
{
    struct source source;
    int result = source_open(&source, name, error);

    if (result != 0)
        return result;
    *opened = row_reader_create(&source);
    if (!*opened) {
        source_close(&source);
        return error_set_memory(error);
    }
    (*opened)->source = source;
    return 0;
}

void row_reader_close(struct row_reader *reader)
{
    source_close(&reader->source);
    reader->free(reader);
}

void row_writer_free(struct row_writer *writer)
{
    if (writer)
        writer->free(writer);
}

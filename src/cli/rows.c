#include "cli/rows.h"

#include "base/error.h"

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

/* RFC 4180: fields are quoted if they hold what separates fields or rows; a quote inside is
 * doubled; lines end with CR LF (LF is read as well). A field that is empty without quotes
 * is no value at all, "" is an empty one. */
#include "cli/rows.h"

#include <stdlib.h>

#define FIELDS 4
#define KEEP_BYTES ((size_t)64 * 1024)

static const char *const names[FIELDS] = {"version", "pkgarch", "checksum", "value"};

struct csv_reader {
    struct row_reader reader; /* first */
    bool header_read;
    bool refused; /* this record; it is read to its end */
    unsigned n_fields;
    size_t bytes; /* of the record */
    bool quoted[FIELDS];
    struct buffer fields[FIELDS];
};

/* ---- reading ---- */

static void refuse(struct csv_reader *csv, const char *reason, struct error *error)
{
    if (!csv->refused)
        (void)error_set(error, ERROR_INPUT, "%s", reason);
    csv->refused = true;
}

static void keep(struct csv_reader *csv, int byte, struct error *error)
{
    char one = (char)byte;

    if (csv->n_fields >= FIELDS)
        refuse(csv, "more than four fields", error);
    else
        buffer_append(&csv->fields[csv->n_fields], &one, 1);
    csv->bytes++;
}

static bool is_too_long(const struct csv_reader *csv)
{
    return csv->bytes > MOST_ROW_BYTES;
}

/* What stands between quotes. Returns the byte after them; -2 if they don't end, or too late. */
static int read_quoted(struct csv_reader *csv, struct error *error)
{
    struct source *source = csv->reader.source;

    for (;;) {
        int byte = source_take(source);

        if (byte == EOF || is_too_long(csv))
            return -2;
        if (byte == '"' && source_peek(source) != '"')
            return source_take(source);
        if (byte == '"')
            (void)source_take(source);
        keep(csv, byte, error);
    }
}

/* Is this, after a byte that may be CR, the end of a record? */
static bool is_end(struct source *source, int *byte)
{
    if (*byte == '\r' && source_peek(source) == '\n')
        *byte = source_take(source);
    return *byte == '\n' || *byte == EOF;
}

/* Reads a field. Returns the byte that ended it: a comma, a line's end or EOF; or -2. */
static int read_field(struct csv_reader *csv, struct error *error)
{
    struct source *source = csv->reader.source;
    bool quoted = source_peek(source) == '"';
    int byte = source_take(source);

    if (csv->n_fields < FIELDS)
        csv->quoted[csv->n_fields] = quoted;
    else
        refuse(csv, "more than four fields", error);
    if (quoted && (byte = read_quoted(csv, error)) == -2)
        return -2;
    while (byte != ',' && !is_end(source, &byte)) {
        if (quoted || byte == '"')
            refuse(csv, "a quote in the middle of a field", error);
        keep(csv, byte, error);
        if (is_too_long(csv))
            return -2;
        byte = source_take(source);
    }
    csv->n_fields++;
    return byte;
}

static bool is_out_of_memory(const struct csv_reader *csv, struct error *error)
{
    for (int i = 0; i < FIELDS; i++) {
        if (buffer_failed(&csv->fields[i])) {
            (void)error_set_memory(error);
            return true;
        }
    }
    return false;
}

/* Reads a record that is not blank into the fields. */
static int read_record(struct csv_reader *csv, struct error *error)
{
    struct source *source = csv->reader.source;
    int byte;

    while (source_peek(source) == '\n' || source_peek(source) == '\r')
        (void)source_take(source);
    if (source_peek(source) == EOF)
        return source_failed(source, error) == 0 ? ROW_END : ROW_BROKEN;
    csv->reader.line = source->line;
    csv->refused = false;
    csv->n_fields = 0;
    csv->bytes = 0;
    for (int i = 0; i < FIELDS; i++)
        buffer_reset(&csv->fields[i], KEEP_BYTES);
    do {
        byte = read_field(csv, error);
    } while (byte == ',');
    if (source_failed(source, error) != 0)
        return ROW_BROKEN;
    if (byte == -2) {
        (void)error_set(error, ERROR_INPUT, "%s",
            is_too_long(csv) ? "the row is too long"
                             : "the quoted field that begins here does not end");
        return ROW_BROKEN;
    }
    if (is_out_of_memory(csv, error))
        return ROW_BROKEN;
    if (csv->n_fields != FIELDS)
        refuse(csv, "not the four fields version,pkgarch,checksum,value", error);
    return csv->refused ? ROW_REFUSED : ROW_READ;
}

static int read_header(struct csv_reader *csv, struct error *error)
{
    int found = read_record(csv, error);

    csv->header_read = true;
    for (int i = 0; i < FIELDS && found == ROW_READ; i++) {
        if (!text_is(buffer_text(&csv->fields[i]), names[i]))
            found = ROW_REFUSED;
    }
    if (found == ROW_REFUSED) {
        (void)error_set(error, ERROR_INPUT,
            "neither conf nor JSON nor CSV with the header version,pkgarch,checksum,value");
        return ROW_BROKEN;
    }
    return found;
}

static struct prserv_text take_field(const struct csv_reader *csv, int at)
{
    struct prserv_text field = field_of(buffer_text(&csv->fields[at]));

    if (!field.bytes)
        field.bytes = "";
    return field;
}

static int csv_next(struct row_reader *reader, struct prserv_row *row, struct error *error)
{
    struct csv_reader *csv = (struct csv_reader *)reader;
    int found = csv->header_read ? ROW_READ : read_header(csv, error);

    if (found == ROW_READ)
        found = read_record(csv, error);
    if (found != ROW_READ)
        return found;
    row->version = take_field(csv, 0);
    row->pkgarch = take_field(csv, 1);
    row->checksum = take_field(csv, 2);
    row->value = take_field(csv, 3);
    if (row->value.length == 0 && !csv->quoted[3])
        row->value.bytes = NULL;
    return ROW_READ;
}

static void csv_reader_free(struct row_reader *reader)
{
    struct csv_reader *csv = (struct csv_reader *)reader;

    for (int i = 0; i < FIELDS; i++)
        buffer_free(&csv->fields[i]);
    free(csv);
}

struct row_reader *csv_reader_new(void)
{
    struct csv_reader *csv = calloc(1, sizeof *csv);

    if (!csv)
        return NULL;
    csv->reader.next = csv_next;
    csv->reader.free = csv_reader_free;
    return &csv->reader;
}

/* ---- writing ---- */

static bool needs_quotes(struct prserv_text text)
{
    if (text.length == 0 || text.bytes[0] == ' ' || text.bytes[text.length - 1] == ' ')
        return true;
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];

        if (byte == '"' || byte == ',' || byte < 0x20)
            return true;
    }
    return false;
}

static void write_field(FILE *file, struct prserv_text text)
{
    if (!text.bytes)
        return;
    if (!needs_quotes(text)) {
        (void)fwrite(text.bytes, 1, text.length, file);
        return;
    }
    (void)putc('"', file);
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] == '"')
            (void)putc('"', file);
        (void)putc(text.bytes[i], file);
    }
    (void)putc('"', file);
}

static void csv_begin(struct row_writer *writer, struct text metainfo)
{
    (void)metainfo;
    (void)fputs("version,pkgarch,checksum,value\r\n", writer->file);
}

static int csv_row(struct row_writer *writer, const struct prserv_row *row, struct error *error)
{
    (void)error;
    write_field(writer->file, row->version);
    (void)putc(',', writer->file);
    write_field(writer->file, row->pkgarch);
    (void)putc(',', writer->file);
    write_field(writer->file, row->checksum);
    (void)putc(',', writer->file);
    write_field(writer->file, row->value);
    (void)fputs("\r\n", writer->file);
    return 0;
}

static int csv_end(struct row_writer *writer, struct error *error)
{
    (void)writer;
    (void)error;
    return 0;
}

static void csv_writer_free(struct row_writer *writer)
{
    free(writer);
}

struct row_writer *csv_writer_new(FILE *file)
{
    struct row_writer *writer = calloc(1, sizeof *writer);

    if (writer)
        *writer = (struct row_writer){.file = file,
            .begin = csv_begin,
            .row = csv_row,
            .end = csv_end,
            .free = csv_writer_free};
    return writer;
}

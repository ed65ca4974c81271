/* SPDX-License-Identifier: MIT */
/* CSV as in RFC 4180: fields that hold a separator are quoted, a quote within them is doubled, and
 * lines end with CR LF (LF is read as well). For value, an empty field without quotes means that
 * the row has no value, "" is an empty value.
 *
 * A spreadsheet program takes a cell that begins with = + - @, a tab or a CR for a formula. In a
 * file for such programs an apostrophe comes first, and the header has capitals. */
#include "cli/rows/rows.h"

#include <stdlib.h>

#define FIELDS 4

static const char *const names[FIELDS] = {"version", "pkgarch", "checksum", "value"};
static const char *const titles[FIELDS] = {"Version", "Pkgarch", "Checksum", "Value"};

struct csv_reader {
    struct row_reader reader; /* first */
    bool header_read;
    bool refused; /* the current record is invalid; it is read to its end */
    unsigned n_fields;
    size_t bytes; /* length of the record so far */
    bool quoted[FIELDS];
    struct buffer fields[FIELDS];
};

/* ---- reading ---- */

static void csv_refuse(struct csv_reader *csv, const char *reason, struct error *error)
{
    if (!csv->refused)
        (void)error_set(error, ERROR_INPUT, "%s", reason);
    csv->refused = true;
}

static void csv_append(struct csv_reader *csv, int byte, struct error *error)
{
    char one = (char)byte;

    if (csv->n_fields >= FIELDS)
        csv_refuse(csv, "more than four fields", error);
    else
        buffer_append(&csv->fields[csv->n_fields], &one, 1);
    csv->bytes++;
}

static bool csv_is_too_long(const struct csv_reader *csv)
{
    return csv->bytes > MAX_ROW_BYTES;
}

/* Reads a quoted field. Returns the byte after it; -2 if its quotes don't end or it is too long. */
static int csv_read_quoted(struct csv_reader *csv, struct error *error)
{
    struct source *source = &csv->reader.source;

    for (;;) {
        int byte = source_next(source);

        if (byte == EOF || csv_is_too_long(csv))
            return -2;
        if (byte == '"' && source_peek(source) != '"')
            return source_next(source);
        if (byte == '"')
            (void)source_next(source);
        csv_append(csv, byte, error);
    }
}

/* Returns whether a record ends with this byte; reads the LF after a CR. */
static bool csv_is_end(struct source *source, int *byte)
{
    if (*byte == '\r' && source_peek(source) == '\n')
        *byte = source_next(source);
    return *byte == '\n' || *byte == EOF;
}

/* Reads a field. Returns the byte that ended it: a comma, LF or EOF; or -2. */
static int csv_read_field(struct csv_reader *csv, struct error *error)
{
    struct source *source = &csv->reader.source;
    bool quoted = source_peek(source) == '"';
    int byte = source_next(source);

    if (csv->n_fields < FIELDS)
        csv->quoted[csv->n_fields] = quoted;
    else
        csv_refuse(csv, "more than four fields", error);
    if (quoted && (byte = csv_read_quoted(csv, error)) == -2)
        return -2;
    while (byte != ',' && !csv_is_end(source, &byte)) {
        if (quoted || byte == '"')
            csv_refuse(csv, "a quote in the middle of a field", error);
        csv_append(csv, byte, error);
        if (csv_is_too_long(csv))
            return -2;
        byte = source_next(source);
    }
    csv->n_fields++;
    return byte;
}

static bool csv_is_out_of_memory(const struct csv_reader *csv, struct error *error)
{
    for (int i = 0; i < FIELDS; i++) {
        if (buffer_failed(&csv->fields[i])) {
            (void)error_set_memory(error);
            return true;
        }
    }
    return false;
}

/* Reads the next record that is not blank into the fields. Returns an enum row_next. */
static int csv_read_record(struct csv_reader *csv, struct error *error)
{
    struct source *source = &csv->reader.source;
    int byte;

    while (source_peek(source) == '\n' || source_peek(source) == '\r')
        (void)source_next(source);
    if (source_peek(source) == EOF)
        return source_failed(source, error) == 0 ? ROW_END : ROW_BROKEN;
    csv->reader.line = source->line;
    csv->refused = false;
    csv->n_fields = 0;
    csv->bytes = 0;
    for (int i = 0; i < FIELDS; i++)
        buffer_reset(&csv->fields[i], BUFFER_KEEP_BYTES);
    do {
        byte = csv_read_field(csv, error);
    } while (byte == ',');
    if (source_failed(source, error) != 0)
        return ROW_BROKEN;
    if (byte == -2)
        return error_set(error, ROW_BROKEN, "%s",
            csv_is_too_long(csv) ? "the row is too long"
                                 : "the closing quote of a field in this row is missing");
    if (csv_is_out_of_memory(csv, error))
        return ROW_BROKEN;
    if (csv->n_fields != FIELDS)
        csv_refuse(csv, "the row does not have four fields: version,pkgarch,checksum,value", error);
    return csv->refused ? ROW_REFUSED : ROW_READ;
}

static int csv_read_header(struct csv_reader *csv, struct error *error)
{
    int found = csv_read_record(csv, error);
    bool is_spreadsheet = found == ROW_READ;

    csv->header_read = true;
    for (int i = 0; i < FIELDS && found == ROW_READ; i++) {
        is_spreadsheet = is_spreadsheet && text_is(buffer_text(&csv->fields[i]), titles[i]);
        csv->reader.is_known = text_is(buffer_text(&csv->fields[i]), names[i]);
        if (!is_spreadsheet && !csv->reader.is_known)
            found = ROW_REFUSED;
    }
    if (is_spreadsheet)
        return error_set(error, ROW_BROKEN,
            "the file was exported with --spreadsheet, which changes cells; export it without");
    if (found == ROW_REFUSED)
        return error_set(error, ROW_BROKEN,
            "the file is neither conf nor JSON nor CSV with the header "
            "version,pkgarch,checksum,value");
    return found;
}

static struct text csv_field(const struct csv_reader *csv, int at)
{
    return text_not_null(buffer_text(&csv->fields[at]));
}

static int csv_next(struct row_reader *reader, struct row *row, struct error *error)
{
    struct csv_reader *csv = (struct csv_reader *)reader;
    int found = csv->header_read ? ROW_READ : csv_read_header(csv, error);

    if (found == ROW_READ)
        found = csv_read_record(csv, error);
    if (found != ROW_READ)
        return found;
    row->version = csv_field(csv, 0);
    row->pkgarch = csv_field(csv, 1);
    row->checksum = csv_field(csv, 2);
    row->value = csv_field(csv, 3);
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

struct row_reader *csv_reader_create(void)
{
    struct csv_reader *csv = calloc(1, sizeof *csv);

    if (!csv)
        return NULL;
    csv->reader.next = csv_next;
    csv->reader.free = csv_reader_free;
    return &csv->reader;
}

/* ---- writing ---- */

struct csv_writer {
    struct row_writer writer; /* first */
    bool for_spreadsheet;
};

static bool csv_needs_quotes(struct text text)
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

static bool csv_is_formula(struct text text)
{
    return text.length > 0 && text.bytes[0] != '\0' && strchr("=+-@\t\r", text.bytes[0]);
}

static void csv_write_field(const struct csv_writer *csv, struct text text)
{
    FILE *file = csv->writer.file;
    const bool quoted = csv_needs_quotes(text);

    if (!text.bytes)
        return;
    if (quoted)
        (void)putc('"', file);
    if (csv->for_spreadsheet && csv_is_formula(text))
        (void)putc('\'', file);
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] == '"')
            (void)putc('"', file);
        (void)putc(text.bytes[i], file);
    }
    if (quoted)
        (void)putc('"', file);
}

static void csv_begin(struct row_writer *writer, struct text metainfo)
{
    const struct csv_writer *csv = (struct csv_writer *)writer;
    const char *const *header = csv->for_spreadsheet ? titles : names;

    (void)metainfo;
    (void)fprintf(writer->file, "%s,%s,%s,%s\r\n", header[0], header[1], header[2], header[3]);
}

static int csv_row(struct row_writer *writer, const struct row *row, struct error *error)
{
    const struct text fields[FIELDS] = {row->version, row->pkgarch, row->checksum, row->value};

    (void)error;
    for (int i = 0; i < FIELDS; i++) {
        if (i > 0)
            (void)putc(',', writer->file);
        csv_write_field((struct csv_writer *)writer, fields[i]);
    }
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

struct row_writer *csv_writer_create(FILE *file, bool for_spreadsheet)
{
    struct csv_writer *csv = calloc(1, sizeof *csv);

    if (!csv)
        return NULL;
    csv->for_spreadsheet = for_spreadsheet;
    csv->writer = (struct row_writer){
        .file = file, .begin = csv_begin, .row = csv_row, .end = csv_end, .free = csv_writer_free};
    return &csv->writer;
}

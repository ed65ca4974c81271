/* Rows in files: whatever was read is read again after it was written in any of the three
 * formats; what a format can't hold is left out, and said to be.
 *
 * Input: a file as `prserv import` is given it. */
#include "cli/rows.h"

#include "base/buffer.h"
#include "fuzz.h"
#include "wire/codec.h"

#include <sys/mman.h>
#include <unistd.h>

#define MOST_ROWS 64

enum format { JSON, CSV, CONF };

/* A row that is kept. */
struct kept {
    struct buffer fields[3];
    struct buffer value;
    bool has_value;
};

struct rows {
    struct kept rows[MOST_ROWS];
    size_t n;
};

/* ---- keeping ---- */

static void keep(struct rows *rows, const struct prserv_row *row)
{
    struct kept *kept = &rows->rows[rows->n++];

    *kept = (struct kept){.has_value = row->value.bytes != NULL};
    buffer_append_text(&kept->fields[0], field_text(row->version));
    buffer_append_text(&kept->fields[1], field_text(row->pkgarch));
    buffer_append_text(&kept->fields[2], field_text(row->checksum));
    buffer_append_text(&kept->value, field_text(row->value));
}

static void forget(struct rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        for (int field = 0; field < 3; field++)
            buffer_free(&rows->rows[i].fields[field]);
        buffer_free(&rows->rows[i].value);
    }
    rows->n = 0;
}

static struct prserv_text field(const struct buffer *buffer)
{
    struct prserv_text text = field_of(buffer_text(buffer));

    if (!text.bytes)
        text.bytes = "";
    return text;
}

static struct prserv_row row_of(const struct kept *kept)
{
    struct prserv_row row = {.version = field(&kept->fields[0]),
        .pkgarch = field(&kept->fields[1]),
        .checksum = field(&kept->fields[2])};

    if (kept->has_value)
        row.value = field(&kept->value);
    return row;
}

static bool is_same(const struct kept *kept, const struct prserv_row *row)
{
    return text_equal(buffer_text(&kept->fields[0]), field_text(row->version)) &&
           text_equal(buffer_text(&kept->fields[1]), field_text(row->pkgarch)) &&
           text_equal(buffer_text(&kept->fields[2]), field_text(row->checksum)) &&
           text_equal(buffer_text(&kept->value), field_text(row->value)) &&
           kept->has_value == (row->value.bytes != NULL);
}

static bool is_utf8(const struct kept *kept)
{
    return text_is_utf8(buffer_text(&kept->fields[0])) &&
           text_is_utf8(buffer_text(&kept->fields[1])) &&
           text_is_utf8(buffer_text(&kept->fields[2])) && text_is_utf8(buffer_text(&kept->value));
}

/* ---- files ---- */

/* A file of these bytes, in memory, open as prserv opens one. False: it can't be begun. */
static bool open_bytes(struct source *source, const char *bytes, size_t length)
{
    int descriptor = memfd_create("rows", MFD_CLOEXEC);
    char name[64];
    struct error error;
    bool open;

    REQUIRE(descriptor >= 0 && write(descriptor, bytes, length) == (ssize_t)length);
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    open = source_open(source, name, &error) == 0;
    source->name = "rows";
    (void)close(descriptor);
    return open;
}

/* Reads at most MOST_ROWS rows. refused: how often something was passed over. */
static int read_rows(struct source *source, struct rows *rows, size_t *refused)
{
    struct row_reader *reader;
    struct prserv_row row;
    struct error error;
    int found = ROW_READ;

    *refused = 0;
    REQUIRE(row_reader_new(&reader, source, &error) == 0);
    while (rows->n < MOST_ROWS && (found = reader->next(reader, &row, &error)) != ROW_END &&
           found != ROW_BROKEN) {
        REQUIRE(reader->line > 0 && reader->line <= source->line);
        if (found == ROW_READ)
            keep(rows, &row);
        else
            *refused += 1;
        REQUIRE(*refused <= source->at_bytes); /* it goes on */
    }
    row_reader_free(reader);
    return found;
}

/* ---- writing and reading again ---- */

static void note_left_out(void *context, struct text what, const char *why)
{
    bool *left_out = context;

    REQUIRE(what.length > 0 && why != NULL);
    *left_out = true;
}

static struct row_writer *new_writer(enum format format, FILE *file)
{
    switch (format) {
    case JSON:
        return json_writer_new(file);
    case CSV:
        return csv_writer_new(file);
    case CONF:
        break;
    }
    return conf_writer_new(file, true, true);
}

/* What a server says of itself may be anything. */
static void make_metainfo(const struct kept *kept, struct buffer *metainfo)
{
    buffer_append_string(metainfo, "{\"tbl_name\":");
    codec_write_string(metainfo, buffer_text(&kept->fields[0]));
    buffer_append_string(metainfo, ",\"core_ver\":");
    codec_write_string(metainfo, buffer_text(&kept->fields[1]));
    buffer_append_string(metainfo, ",\"col_info\":[{\"name\":");
    codec_write_string(metainfo, buffer_text(&kept->fields[2]));
    buffer_append_string(metainfo, "}]}");
}

/* Writes the rows; wanted becomes those that the format holds. */
static void write_rows(enum format format, const struct rows *rows, FILE *file,
    const struct kept *wanted[MOST_ROWS], size_t *n_wanted)
{
    struct row_writer *writer = new_writer(format, file);
    struct buffer metainfo = BUFFER_EMPTY;
    struct error error;
    bool left_out;

    REQUIRE(writer != NULL);
    writer->left_out = note_left_out;
    writer->context = &left_out;
    *n_wanted = 0;
    make_metainfo(&rows->rows[0], &metainfo);
    writer->begin(writer, buffer_text(&metainfo));
    for (size_t i = 0; i < rows->n; i++) {
        struct prserv_row row = row_of(&rows->rows[i]);

        if (format == JSON && !is_utf8(&rows->rows[i]))
            continue; /* what is no UTF-8 becomes U+FFFD there */
        left_out = false;
        REQUIRE(writer->row(writer, &row, &error) == 0);
        REQUIRE(!left_out || format == CONF);
        if (!left_out)
            wanted[(*n_wanted)++] = &rows->rows[i];
    }
    REQUIRE(writer->end(writer, &error) == 0);
    row_writer_free(writer);
    buffer_free(&metainfo);
}

static void check_format(enum format format, const struct rows *rows)
{
    const struct kept *wanted[MOST_ROWS];
    size_t n_wanted;
    struct rows again = {.n = 0};
    struct source source;
    size_t refused;
    char *bytes;
    size_t length;
    FILE *file = open_memstream(&bytes, &length);

    REQUIRE(file != NULL);
    write_rows(format, rows, file, wanted, &n_wanted);
    REQUIRE(fclose(file) == 0);
    REQUIRE(open_bytes(&source, bytes, length));
    REQUIRE(read_rows(&source, &again, &refused) == (n_wanted < MOST_ROWS ? ROW_END : ROW_READ));
    REQUIRE(refused == 0 && again.n == n_wanted);
    for (size_t i = 0; i < n_wanted; i++) {
        struct prserv_row row = row_of(&again.rows[i]);

        REQUIRE(is_same(wanted[i], &row));
    }
    forget(&again);
    source_close(&source);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rows rows = {.n = 0};
    struct source source;
    size_t refused;

    if (!open_bytes(&source, (const char *)data, size))
        return 0;
    (void)read_rows(&source, &rows, &refused);
    source_close(&source);
    for (int format = JSON; format <= CONF && rows.n > 0; format++)
        check_format((enum format)format, &rows);
    forget(&rows);
    return 0;
}

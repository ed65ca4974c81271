/* SPDX-License-Identifier: MIT */
/* Rows in files: rows that were read can be written in each of the three formats and read again;
 * rows that a format can't hold are left out and reported.
 *
 * Input: a file for `prserv import`. */
#include "cli/rows/rows.h"

#include "base/buffer.h"
#include "fuzz.h"
#include "wire/codec.h"

#include <sys/mman.h>
#include <unistd.h>

#define MAX_ROWS 64

enum format { JSON, CSV, CONF };

/* A copy of a row. */
struct copy {
    struct buffer fields[3];
    struct buffer value;
    bool has_value;
};

struct rows {
    struct copy rows[MAX_ROWS];
    size_t n;
};

/* ---- copies ---- */

static void add_row(struct rows *rows, const struct row *row)
{
    struct copy *copy = &rows->rows[rows->n++];

    *copy = (struct copy){.has_value = row->value.bytes != NULL};
    buffer_append_text(&copy->fields[0], row->version);
    buffer_append_text(&copy->fields[1], row->pkgarch);
    buffer_append_text(&copy->fields[2], row->checksum);
    buffer_append_text(&copy->value, row->value);
}

static void free_rows(struct rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        for (int field = 0; field < 3; field++)
            buffer_free(&rows->rows[i].fields[field]);
        buffer_free(&rows->rows[i].value);
    }
    rows->n = 0;
}

static struct row row_of(const struct copy *copy)
{
    struct row row = {.version = text_not_null(buffer_text(&copy->fields[0])),
        .pkgarch = text_not_null(buffer_text(&copy->fields[1])),
        .checksum = text_not_null(buffer_text(&copy->fields[2]))};

    if (copy->has_value)
        row.value = text_not_null(buffer_text(&copy->value));
    return row;
}

static bool is_same(const struct copy *copy, const struct row *row)
{
    return text_equal(buffer_text(&copy->fields[0]), row->version) &&
           text_equal(buffer_text(&copy->fields[1]), row->pkgarch) &&
           text_equal(buffer_text(&copy->fields[2]), row->checksum) &&
           text_equal(buffer_text(&copy->value), row->value) &&
           copy->has_value == (row->value.bytes != NULL);
}

static bool is_utf8(const struct copy *copy)
{
    return text_is_utf8(buffer_text(&copy->fields[0])) &&
           text_is_utf8(buffer_text(&copy->fields[1])) &&
           text_is_utf8(buffer_text(&copy->fields[2])) && text_is_utf8(buffer_text(&copy->value));
}

/* ---- files ---- */

/* Opens a reader of these bytes, in a file in memory, as prserv does. Returns false if its
 * beginning is invalid. */
static bool open_bytes(struct row_reader **reader, const char *bytes, size_t length)
{
    int descriptor = memfd_create("rows", MFD_CLOEXEC);
    char name[64];
    struct error error;
    bool open;

    REQUIRE(descriptor >= 0 && write(descriptor, bytes, length) == (ssize_t)length);
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    open = row_reader_open(reader, name, &error) == 0;
    (void)close(descriptor);
    return open;
}

/* Reads at most MAX_ROWS rows and closes the reader. *refused: the number of rows that were
 * refused. */
static int read_rows(struct row_reader *reader, struct rows *rows, size_t *refused)
{
    struct row row;
    struct error error;
    int found = ROW_READ;

    *refused = 0;
    while (rows->n < MAX_ROWS && (found = reader->next(reader, &row, &error)) != ROW_END &&
           found != ROW_BROKEN) {
        REQUIRE(reader->line > 0 && reader->line <= reader->source.line);
        if (found == ROW_READ)
            add_row(rows, &row);
        else
            *refused += 1;
        REQUIRE(*refused <= reader->source.at_bytes); /* reading makes progress */
    }
    row_reader_close(reader);
    return found;
}

/* ---- writing and reading again ---- */

static void note_left_out(void *context, struct text what, const char *reason)
{
    bool *left_out = context;

    REQUIRE(what.length > 0 && reason != NULL);
    *left_out = true;
}

static struct row_writer *new_writer(enum format format, FILE *file)
{
    switch (format) {
    case JSON:
        return json_writer_create(file);
    case CSV:
        return csv_writer_create(file, false);
    case CONF:
        break;
    }
    return conf_writer_create(file, true, true);
}

/* Makes a metainfo from the texts of a row: a server may send any text. */
static void make_metainfo(const struct copy *copy, struct buffer *metainfo)
{
    buffer_append_string(metainfo, "{\"tbl_name\":");
    codec_write_string(metainfo, buffer_text(&copy->fields[0]));
    buffer_append_string(metainfo, ",\"core_ver\":");
    codec_write_string(metainfo, buffer_text(&copy->fields[1]));
    buffer_append_string(metainfo, ",\"col_info\":[{\"name\":");
    codec_write_string(metainfo, buffer_text(&copy->fields[2]));
    buffer_append_string(metainfo, "}]}");
}

/* Writes the rows. wanted becomes the list of those that the format holds. */
static void write_rows(enum format format, const struct rows *rows, FILE *file,
    const struct copy *wanted[MAX_ROWS], size_t *n_wanted)
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
        struct row row = row_of(&rows->rows[i]);

        if (format == JSON && !is_utf8(&rows->rows[i]))
            continue; /* JSON replaces invalid UTF-8 with U+FFFD */
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

/* Returns a line without what stands before the text, or NULL if it does not begin with it. */
static const char *after(const char *line, const char *text)
{
    return strncmp(line, text, strlen(text)) == 0 ? line + strlen(text) : NULL;
}

/* Requires NAME = "VALUE", as BitBake parses it: a name of its characters that it neither expands
 * nor takes for an operation on another variable; a value without quotes. */
static void check_conf_assignment(const char *line)
{
    const char *end = strstr(line, " = \"");
    const char *value = end ? end + strlen(" = \"") : NULL;
    char name[4096];

    REQUIRE(value != NULL && end > line);
    REQUIRE(after(line, "PRAUTO$") || after(line, "PRAUTO_") || after(line, "PRSERV_LOCKDOWN"));
    REQUIRE(strspn(value, "0123456789.") == strlen(value) - 1 && value[strlen(value) - 1] == '"');
    if ((size_t)(end - line) >= sizeof name)
        return;
    memcpy(name, line, (size_t)(end - line));
    name[end - line] = '\0';
    REQUIRE(
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+.${}/~:") ==
        strlen(name));
    REQUIRE(!strstr(name, "_append") && !strstr(name, "_prepend") && !strstr(name, "_remove"));
    for (const char *at = name; (at = strstr(at, "${")); at += 2) {
        size_t inside = strcspn(at + 2, "${}");

        REQUIRE(inside == 0 || at[2 + inside] != '}');
    }
}

/* Requires that BitBake's parser takes each line for what it is: blank, a comment, or an
 * assignment; none of them is continued in the next line, or has other kinds of line ends. */
static void check_conf_text(const char *bytes, size_t length)
{
    char *text = strndup(bytes, length);
    char *rest = text;
    char *line;

    REQUIRE(text != NULL && strlen(text) == length);
    while ((line = strsep(&rest, "\n"))) {
        size_t n = strlen(line);

        REQUIRE(strpbrk(line, "\r\v\f") == NULL);
        while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
            n--;
        REQUIRE(n == 0 || line[n - 1] != '\\');
        if (n > 0 && line[0] != '#')
            check_conf_assignment(line);
    }
    free(text);
}

static void check_format(enum format format, const struct rows *rows)
{
    const struct copy *wanted[MAX_ROWS];
    size_t n_wanted;
    struct rows again = {.n = 0};
    struct row_reader *reader;
    size_t refused;
    char *bytes;
    size_t length;
    FILE *file = open_memstream(&bytes, &length);

    REQUIRE(file != NULL);
    write_rows(format, rows, file, wanted, &n_wanted);
    REQUIRE(fclose(file) == 0);
    if (format == CONF)
        check_conf_text(bytes, length);
    REQUIRE(open_bytes(&reader, bytes, length));
    REQUIRE(read_rows(reader, &again, &refused) == (n_wanted < MAX_ROWS ? ROW_END : ROW_READ));
    REQUIRE(refused == 0 && again.n == n_wanted);
    for (size_t i = 0; i < n_wanted; i++) {
        struct row row = row_of(&again.rows[i]);

        REQUIRE(is_same(wanted[i], &row));
    }
    free_rows(&again);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rows rows = {.n = 0};
    struct row_reader *reader;
    size_t refused;

    if (!open_bytes(&reader, (const char *)data, size))
        return 0;
    (void)read_rows(reader, &rows, &refused);
    for (int format = JSON; format <= CONF && rows.n > 0; format++)
        check_format((enum format)format, &rows);
    free_rows(&rows);
    return 0;
}

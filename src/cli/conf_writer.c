/* OE-core's format, a file that BitBake parses as configuration:
 *
 *     #PR_core_ver = "<server version>"                    and the columns, as comments
 *     PRSERV_LOCKDOWN = "1"                                if it is asked for
 *     PRAUTO$<version>$<pkgarch>$<checksum> = "<value>"    a row each
 *     PRAUTO_<version>_<pkgarch> = "<greatest value>"      at the end, one a package
 *
 * Left out is what BitBake can't hold (conf_name.c), rows without a revision, and rows with a
 * $ in pkgarch or checksum, at which the name would be split. A PRAUTO_ line is left out
 * for its own name; its rows may still be there. Two packages whose names fall together
 * (a_b and c, a and b_c) share a line, with the greater value. With history a checksum may
 * have several lines: import reads all of them, BitBake takes the last. */
#include "cli/conf_name.h"
#include "cli/rows.h"
#include "cli/shelf.h"
#include "revision/revision.h"
#include "wire/codec.h"

#include <jansson.h>
#include <stdlib.h>

#define KEEP_BYTES ((size_t)64 * 1024)

struct conf_writer {
    struct row_writer writer; /* first */
    bool lockdown;
    bool packages;          /* their lines are wanted */
    struct shelf *greatest; /* of each package that is done with */
    struct buffer name;     /* of the row's variable */
    struct buffer next;     /* of its package's */
    struct buffer package;  /* of the variable of the package under way */
    char *value;            /* its greatest so far; NULL: no package is under way */
};

/* ---- the beginning ---- */

/* A JSON string or number, as text of a comment: one line. */
static void write_comment(FILE *file, int width, const json_t *value)
{
    struct error text; /* error_set replaces control characters */

    if (json_is_string(value))
        (void)error_set(&text, 0, "%s", json_string_value(value));
    else if (json_is_integer(value))
        (void)error_set(&text, 0, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        (void)error_set(&text, 0, "None");
    (void)fprintf(file, "%*s", width, text.text);
}

static void write_metainfo(FILE *file, const json_t *metainfo)
{
    const json_t *columns = json_object_get(metainfo, "col_info");
    const json_t *column;
    size_t i;

    (void)fputs("#PR_core_ver = \"", file);
    write_comment(file, 0, json_object_get(metainfo, "core_ver"));
    (void)fputs("\"\n\n#Table: ", file);
    write_comment(file, 0, json_object_get(metainfo, "tbl_name"));
    (void)fputs("\n#Columns:\n#name      \t type    \t notn    \t dflt    \t pk\n"
                "#----------\t --------\t --------\t --------\t ----\n",
        file);
    json_array_foreach(columns, i, column)
    {
        (void)putc('#', file);
        write_comment(file, 10, json_object_get(column, "name"));
        (void)fputs("\t ", file);
        write_comment(file, 8, json_object_get(column, "type"));
        (void)fputs("\t ", file);
        write_comment(file, 8, json_object_get(column, "notnull"));
        (void)fputs("\t ", file);
        write_comment(file, 8, json_object_get(column, "dflt_value"));
        (void)fputs("\t ", file);
        write_comment(file, 4, json_object_get(column, "pk"));
        (void)putc('\n', file);
    }
    (void)putc('\n', file);
}

static void conf_begin(struct row_writer *writer, struct text metainfo)
{
    const struct conf_writer *conf = (struct conf_writer *)writer;
    json_t *read =
        metainfo.length > 0 ? json_loadb(metainfo.bytes, metainfo.length, 0, NULL) : NULL;

    if (json_object_size(read) > 0)
        write_metainfo(writer->file, read);
    json_decref(read);
    if (conf->lockdown)
        (void)fputs(CONF_LOCKDOWN " = \"1\"\n\n", writer->file);
}

/* ---- rows ---- */

static bool holds_dollar(struct prserv_text text)
{
    return text.length > 0 && memchr(text.bytes, '$', text.length);
}

static const char *why_not(const struct prserv_row *row, struct text name)
{
    if (!row->value.bytes)
        return "it has no value";
    if (!revision_is_valid(row->value.bytes, row->value.length))
        return "its value is no revision";
    if (holds_dollar(row->pkgarch) || holds_dollar(row->checksum))
        return "a $ in pkgarch or checksum would be taken for what separates them";
    return conf_name_refused(name);
}

static int leave_out(
    struct conf_writer *conf, const struct prserv_row *row, const char *why, struct error *error)
{
    struct buffer text = BUFFER_EMPTY;
    int result = 0;

    codec_write_export_row(&text, true, field_text(row->version), field_text(row->pkgarch),
        field_text(row->checksum), field_text(row->value));
    if (buffer_failed(&text))
        result = error_set_memory(error);
    else
        conf->writer.left_out(conf->writer.context, buffer_text(&text), why);
    buffer_free(&text);
    return result;
}

static void make_name(struct buffer *name, const char *prefix, struct text first,
    const char *separator, struct text second)
{
    buffer_reset(name, KEEP_BYTES);
    buffer_append_string(name, prefix);
    buffer_append_text(name, first);
    buffer_append_string(name, separator);
    buffer_append_text(name, second);
}

static void write_line(FILE *file, struct text name, const char *value)
{
    (void)fwrite(name.bytes, 1, name.length, file);
    (void)fprintf(file, " = \"%s\"\n", value);
}

/* Puts the package under way aside. */
static int end_package(struct conf_writer *conf, struct error *error)
{
    int result = 0;

    if (conf->value)
        result = shelf_raise(conf->greatest, buffer_text(&conf->package), conf->value, error);
    free(conf->value);
    conf->value = NULL;
    return result;
}

/* Takes the value over. */
static int follow_package(struct conf_writer *conf, char *value, struct error *error)
{
    int result = 0;

    if (!conf->value || !text_equal(buffer_text(&conf->next), buffer_text(&conf->package))) {
        result = end_package(conf, error);
        buffer_reset(&conf->package, KEEP_BYTES);
        buffer_append_text(&conf->package, buffer_text(&conf->next));
        if (result == 0 && buffer_failed(&conf->package))
            result = error_set_memory(error);
    }
    if (conf->value && revision_compare(value, conf->value) <= 0) {
        free(value);
        return result;
    }
    free(conf->value);
    conf->value = value;
    return result;
}

/* Makes the names of the row's variable and of its package's. */
static bool make_names(struct conf_writer *conf, const struct prserv_row *row)
{
    make_name(&conf->next, CONF_PACKAGE, field_text(row->version), "_", field_text(row->pkgarch));
    make_name(&conf->name, CONF_ROW, field_text(row->version), "$", field_text(row->pkgarch));
    buffer_append_string(&conf->name, "$");
    buffer_append_text(&conf->name, field_text(row->checksum));
    return !buffer_failed(&conf->next) && !buffer_failed(&conf->name);
}

static bool has_revision(const struct prserv_row *row)
{
    return row->value.bytes && revision_is_valid(row->value.bytes, row->value.length);
}

/* A row that is left out counts for its package all the same: a build in lockdown must not
 * get less than what was given out. */
static int conf_row(struct row_writer *writer, const struct prserv_row *row, struct error *error)
{
    struct conf_writer *conf = (struct conf_writer *)writer;
    const char *why;
    char *value;
    int result = 0;

    if (!make_names(conf, row))
        return error_set_memory(error);
    why = why_not(row, buffer_text(&conf->name));
    if (why)
        result = leave_out(conf, row, why, error);
    if (result != 0 || !has_revision(row) ||
        (why && conf_name_refused(buffer_text(&conf->next)) != NULL))
        return result;
    value = strndup(row->value.bytes, row->value.length);
    if (!value)
        return error_set_memory(error);
    if (!why)
        write_line(writer->file, buffer_text(&conf->name), value);
    return follow_package(conf, value, error);
}

/* ---- the end ---- */

static void write_package(void *context, struct text name, const char *revision)
{
    struct conf_writer *conf = context;
    const char *why = conf_name_refused(name);

    if (why)
        conf->writer.left_out(conf->writer.context, name, why);
    else
        write_line(conf->writer.file, name, revision);
}

static int conf_end(struct row_writer *writer, struct error *error)
{
    struct conf_writer *conf = (struct conf_writer *)writer;
    int result = end_package(conf, error);

    if (!conf->packages)
        return result;
    return result == 0 ? shelf_each_greatest(conf->greatest, write_package, conf, error) : result;
}

static void conf_writer_free(struct row_writer *writer)
{
    struct conf_writer *conf = (struct conf_writer *)writer;

    shelf_close(conf->greatest);
    buffer_free(&conf->name);
    buffer_free(&conf->next);
    buffer_free(&conf->package);
    free(conf->value);
    free(conf);
}

struct row_writer *conf_writer_new(FILE *file, bool lockdown, bool packages)
{
    struct conf_writer *conf = calloc(1, sizeof *conf);
    struct error error;

    if (!conf)
        return NULL;
    conf->writer = (struct row_writer){.file = file,
        .begin = conf_begin,
        .row = conf_row,
        .end = conf_end,
        .free = conf_writer_free};
    conf->lockdown = lockdown;
    conf->packages = packages;
    if (shelf_open(&conf->greatest, &error) == 0)
        return &conf->writer;
    conf_writer_free(&conf->writer);
    return NULL;
}

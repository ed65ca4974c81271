/* SPDX-License-Identifier: MIT */
/* The writer of OE-core's format, a file that BitBake parses as configuration:
 *
 *     #PR_core_ver = "<server version>"                    and the columns, as comments
 *     PRSERV_LOCKDOWN = "1"                                with --lockdown
 *     PRAUTO$<version>$<pkgarch>$<checksum> = "<value>"    for each row
 *     PRAUTO_<version>_<pkgarch> = "<greatest value>"      at the end, for each package
 *
 * The writer leaves out names that BitBake can't have (conf_name.c), rows without a revision, and
 * rows with a $ in pkgarch or checksum, at which the name would be split. It leaves out a PRAUTO_
 * line because of that line's own name; the package's rows may still be written. Two packages with
 * the same name in that line (a_b and c, a and b_c) share it, with the greater value. With history
 * a checksum may have several lines: import reads all of them, BitBake uses the last. */
#include "cli/rows/conf_name.h"
#include "cli/rows/row_set.h"
#include "cli/rows/rows.h"
#include "revision/revision.h"
#include "wire/codec.h"

#include <jansson.h>
#include <stdlib.h>

struct conf_writer {
    struct row_writer writer; /* first */
    bool lockdown;
    bool packages;            /* write a line for each package */
    struct row_set *greatest; /* greatest values of earlier packages */
    struct buffer name;       /* name of the row's variable */
    struct buffer next;       /* name of its package's variable */
    struct buffer package;    /* name of the current package's variable */
    char *value;              /* greatest value of the current package so far; NULL: none */
};

/* ---- the beginning ---- */

/* Writes a JSON string or number into a comment, on one line. A backslash at the end of a comment
 * would make the next line part of it. */
static void conf_writer_write_comment(FILE *file, int width, const json_t *value)
{
    struct error text; /* error_set replaces control characters */

    if (json_is_string(value))
        (void)error_set(&text, 0, "%s", json_string_value(value));
    else if (json_is_integer(value))
        (void)error_set(&text, 0, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        (void)error_set(&text, 0, "None");
    for (char *at = text.text; (at = strchr(at, '\\'));)
        *at = '?';
    (void)fprintf(file, "%*s", width, text.text);
}

static void conf_writer_write_metainfo(FILE *file, const json_t *metainfo)
{
    static const struct {
        const char *name;
        int width;
    } fields[] = {{"name", 10}, {"type", 8}, {"notnull", 8}, {"dflt_value", 8}, {"pk", 4}};
    const json_t *columns = json_object_get(metainfo, "col_info");
    const json_t *column;
    size_t i;

    (void)fputs(CONF_HEADER " = \"", file);
    conf_writer_write_comment(file, 0, json_object_get(metainfo, "core_ver"));
    (void)fputs("\"\n\n#Table: ", file);
    conf_writer_write_comment(file, 0, json_object_get(metainfo, "tbl_name"));
    (void)fputs("\n#Columns:\n#name      \t type    \t notn    \t dflt    \t pk\n"
                "#----------\t --------\t --------\t --------\t ----\n",
        file);
    json_array_foreach(columns, i, column)
    {
        for (size_t at = 0; at < sizeof fields / sizeof *fields; at++) {
            (void)fputs(at > 0 ? "\t " : "#", file);
            conf_writer_write_comment(
                file, fields[at].width, json_object_get(column, fields[at].name));
        }
        (void)putc('\n', file);
    }
    (void)putc('\n', file);
}

static void conf_writer_begin(struct row_writer *writer, struct text metainfo)
{
    const struct conf_writer *conf = (struct conf_writer *)writer;
    json_t *read =
        metainfo.length > 0 ? json_loadb(metainfo.bytes, metainfo.length, 0, NULL) : NULL;

    if (json_object_size(read) > 0)
        conf_writer_write_metainfo(writer->file, read);
    json_decref(read);
    if (conf->lockdown)
        (void)fputs(CONF_LOCKDOWN " = \"1\"\n\n", writer->file);
}

/* ---- rows ---- */

static bool conf_writer_holds_dollar(struct text text)
{
    return text.length > 0 && memchr(text.bytes, '$', text.length);
}

static bool conf_writer_has_revision(const struct row *row)
{
    return row->value.bytes && revision_is_valid(row->value.bytes, row->value.length);
}

/* Returns the reason why the format can't hold the row, or NULL. */
static const char *conf_writer_check_row(const struct row *row, struct text name)
{
    if (!row->value.bytes)
        return "it has no value";
    if (!conf_writer_has_revision(row))
        return "its value is not a revision";
    if (conf_writer_holds_dollar(row->pkgarch) || conf_writer_holds_dollar(row->checksum))
        return "a $ in pkgarch or checksum would be read as the separator";
    return conf_name_refused(name);
}

static int conf_writer_leave_out(
    struct conf_writer *conf, const struct row *row, const char *reason, struct error *error)
{
    struct buffer text = BUFFER_EMPTY;
    int result = 0;

    codec_write_export_row(&text, true, row);
    if (buffer_failed(&text))
        result = error_set_memory(error);
    else
        conf->writer.left_out(conf->writer.context, buffer_text(&text), reason);
    buffer_free(&text);
    return result;
}

static void conf_writer_make_name(struct buffer *name, const char *prefix, struct text first,
    const char *separator, struct text second)
{
    buffer_reset(name, BUFFER_KEEP_BYTES);
    buffer_append_string(name, prefix);
    buffer_append_text(name, first);
    buffer_append_string(name, separator);
    buffer_append_text(name, second);
}

static void conf_writer_write_line(FILE *file, struct text name, const char *value)
{
    (void)fwrite(name.bytes, 1, name.length, file);
    (void)fprintf(file, " = \"%s\"\n", value);
}

/* Stores the greatest value of the current package, if any. */
static int conf_writer_end_package(struct conf_writer *conf, struct error *error)
{
    int result = 0;

    if (conf->value)
        result =
            row_set_raise_greatest(conf->greatest, buffer_text(&conf->package), conf->value, error);
    free(conf->value);
    conf->value = NULL;
    return result;
}

/* Updates the current package with the next row's value, which it takes ownership of. */
static int conf_writer_track_package(struct conf_writer *conf, char *value, struct error *error)
{
    int result = 0;

    if (!conf->value || !text_equal(buffer_text(&conf->next), buffer_text(&conf->package))) {
        result = conf_writer_end_package(conf, error);
        buffer_reset(&conf->package, BUFFER_KEEP_BYTES);
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

/* Makes the names of the row's and its package's variables. Returns false if out of memory. */
static bool conf_writer_make_names(struct conf_writer *conf, const struct row *row)
{
    conf_writer_make_name(&conf->next, CONF_PACKAGE, row->version, "_", row->pkgarch);
    conf_writer_make_name(&conf->name, CONF_ROW, row->version, "$", row->pkgarch);
    buffer_append_string(&conf->name, "$");
    buffer_append_text(&conf->name, row->checksum);
    return !buffer_failed(&conf->next) && !buffer_failed(&conf->name);
}

/* Writes a row. A row that is left out still counts for its package: a build in lockdown must not
 * get a revision below one that was handed out. */
static int conf_writer_row(struct row_writer *writer, const struct row *row, struct error *error)
{
    struct conf_writer *conf = (struct conf_writer *)writer;
    const char *reason;
    char *value;
    int result = 0;

    if (!conf_writer_make_names(conf, row))
        return error_set_memory(error);
    reason = conf_writer_check_row(row, buffer_text(&conf->name));
    if (reason)
        result = conf_writer_leave_out(conf, row, reason, error);
    if (result != 0 || !conf_writer_has_revision(row) ||
        (reason && conf_name_refused(buffer_text(&conf->next)) != NULL))
        return result;
    value = strndup(row->value.bytes, row->value.length);
    if (!value)
        return error_set_memory(error);
    if (!reason)
        conf_writer_write_line(writer->file, buffer_text(&conf->name), value);
    return conf_writer_track_package(conf, value, error);
}

/* ---- the end ---- */

static void conf_writer_write_package(void *context, struct text name, const char *revision)
{
    struct conf_writer *conf = context;
    const char *reason = conf_name_refused(name);

    if (reason)
        conf->writer.left_out(conf->writer.context, name, reason);
    else
        conf_writer_write_line(conf->writer.file, name, revision);
}

static int conf_writer_end(struct row_writer *writer, struct error *error)
{
    struct conf_writer *conf = (struct conf_writer *)writer;
    int result = conf_writer_end_package(conf, error);

    if (result != 0 || !conf->packages)
        return result;
    return row_set_each_greatest(conf->greatest, conf_writer_write_package, conf, error);
}

static void conf_writer_free(struct row_writer *writer)
{
    struct conf_writer *conf = (struct conf_writer *)writer;

    row_set_close(conf->greatest);
    buffer_free(&conf->name);
    buffer_free(&conf->next);
    buffer_free(&conf->package);
    free(conf->value);
    free(conf);
}

struct row_writer *conf_writer_create(FILE *file, bool lockdown, bool packages)
{
    struct conf_writer *conf = calloc(1, sizeof *conf);
    struct error error;

    if (!conf)
        return NULL;
    conf->writer = (struct row_writer){.file = file,
        .begin = conf_writer_begin,
        .row = conf_writer_row,
        .end = conf_writer_end,
        .free = conf_writer_free};
    conf->lockdown = lockdown;
    conf->packages = packages;
    if (row_set_open(&conf->greatest, &error) == 0)
        return &conf->writer;
    conf_writer_free(&conf->writer);
    return NULL;
}

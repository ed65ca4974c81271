/* Reads OE-core's format; conf_writer.c has what it looks like. Names and operators are
 * taken apart as BitBake does: += .= =+ =. are refused, := ?= ??= mean what = means here. The
 * key is split from the right at $, since a version may hold one. */
#include "cli/conf_name.h"
#include "cli/rows.h"

#include <stdlib.h>

struct conf_reader {
    struct row_reader reader; /* first */
    struct buffer text;
};

/* A line: NAME OPERATOR "VALUE". Returns why it is none, or NULL. */
static const char *split_line(struct text line, struct text *name, struct text *value)
{
    size_t end = 0;
    struct text rest;
    char quote;

    while (end < line.length && conf_name_has(line.bytes[end]))
        end++;
    *name = (struct text){.bytes = line.bytes, .length = end};
    rest = text_strip((struct text){.bytes = line.bytes + end, .length = line.length - end});
    if (end > 0 && rest.bytes == line.bytes + end && rest.length > 0 && rest.bytes[0] == '=' &&
        conf_is_one_of(line.bytes[end - 1], "+.:")) {
        name->length--; /* the operator follows without a blank: it was read as the name's */
        rest = (struct text){.bytes = rest.bytes - 1, .length = rest.length + 1};
    }
    if (rest.length > 1 && rest.bytes[1] == '=' && conf_is_one_of(rest.bytes[0], "+."))
        return "the operators += and .= are not understood";
    if (rest.length > 0 && rest.bytes[0] == ':')
        rest = (struct text){.bytes = rest.bytes + 1, .length = rest.length - 1};
    for (int i = 0; i < 2 && rest.length > 0 && rest.bytes[0] == '?'; i++)
        rest = (struct text){.bytes = rest.bytes + 1, .length = rest.length - 1};
    if (name->length == 0 || rest.length == 0 || rest.bytes[0] != '=')
        return "not an assignment: NAME = \"VALUE\"";
    rest = text_strip((struct text){.bytes = rest.bytes + 1, .length = rest.length - 1});
    if (rest.length > 0 && conf_is_one_of(rest.bytes[0], "+."))
        return "the operators =+ and =. are not understood";
    quote = (char)(rest.length >= 2 ? rest.bytes[0] : '\0');
    if (!conf_is_one_of(quote, "\"'") || rest.bytes[rest.length - 1] != quote)
        return "the value has to stand in quotes, and nothing after it";
    *value = (struct text){.bytes = rest.bytes + 1, .length = rest.length - 2};
    return NULL;
}

/* Splits at the last $; what is before it stays in *text. */
static bool split_last(struct text *text, struct prserv_text *last)
{
    const char *at = memrchr(text->bytes, '$', text->length);

    if (!at)
        return false;
    last->bytes = at + 1;
    last->length = text->length - (size_t)(at + 1 - text->bytes);
    text->length = (size_t)(at - text->bytes);
    return true;
}

static int refuse(const char *reason, struct error *error)
{
    (void)error_set(error, ERROR_INPUT, "%s", reason);
    return ROW_REFUSED;
}

/* A line that is neither blank nor a comment. Returns ROW_END if it holds no row. */
static int read_line(struct text line, struct prserv_row *row, struct error *error)
{
    struct text name;
    struct text value;
    const char *reason = split_line(line, &name, &value);

    if (reason)
        return refuse(reason, error);
    if (conf_stands_at(name, 0, CONF_PACKAGE) || text_is(name, CONF_LOCKDOWN))
        return ROW_END;
    if (!conf_stands_at(name, 0, CONF_ROW))
        return refuse("neither " CONF_ROW "..., " CONF_PACKAGE "... nor " CONF_LOCKDOWN, error);
    if (conf_name_refused(name))
        return refuse(conf_name_refused(name), error);
    name.bytes += strlen(CONF_ROW);
    name.length -= strlen(CONF_ROW);
    if (!split_last(&name, &row->checksum) || !split_last(&name, &row->pkgarch))
        return refuse("the name is not PRAUTO$<version>$<pkgarch>$<checksum>", error);
    row->version = field_of(name);
    row->value = field_of(value);
    return ROW_READ;
}

static int conf_next(struct row_reader *reader, struct prserv_row *row, struct error *error)
{
    struct conf_reader *conf = (struct conf_reader *)reader;

    for (;;) {
        struct text line;
        int found = ROW_END;

        reader->line = reader->source->line;
        if (!source_take_line(reader->source, &conf->text))
            return source_failed(reader->source, error) == 0 ? ROW_END : ROW_BROKEN;
        if (buffer_failed(&conf->text)) {
            (void)error_set_memory(error);
            return ROW_BROKEN;
        }
        if (conf->text.length > MOST_ROW_BYTES) {
            (void)refuse("the line is too long", error);
            return ROW_BROKEN;
        }
        line = buffer_text(&conf->text);
        if (line.length > 0)
            line = text_strip(line);
        if (line.length > 0 && line.bytes[0] != '#')
            found = read_line(line, row, error);
        if (found != ROW_END)
            return found;
    }
}

static void conf_reader_free(struct row_reader *reader)
{
    struct conf_reader *conf = (struct conf_reader *)reader;

    buffer_free(&conf->text);
    free(conf);
}

struct row_reader *conf_reader_new(void)
{
    struct conf_reader *conf = calloc(1, sizeof *conf);

    if (!conf)
        return NULL;
    conf->reader.next = conf_next;
    conf->reader.free = conf_reader_free;
    return &conf->reader;
}

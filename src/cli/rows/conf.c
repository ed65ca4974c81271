/* SPDX-License-Identifier: MIT */
/* The reader of OE-core's format, which conf_writer.c describes. It parses lines, names and
 * operators as BitBake does:
 *
 *  - A line that ends with a backslash goes on in the next one, also if it is a comment.
 *  - "export" may come before a name.
 *  - += .= =+ =. are refused for rows; := ?= ??= have the same effect as =.
 *  - The key is split at $ from the right, since a version may hold one.
 *
 * A file may be part of a configuration: other variables and statements are passed over. */
#include "cli/rows/conf_name.h"
#include "cli/rows/rows.h"

#include <stdlib.h>

struct conf_reader {
    struct row_reader reader; /* first */
    struct buffer text;
    struct buffer more; /* the line that continues it */
};

/* Returns the length of the name at the beginning of the line. An operator's + . or : that follows
 * without a blank (NAME+=) is not part of it, although a name may hold that character. */
static size_t conf_name_length(struct text line)
{
    size_t length = 0;

    while (length < line.length && conf_name_has(line.bytes[length]))
        length++;
    if (length > 0 && length < line.length && line.bytes[length] == '=' &&
        conf_is_one_of(line.bytes[length - 1], "+.:"))
        length--;
    return length;
}

static const char not_assignment[] = "not an assignment: NAME = \"VALUE\"";

/* Skips the operator = := ?= or ??= and the blanks after it. Returns the reason why the text does
 * not begin with one of them, or NULL. */
static const char *conf_skip_operator(struct text *text)
{
    size_t at = 0;

    if (text->length > 1 && text->bytes[1] == '=' && conf_is_one_of(text->bytes[0], "+."))
        return "the operators += and .= are not supported";
    if (at < text->length && text->bytes[at] == ':')
        at++;
    for (int i = 0; i < 2 && at < text->length && text->bytes[at] == '?'; i++)
        at++;
    if (at == text->length || text->bytes[at] != '=')
        return not_assignment;
    *text = text_strip(text_from(*text, at + 1));
    if (text->length > 0 && conf_is_one_of(text->bytes[0], "+."))
        return "the operators =+ and =. are not supported";
    return NULL;
}

/* Skips a flag after a name, like [doc]. Returns whether there was one. */
static bool conf_skip_flag(struct text *text)
{
    const char *end =
        text->length > 0 && text->bytes[0] == '[' ? memchr(text->bytes, ']', text->length) : NULL;

    if (!end)
        return false;
    *text = text_strip(text_from(*text, (size_t)(end + 1 - text->bytes)));
    return true;
}

/* A line: NAME OPERATOR "VALUE" */
struct conf_line {
    struct text name;
    struct text value;
    bool has_flag; /* NAME[FLAG] OPERATOR "VALUE" */
};

/* Splits a line, which is not empty. Returns the reason why it assigns no value to a row, or NULL.
 */
static const char *conf_split_line(struct text text, struct conf_line *line)
{
    const char *reason;
    struct text rest;

    line->name = (struct text){.bytes = text.bytes, .length = conf_name_length(text)};
    if (line->name.length == 0)
        return not_assignment;
    rest = text_strip(text_from(text, line->name.length));
    line->has_flag = conf_skip_flag(&rest);
    reason = conf_skip_operator(&rest);
    if (reason)
        return reason;
    if (rest.length < 2 || !conf_is_one_of(rest.bytes[0], "\"'") ||
        rest.bytes[rest.length - 1] != rest.bytes[0])
        return "the value has to be in quotes, with nothing after it";
    line->value = (struct text){.bytes = rest.bytes + 1, .length = rest.length - 2};
    return NULL;
}

/* Returns whether a word, then a blank, begin the line. */
static bool conf_begins_with_word(struct text line, const char *word)
{
    const size_t length = strlen(word);

    return conf_stands_at(line, 0, word) && line.length > length &&
           conf_is_one_of(line.bytes[length], " \t");
}

/* Returns whether the line is a statement that assigns nothing. */
static bool conf_is_statement(struct text line)
{
    static const char *const words[] = {
        "include", "include_all", "require", "inherit", "unset", "export", "addfragments"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (conf_begins_with_word(line, words[i]))
            return true;
    }
    return false;
}

/* Splits at the last $ and leaves the part before it in *text. Returns false if there is none. */
static bool conf_split_last(struct text *text, struct text *last)
{
    const char *at = memrchr(text->bytes, '$', text->length);

    if (!at)
        return false;
    last->bytes = at + 1;
    last->length = text->length - (size_t)(at + 1 - text->bytes);
    text->length = (size_t)(at - text->bytes);
    return true;
}

/* Passes over a line that is not a row. Returns ROW_END, or ROW_REFUSED if it is not an
 * assignment. */
static int conf_pass_over(struct row_reader *reader, struct text line, const char *reason,
    struct text name, struct error *error)
{
    if (conf_stands_at(name, 0, CONF_PACKAGE) && !reason)
        reader->n_packages++;
    else if (text_is(name, CONF_LOCKDOWN) && !reason)
        reader->is_known = true;
    else if (reason != not_assignment || conf_is_statement(line))
        reader->n_others++;
    else
        return error_set(error, ROW_REFUSED, "%s", reason);
    return ROW_END;
}

/* Reads a line that is neither blank nor a comment. Returns ROW_END if it holds no row. */
static int conf_read_line(
    struct row_reader *reader, struct text text, struct row *row, struct error *error)
{
    struct conf_line line = {.has_flag = false};
    const struct text exported =
        conf_begins_with_word(text, "export") ? text_strip(text_from(text, 6)) : text;
    const char *reason = conf_split_line(exported, &line);
    struct text name = line.name;

    if (!conf_stands_at(name, 0, CONF_ROW) || line.has_flag)
        return conf_pass_over(reader, text, reason, name, error);
    if (!reason)
        reason = conf_name_refused(name);
    if (reason)
        return error_set(error, ROW_REFUSED, "%s", reason);
    name = text_from(name, strlen(CONF_ROW));
    if (!conf_split_last(&name, &row->checksum) || !conf_split_last(&name, &row->pkgarch))
        return error_set(
            error, ROW_REFUSED, "the name is not PRAUTO$<version>$<pkgarch>$<checksum>");
    row->version = name;
    row->value = line.value;
    return ROW_READ;
}

/* Removes the white space at the end of the text. Returns whether a backslash stood there, and
 * removes it, too. */
static bool conf_cut_end(struct buffer *text)
{
    while (text->length > 0 && conf_is_one_of(text->bytes[text->length - 1], " \t\r\n\v\f"))
        text->length--;
    if (text->length == 0 || text->bytes[text->length - 1] != '\\')
        return false;
    text->length--;
    return true;
}

/* Reads a line with those that continue it. Returns 0 at the end of the file. */
static int conf_next_line(struct conf_reader *conf)
{
    struct source *source = &conf->reader.source;
    int found = source_next_line(source, &conf->text);

    while (found && !buffer_failed(&conf->text) && conf->text.length <= MAX_ROW_BYTES &&
           conf_cut_end(&conf->text) && source_next_line(source, &conf->more))
        buffer_append_text(&conf->text, buffer_text(&conf->more));
    return found;
}

static int conf_next(struct row_reader *reader, struct row *row, struct error *error)
{
    struct conf_reader *conf = (struct conf_reader *)reader;

    for (;;) {
        struct text line;
        int found = ROW_END;

        reader->line = reader->source.line;
        if (!conf_next_line(conf))
            return source_failed(&reader->source, error) == 0 ? ROW_END : ROW_BROKEN;
        if (buffer_failed(&conf->text) || buffer_failed(&conf->more)) {
            (void)error_set_memory(error);
            return ROW_BROKEN;
        }
        if (conf->text.length > MAX_ROW_BYTES)
            return error_set(error, ROW_BROKEN, "the line is too long");
        line = buffer_text(&conf->text);
        if (line.length > 0)
            line = text_strip(line);
        if (conf_stands_at(line, 0, CONF_HEADER))
            reader->is_known = true;
        if (line.length > 0 && line.bytes[0] != '#')
            found = conf_read_line(reader, line, row, error);
        if (found != ROW_END)
            return found;
    }
}

static void conf_reader_free(struct row_reader *reader)
{
    struct conf_reader *conf = (struct conf_reader *)reader;

    buffer_free(&conf->text);
    buffer_free(&conf->more);
    free(conf);
}

struct row_reader *conf_reader_create(void)
{
    struct conf_reader *conf = calloc(1, sizeof *conf);

    if (!conf)
        return NULL;
    conf->reader.next = conf_next;
    conf->reader.free = conf_reader_free;
    return &conf->reader;
}

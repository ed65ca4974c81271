/* SPDX-License-Identifier: MIT */
#include "feed/stanza.h"

#include <strings.h>

/* Reads a line without its end, and keeps at most STANZA_MAX_LINE bytes of it. Returns false at the
 * end of the file. */
static bool stanza_read_line(struct stanza_reader *reader)
{
    int byte = getc_unlocked(reader->file);

    reader->length = 0;
    if (byte == EOF)
        return false;
    reader->n_lines++;
    for (; byte != EOF && byte != '\n'; byte = getc_unlocked(reader->file)) {
        if (reader->length < STANZA_MAX_LINE)
            reader->line[reader->length++] = (char)byte;
    }
    if (reader->length > 0 && reader->line[reader->length - 1] == '\r')
        reader->length--;
    return true;
}

/* Returns where the separator stands, or the length of the line. In "FILES:m4: /bin" it is the
 * second colon. */
static size_t stanza_find_separator(const struct stanza_reader *reader)
{
    const struct text line = {.bytes = reader->line, .length = reader->length};

    for (size_t i = 0; i < line.length; i++) {
        const bool ends_name = i + 1 == line.length || line.bytes[i + 1] == ' ' ||
                               line.bytes[i + 1] == '\t' || !reader->one_stanza;

        if (line.bytes[i] == reader->separator && ends_name)
            return i;
    }
    return line.length;
}

static enum stanza_result stanza_refuse(struct stanza_reader *reader, struct error *error,
    const struct stanza_field *field, const char *reason)
{
    reader->damaged = reader->n_lines;
    (void)error_set(error, ERROR_INPUT, "the field %s %s", field->name, reason);
    return STANZA_DAMAGED;
}

/* Returns whether a value can be shown and sent: UTF-8 without control characters. */
static bool stanza_is_plain(struct text value)
{
    for (size_t i = 0; i < value.length; i++) {
        if ((unsigned char)value.bytes[i] < ' ' || value.bytes[i] == 127)
            return false;
    }
    return text_is_utf8(value);
}

/* Keeps the value of a field that is wanted. */
static enum stanza_result stanza_keep(struct stanza_reader *reader, struct stanza_field *field,
    struct text value, struct error *error)
{
    if (field->at != SIZE_MAX)
        return stanza_refuse(reader, error, field, "is there twice");
    if (value.length > STANZA_MAX_VALUE)
        return stanza_refuse(reader, error, field, "is too long");
    if (!stanza_is_plain(value))
        return stanza_refuse(reader, error, field, "is not UTF-8, or has control characters");
    field->at = reader->values.length;
    field->value.length = value.length;
    buffer_append_text(&reader->values, value);
    return STANZA_READ;
}

/* Takes a line of a stanza. */
static enum stanza_result stanza_take_line(
    struct stanza_reader *reader, struct stanza_field *wanted, size_t n_wanted, struct error *error)
{
    const struct text line = {.bytes = reader->line, .length = reader->length};
    const size_t at = stanza_find_separator(reader);
    struct text name;

    if (line.bytes[0] == ' ' || line.bytes[0] == '\t')
        return STANZA_READ;
    if (at == line.length) {
        reader->damaged = reader->n_lines;
        (void)error_set(error, ERROR_INPUT, "the line is not a name, %s and a value",
            reader->separator == ':' ? "a colon" : "=");
        return STANZA_DAMAGED;
    }
    name = text_strip((struct text){.bytes = line.bytes, .length = at});
    for (size_t i = 0; i < n_wanted; i++) {
        if (strlen(wanted[i].name) == name.length &&
            strncasecmp(wanted[i].name, name.bytes, name.length) == 0)
            return stanza_keep(reader, &wanted[i], text_strip(text_from(line, at + 1)), error);
    }
    return STANZA_READ;
}

/* Sets the values, now that their addresses don't change any more. */
static void stanza_place_values(
    const struct stanza_reader *reader, struct stanza_field *wanted, size_t n_wanted)
{
    for (size_t i = 0; i < n_wanted; i++) {
        if (wanted[i].value.length > 0)
            wanted[i].value.bytes = reader->values.bytes + wanted[i].at;
    }
}

enum stanza_result stanza_read(
    struct stanza_reader *reader, struct stanza_field *wanted, size_t n_wanted, struct error *error)
{
    enum stanza_result result = STANZA_END;
    bool is_damaged = false;

    for (size_t i = 0; i < n_wanted; i++) {
        wanted[i].at = SIZE_MAX;
        wanted[i].value = (struct text){.bytes = ""};
    }
    buffer_reset(&reader->values, BUFFER_KEEP_BYTES);
    while (stanza_read_line(reader)) {
        if (reader->length == 0) {
            if (result == STANZA_END || reader->one_stanza)
                continue;
            break;
        }
        if (result == STANZA_END)
            reader->first = reader->n_lines;
        result = STANZA_READ;
        if (!is_damaged)
            is_damaged = stanza_take_line(reader, wanted, n_wanted, error) == STANZA_DAMAGED;
    }
    if (buffer_failed(&reader->values)) {
        (void)error_set_memory(error);
        return STANZA_NO_MEMORY;
    }
    stanza_place_values(reader, wanted, n_wanted);
    return is_damaged ? STANZA_DAMAGED : result;
}

void stanza_free(struct stanza_reader *reader)
{
    buffer_free(&reader->values);
}

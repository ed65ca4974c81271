/* SPDX-License-Identifier: MIT */
/* Every line is ASCII. In text, other bytes and control characters become \xNN; in JSON, characters
 * outside ASCII become \uNNNN, and bytes that are not UTF-8 become U+FFFD. */
#include "base/log_line.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MOST 1536 /* bytes of an escaped message */
#define FIELD_MOST 480    /* bytes of an escaped field */
#define END_BYTES 8       /* room for what closes a line */

static const char *const level_names[] = {
    [LOG_DEBUG] = "DEBUG",
    [LOG_INFO] = "INFO",
    [LOG_WARNING] = "WARNING",
    [LOG_ERROR] = "ERROR",
    [LOG_CRITICAL] = "CRITICAL",
};

/* Those of syslog(3), which the journal uses. */
static const int priorities[] = {
    [LOG_DEBUG] = 7, [LOG_INFO] = 6, [LOG_WARNING] = 4, [LOG_ERROR] = 3, [LOG_CRITICAL] = 2};

const char *log_line_level_name(enum log_level level)
{
    return level_names[level];
}

/* A line that is being built; what does not fit is left out. */
struct line {
    char *bytes;
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void line_add(
    struct line *line, const char *format, ...)
{
    const size_t room = LOG_LINE_BYTES - END_BYTES - line->length;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(line->bytes + line->length, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        line->length += (size_t)length < room ? (size_t)length : room - 1;
}

/* ---- text ---- */

static void line_add_escaped(struct line *line, struct text text, size_t most)
{
    const size_t until = line->length + most;

    for (size_t i = 0; i < text.length && line->length < until; i++) {
        const unsigned char byte = (unsigned char)text.bytes[i];

        if (byte >= 0x20 && byte < 0x7f)
            line_add(line, "%c", byte);
        else
            line_add(line, "\\x%02x", byte);
    }
}

/* Adds a field's value; one with blanks or quotes in it between quotes. */
static void line_add_value(struct line *line, struct text text)
{
    const bool is_quoted = memchr(text.bytes, ' ', text.length) ||
                           memchr(text.bytes, '"', text.length) || text.length == 0;
    const size_t until = line->length + FIELD_MOST;

    if (is_quoted)
        line_add(line, "\"");
    for (size_t i = 0; i < text.length && line->length < until; i++) {
        if (text.bytes[i] == '"' || text.bytes[i] == '\\')
            line_add(line, "\\");
        line_add_escaped(line, (struct text){.bytes = text.bytes + i, .length = 1}, 1);
    }
    if (is_quoted)
        line_add(line, "\"");
}

static void line_add_stamp(struct line *line)
{
    struct timeval now;
    struct tm parts;
    char stamp[32];

    (void)gettimeofday(&now, NULL);
    (void)localtime_r(&now.tv_sec, &parts);
    (void)strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &parts);
    line_add(line, "%s,%03ld ", stamp, (long)now.tv_usec / 1000);
}

static void line_add_text(
    struct line *line, bool for_journal, enum log_level level, const char *message)
{
    if (!for_journal)
        line_add(line, "%s prservd[%ld]: ", level_names[level], (long)getpid());
    line_add_escaped(line, text_of(message), MESSAGE_MOST);
}

static void line_add_text_field(struct line *line, const struct log_field *field)
{
    line_add(line, " %s=", field->name);
    if (field->is_number)
        line_add(line, "%llu", field->number);
    else
        line_add_value(line, text_not_null(field->text));
}

/* ---- JSON ---- */

static void line_add_code(struct line *line, uint32_t code)
{
    if (code == '"' || code == '\\')
        line_add(line, "\\%c", (int)code);
    else if (code >= 0x20 && code < 0x7f)
        line_add(line, "%c", (int)code);
    else if (code < 0x10000)
        line_add(line, "\\u%04x", (unsigned)code);
    else
        line_add(line, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((code - 0x10000) >> 10)),
            (unsigned)(0xdc00 + ((code - 0x10000) & 0x3ff)));
}

static void line_add_string(struct line *line, struct text text, size_t most)
{
    const size_t until = line->length + most;

    line_add(line, "\"");
    for (size_t i = 0; i < text.length && line->length < until;) {
        uint32_t code;
        const size_t length = text_decode(text.bytes + i, text.length - i, &code);

        line_add_code(line, length > 0 ? code : 0xfffd);
        i += length > 0 ? length : 1;
    }
    line_add(line, "\"");
}

static void line_add_json_stamp(struct line *line)
{
    struct timeval now;
    struct tm parts;
    char stamp[32];

    (void)gettimeofday(&now, NULL);
    (void)gmtime_r(&now.tv_sec, &parts);
    (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &parts);
    line_add(line, "\"time\": \"%s.%06ldZ\", ", stamp, (long)now.tv_usec);
}

static void line_add_json(struct line *line, enum log_level level, const char *message)
{
    line_add(
        line, "\"level\": \"%s\", \"pid\": %ld, \"message\": ", level_names[level], (long)getpid());
    line_add_string(line, text_of(message), MESSAGE_MOST);
}

static void line_add_json_field(struct line *line, const struct log_field *field)
{
    /* A member that might be cut would end the object in the middle. */
    if (line->length + FIELD_MOST + 64 > LOG_LINE_BYTES - END_BYTES)
        return;
    line_add(line, ", \"%s\": ", field->name);
    if (field->is_number)
        line_add(line, "%llu", field->number);
    else
        line_add_string(line, field->text, FIELD_MOST);
}

/* ---- both ---- */

static size_t line_end(struct line *line, enum log_format format)
{
    if (format == LOG_JSON)
        line->bytes[line->length++] = '}';
    line->bytes[line->length++] = '\n';
    return line->length;
}

size_t log_line_make(char bytes[LOG_LINE_BYTES], enum log_format format, bool for_journal,
    enum log_level level, const char *message, const struct log_field *fields, size_t n_fields)
{
    struct line line = {.bytes = bytes};

    if (for_journal)
        line_add(&line, "<%d>", priorities[level]);
    if (format == LOG_JSON) {
        line_add(&line, "{");
        line_add_json_stamp(&line);
        line_add_json(&line, level, message);
    } else {
        if (!for_journal)
            line_add_stamp(&line);
        line_add_text(&line, for_journal, level, message);
    }
    for (size_t i = 0; i < n_fields; i++) {
        if (format == LOG_JSON)
            line_add_json_field(&line, &fields[i]);
        else
            line_add_text_field(&line, &fields[i]);
    }
    return line_end(&line, format);
}

size_t log_line_make_timeless(char bytes[LOG_LINE_BYTES], enum log_format format, bool for_journal,
    enum log_level level, const char *message)
{
    struct line line = {.bytes = bytes};

    if (for_journal)
        line_add(&line, "<%d>", priorities[level]);
    if (format == LOG_JSON) {
        line_add(&line, "{");
        line_add_json(&line, level, message);
    } else {
        line_add_text(&line, for_journal, level, message);
    }
    return line_end(&line, format);
}

/* SPDX-License-Identifier: MIT */
/* Only the first MAX_NAMED of a kind are kept, so that memory does not grow with the database. */
#include "cli/verify/findings.h"

#include "base/error.h"
#include "wire/codec.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define MAX_NAMED 20

static const struct {
    const char *name; /* in JSON */
    const char *word; /* before a line for people */
} kinds[FINDING_KINDS] = {
    [FINDING_DAMAGE] = {"damage", "damage"},
    [FINDING_SCHEMA] = {"schema", "schema"},
    [FINDING_INVALID_ROW] = {"invalid_rows", "invalid row"},
    [FINDING_SHARED_VALUE] = {"shared_values", "shared value"},
    [FINDING_OLD_ROW] = {"old_rows", "old row"},
    [FINDING_MARK] = {"mark", "mark"},
};

/* ---- adding ---- */

static void findings_write_json(struct buffer *out, const struct row *row, const char *text)
{
    if (row) {
        codec_write_export_row(out, out->length == 0, row);
        if (!buffer_failed(out))
            out->length--; /* before the closing brace */
        buffer_append_string(out, ",\"text\":");
    } else {
        buffer_append_string(out, out->length == 0 ? "{\"text\":" : ",{\"text\":");
    }
    codec_write_string(out, text_of(text));
    buffer_append_string(out, "}");
}

static void findings_write_line(
    struct buffer *out, const char *word, const struct row *row, const char *text)
{
    struct error line; /* makes its text printable */

    if (row)
        (void)error_set(&line, 0, "%s: version %.*s, pkgarch %.*s, checksum %.*s: %s", word,
            (int)row->version.length, row->version.bytes, (int)row->pkgarch.length,
            row->pkgarch.bytes, (int)row->checksum.length, row->checksum.bytes, text);
    else
        (void)error_set(&line, 0, "%s: %s", word, text);
    buffer_append_string(out, line.text);
    buffer_append_string(out, "\n");
}

void findings_add(struct findings *findings, enum finding_kind kind, const struct row *row,
    const char *format, ...)
{
    char text[400];
    va_list arguments;

    findings->is_checked[kind] = true;
    if (findings->counts[kind]++ >= MAX_NAMED)
        return;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (findings->json)
        findings_write_json(&findings->named[kind], row, text);
    else
        findings_write_line(&findings->named[kind], kinds[kind].word, row, text);
}

uint64_t findings_count(const struct findings *findings)
{
    uint64_t count = 0;

    for (int kind = 0; kind < FINDING_KINDS; kind++)
        count += findings->counts[kind];
    return count;
}

/* ---- printing ---- */

static void findings_print_buffer(const struct buffer *buffer)
{
    if (buffer->length > 0)
        (void)fwrite(buffer->bytes, 1, buffer->length, stdout);
}

static void findings_print_text(const struct findings *findings, const char *database)
{
    const uint64_t count = findings_count(findings);

    for (int kind = 0; kind < FINDING_KINDS; kind++) {
        findings_print_buffer(&findings->named[kind]);
        if (findings->counts[kind] > MAX_NAMED)
            (void)printf(
                "%s: and %" PRIu64 " more\n", kinds[kind].word, findings->counts[kind] - MAX_NAMED);
    }
    (void)printf("%s: %" PRIu64 " rows checked, ", database, findings->rows);
    if (count == 0)
        (void)printf("nothing found\n");
    else
        (void)printf("%" PRIu64 " findings\n", count);
}

static void findings_print_json(const struct findings *findings, const struct buffer *database)
{
    const char *comma = "";

    (void)printf("{\"database\":");
    findings_print_buffer(database);
    (void)printf(",\"rows\":%" PRIu64 ",\"checked\":[", findings->rows);
    for (int kind = 0; kind < FINDING_KINDS; kind++) {
        if (findings->is_checked[kind])
            (void)printf("%s\"%s\"", comma, kinds[kind].name);
        comma = findings->is_checked[kind] ? "," : comma;
    }
    (void)printf("],\"findings\":{");
    comma = "";
    for (int kind = 0; kind < FINDING_KINDS; kind++) {
        (void)printf("%s\"%s\":{\"count\":%" PRIu64 ",\"first\":[", comma, kinds[kind].name,
            findings->counts[kind]);
        findings_print_buffer(&findings->named[kind]);
        (void)printf("]}");
        comma = ",";
    }
    (void)printf("},\"clean\":%s}\n", findings_count(findings) == 0 ? "true" : "false");
}

bool findings_print(const struct findings *findings, const char *database)
{
    struct buffer name = BUFFER_EMPTY;
    bool failed = false;

    for (int kind = 0; kind < FINDING_KINDS; kind++)
        failed = failed || buffer_failed(&findings->named[kind]);
    codec_write_string(&name, text_of(database));
    failed = failed || buffer_failed(&name);
    if (!failed && findings->json)
        findings_print_json(findings, &name);
    else if (!failed)
        findings_print_text(findings, database);
    buffer_free(&name);
    return !failed;
}

void findings_deinit(struct findings *findings)
{
    for (int kind = 0; kind < FINDING_KINDS; kind++)
        buffer_free(&findings->named[kind]);
}

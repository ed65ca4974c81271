/* SPDX-License-Identifier: MIT */
/* A verdict compares the greatest revision with the one before it. If the content of the greatest
 * one already had a smaller revision, it came back: two builds with different content share the
 * package, and each bumps the other. */
#include "audit/verdict.h"

#include "audit/report_parts.h"
#include "wire/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SENTENCE_BYTES 900
#define NAME_BYTES 100

/* ---- rows ---- */

struct why_row *why_row_create(const struct row *row)
{
    struct why_row *copy = calloc(1, sizeof *copy + row->checksum.length + row->value.length + 1);
    char *bytes;

    if (!copy)
        return NULL;
    bytes = (char *)(copy + 1);
    memcpy(bytes, row->value.bytes, row->value.length);
    copy->value = bytes;
    bytes += row->value.length + 1;
    if (row->checksum.length > 0)
        memcpy(bytes, row->checksum.bytes, row->checksum.length);
    copy->checksum = (struct text){.bytes = bytes, .length = row->checksum.length};
    return copy;
}

void why_row_free(struct why_row *row)
{
    if (!row)
        return;
    free(row->source);
    free(row);
}

size_t why_row_bytes(const struct why_row *row)
{
    return sizeof *row + row->checksum.length + strlen(row->value);
}

/* Copies a text to a position. Returns the position behind it. */
static char *why_row_put(struct text *copy, struct text text, char *at)
{
    if (text.length > 0)
        memcpy(at, text.bytes, text.length);
    *copy = (struct text){.bytes = at, .length = text.length};
    return at + text.length;
}

bool why_row_assign(struct why_row *row, const struct audit_revision *record)
{
    char *at;

    if (row->time_us > 0)
        return true;
    at = row->source =
        malloc(record->peer.length + record->rights.length + record->annotations.length + 1);
    if (!at)
        return false;
    at = why_row_put(&row->peer, record->peer, at);
    at = why_row_put(&row->rights, record->rights, at);
    (void)why_row_put(&row->annotations, record->annotations, at);
    row->time_us = record->time_us;
    row->request = record->request;
    row->is_return = record->is_return;
    return true;
}

/* ---- the verdict ---- */

/* Returns the last row before the last one that has its checksum, or not. NULL: none. */
static const struct why_row *verdict_find(const struct verdict *verdict, bool is_same)
{
    const struct why_row *last = verdict->rows[verdict->n_rows - 1];

    for (size_t i = verdict->n_rows - 1; i > 0; i--) {
        if (text_equal(verdict->rows[i - 1]->checksum, last->checksum) == is_same)
            return verdict->rows[i - 1];
    }
    return NULL;
}

/* Writes a revision as BitBake does: the version's own PR, a dot, and the value. */
static void verdict_name(const struct verdict *verdict, const char *value, char name[NAME_BYTES])
{
    struct text pr = verdict->version;

    for (size_t i = pr.length; i > 0; i--) {
        if (pr.bytes[i - 1] == '-') {
            pr = text_from(pr, i);
            break;
        }
    }
    if (pr.length < verdict->version.length && pr.length > 1 && pr.length < 20 &&
        pr.bytes[0] == 'r' && pr.bytes[1] >= '0' && pr.bytes[1] <= '9')
        (void)snprintf(name, NAME_BYTES, "%.*s.%.60s", (int)pr.length, pr.bytes, value);
    else
        (void)snprintf(name, NAME_BYTES, "%.80s", value);
}

/* Appends " (10.0.0.7 and 10.0.0.9 alternate)", if that is known. */
static void verdict_add_peers(const struct verdict *verdict, const struct why_row *one,
    const struct why_row *other, char *sentence)
{
    const size_t length = strlen(sentence);

    if (!verdict->shows_peers || !other || one->peer.length == 0 || other->peer.length == 0)
        return;
    if (text_equal(one->peer, other->peer))
        (void)snprintf(sentence + length, SENTENCE_BYTES - length, " (both on %.*s)",
            (int)one->peer.length, one->peer.bytes);
    else
        (void)snprintf(sentence + length, SENTENCE_BYTES - length, " (%.*s and %.*s alternate)",
            (int)other->peer.length, other->peer.bytes, (int)one->peer.length, one->peer.bytes);
}

/* Describes content that came back. */
static void verdict_describe_return(const struct verdict *verdict, const struct why_row *before,
    const struct why_row *other, char *sentence)
{
    const struct why_row *last = verdict->rows[verdict->n_rows - 1];
    char name[NAME_BYTES];
    char name_before[NAME_BYTES];

    verdict_name(verdict, last->value, name);
    verdict_name(verdict, before->value, name_before);
    (void)snprintf(sentence, SENTENCE_BYTES,
        "%s is asked for by content that had %s before: two builds with different content share "
        "this package",
        name, name_before);
    verdict_add_peers(verdict, last, other, sentence);
}

/* Describes content that was never here before. */
static void verdict_describe_new(
    const struct verdict *verdict, const struct why_row *other, char *sentence)
{
    const struct why_row *last = verdict->rows[verdict->n_rows - 1];
    char name[NAME_BYTES];
    char name_before[NAME_BYTES];

    verdict_name(verdict, last->value, name);
    verdict_name(verdict, other->value, name_before);
    if (other->asked_us > last->time_us && last->time_us > 0 && !last->is_return)
        (void)snprintf(sentence, SENTENCE_BYTES,
            "%s is new content, but that of %s was asked for after it: two builds with different "
            "content share this package",
            name, name_before);
    else
        (void)snprintf(sentence, SENTENCE_BYTES,
            "%s is new content, which differs from that of %s: the recipe, its configuration or "
            "something that it depends on has changed",
            name, name_before);
    if (other->asked_us > last->time_us && last->time_us > 0 && !last->is_return)
        verdict_add_peers(verdict, last, other, sentence);
}

void verdict_write(const struct verdict *verdict, struct buffer *out)
{
    char sentence[SENTENCE_BYTES];
    const struct why_row *before = NULL;
    const struct why_row *other = NULL;

    if (verdict->n_rows > 0) {
        before = verdict_find(verdict, true);
        other = verdict_find(verdict, false);
    }
    if (verdict->n_rows == 0)
        (void)snprintf(sentence, sizeof sentence, "the package is unknown");
    else if (!other)
        (void)snprintf(sentence, sizeof sentence, "all builds had the same content");
    else if (before)
        verdict_describe_return(verdict, before, other, sentence);
    else
        verdict_describe_new(verdict, other, sentence);
    report_write_text(out, "verdict", text_of(sentence));
    if (!other) {
        buffer_append_string(out, ",\"compare\":null");
        return;
    }
    buffer_append_string(out, ",\"compare\":[");
    codec_write_string(out, other->checksum);
    buffer_append_string(out, ",");
    codec_write_string(out, verdict->rows[verdict->n_rows - 1]->checksum);
    buffer_append_string(out, "]");
}

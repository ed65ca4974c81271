/* SPDX-License-Identifier: MIT */
/* Why a package has its revision: its rows, in the order of revisions, each with what the audit log
 * knows of it, and a verdict.
 *
 * The rows are those of the database: rows that are older than the audit log are there, too, only
 * without a time. All is read first, since rows have no order in time, and then written in pieces.
 * Of very many rows the smallest are left out. */
#include "audit/report_parts.h"

#include "audit/verdict.h"
#include "base/map.h"
#include "revision/floor.h"
#include "revision/revision.h"
#include "store/scan.h"
#include "wire/codec.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_A_PAGE 1000
#define MOST_RECORDS 100000 /* of the audit log */
#define MOST_BYTES ((size_t)32 * 1024 * 1024)

struct why {
    struct why_row **rows; /* owned; in the order of revisions once they are sorted */
    size_t n_rows;
    size_t capacity;
    size_t bytes;
    bool is_cut;      /* rows were left out */
    struct map found; /* of struct why_row: the rows, by checksum and value */
    struct map uses;  /* of struct why_use, by checksum */
    struct buffer key;
    size_t n_written;
    int64_t last_id; /* of the audit log, that was read */
    unsigned n_records;
    bool failed; /* memory ran out */
};

/* When a checksum was asked for. */
struct why_use {
    struct map_entry entry;
    int64_t last_us;
    uint64_t count;
};

void why_free(struct why *why)
{
    if (!why)
        return;
    map_clear(&why->found, free);
    for (size_t i = 0; i < why->n_rows; i++)
        why_row_free(why->rows[i]);
    map_clear(&why->uses, free);
    buffer_free(&why->key);
    free(why->rows);
    free(why);
}

size_t why_bytes(const struct why *why)
{
    return why ? sizeof *why + why->bytes + why->capacity * sizeof *why->rows : 0;
}

/* ---- rows ---- */

static int why_compare(const void *a, const void *b)
{
    const struct why_row *first = *(struct why_row *const *)a;
    const struct why_row *second = *(struct why_row *const *)b;

    return revision_compare(first->value, second->value);
}

static void why_sort(struct why *why)
{
    if (why->n_rows > 0)
        qsort(why->rows, why->n_rows, sizeof(struct why_row *), why_compare);
}

/* Removes the smaller half of the rows. */
static void why_cut(struct why *why)
{
    const size_t n = why->n_rows / 2;

    why_sort(why);
    for (size_t i = 0; i < n; i++) {
        why->bytes -= why_row_bytes(why->rows[i]);
        why_row_free(why->rows[i]);
    }
    why->n_rows -= n;
    memmove(why->rows, why->rows + n, why->n_rows * sizeof *why->rows);
    why->is_cut = true;
}

static int why_add(struct why *why, const struct row *row, struct error *error)
{
    struct why_row *added = why_row_create(row);

    if (why->n_rows == why->capacity) {
        const size_t capacity = why->capacity > 0 ? 2 * why->capacity : 64;
        struct why_row **rows = realloc(why->rows, capacity * sizeof *rows);

        if (rows) {
            why->rows = rows;
            why->capacity = capacity;
        }
    }
    if (!added || why->n_rows == why->capacity) {
        why_row_free(added);
        return error_set_memory(error);
    }
    why->rows[why->n_rows++] = added;
    why->bytes += why_row_bytes(added);
    if (why->n_rows > (size_t)2 * REPORT_WHY_ROWS || (why->bytes > MOST_BYTES && why->n_rows > 1))
        why_cut(why);
    return 0;
}

/* Reads the rows of the package from a snapshot. */
static int why_scan(
    struct why *why, struct store *store, const struct report_query *query, struct error *error)
{
    const struct store_filter filter = {
        .version = query->version, .pkgarch = query->pkgarch, .checksum = text_of("")};
    int result = store_scan_begin(store, &filter, error);
    struct row row;

    while (result == 0 && (result = store_scan_next(store, &row, error)) == 1) {
        result = 0;
        if (!floor_is_checksum(row.checksum) && row.value.bytes &&
            text_equal(row.version, query->version) && text_equal(row.pkgarch, query->pkgarch) &&
            revision_is_valid(row.value.bytes, row.value.length))
            result = why_add(why, &row, error);
    }
    return result;
}

static int why_read_rows(struct why *why, struct report *report, struct error *error)
{
    struct report_source *source = report->source;
    int result = 0;

    if (!source->store)
        result = store_open(&source->store, &source->options, STORE_READER, error);
    if (result == 0)
        result = store_begin_read(source->store, NULL, STORE_BLOCK, error);
    if (result == 0)
        result = why_scan(why, source->store, &report->query, error);
    if (source->store)
        store_rollback(source->store);
    if (result != 0 && result != ERROR_LOCKED) { /* otherwise it may still be connecting */
        store_close(source->store);
        source->store = NULL;
    }
    return result;
}

/* ---- the audit log ---- */

/* Returns the row of a checksum and value, or NULL. */
static struct why_row *why_find(struct why *why, struct text checksum, struct text value)
{
    struct why_item *item;

    buffer_set_pair(&why->key, checksum, value);
    item = buffer_failed(&why->key) ? NULL : map_find(&why->found, buffer_text(&why->key));
    return item ? item->row : NULL;
}

/* Enters all rows into the map. */
static int why_index(struct why *why, struct error *error)
{
    for (size_t i = 0; i < why->n_rows; i++) {
        struct why_row *row = why->rows[i];
        struct why_item *item = NULL;

        buffer_set_pair(&why->key, row->checksum, text_of(row->value));
        if (!buffer_failed(&why->key))
            item = map_find_or_add(&why->found, buffer_text(&why->key), sizeof *item);
        if (!item)
            return error_set_memory(error);
        item->row = row;
    }
    return 0;
}

static int why_add_uses(struct why *why, struct text checksum, int64_t last_us, uint64_t count)
{
    struct why_use *known = map_find_or_add(&why->uses, checksum, sizeof *known);

    why->failed = why->failed || !known;
    if (!known)
        return 1;
    if (last_us > known->last_us)
        known->last_us = last_us;
    known->count += count;
    return 0;
}

static int why_take_record(void *context, const struct audit_revision *record)
{
    struct why *why = context;
    struct why_row *row = why_find(why, record->checksum, record->value);

    why->last_id = record->id;
    why->n_records++;
    if (!row)
        return 0;
    if (!why_row_assign(row, record))
        why->failed = true;
    else if (record->request == AUDIT_GET_PR)
        (void)why_add_uses(why, record->checksum, record->time_us, 1);
    return why->failed;
}

static int why_take_use(void *context, const struct audit_use *use)
{
    return why_add_uses(context, use->checksum, use->last_us, use->count);
}

/* Reads the newest records of the package, page by page, and when its contents were asked for. */
static int why_read_audit(struct why *why, struct report *report, struct error *error)
{
    struct audit_store *audit = report->source->audit;
    struct audit_query query = {.version = report->query.version,
        .pkgarch = report->query.pkgarch,
        .after = -1,
        .limit = RECORDS_A_PAGE};
    unsigned before;
    int result;

    do {
        before = why->n_records;
        query.before = why->last_id;
        result = audit_store_read_log(audit, &query, why_take_record, why, error);
    } while (
        result == 0 && why->n_records - before == RECORDS_A_PAGE && why->n_records < MOST_RECORDS);
    if (result == 0)
        result = audit_store_read_uses(
            audit, query.version, query.pkgarch, 2 * REPORT_WHY_ROWS, why_take_use, why, error);
    return result == 0 && why->failed ? error_set_memory(error) : result;
}

static void why_join_uses(struct why *why)
{
    for (size_t i = 0; i < why->n_rows; i++) {
        const struct why_use *use = map_find(&why->uses, why->rows[i]->checksum);

        if (use) {
            why->rows[i]->asked_us = use->last_us;
            why->rows[i]->count = use->count;
        }
    }
}

int why_create(struct why **created, struct report *report, struct error *error)
{
    struct why *why = calloc(1, sizeof *why);
    int result;

    *created = NULL;
    if (!why)
        return error_set_memory(error);
    result = why_read_rows(why, report, error);
    while (why->n_rows > REPORT_WHY_ROWS)
        why_cut(why);
    if (result == 0)
        why_sort(why);
    if (result == 0)
        result = why_index(why, error);
    if (result == 0)
        result = why_read_audit(why, report, error);
    if (result == 0)
        why_join_uses(why);
    if (result != 0) {
        why_free(why);
        why = NULL;
    }
    *created = why;
    return result;
}

/* ---- writing ---- */

static void why_write_row(struct report *report, const struct why_row *row)
{
    struct buffer *out = report->out;

    buffer_append_string(out, report->is_first ? "{\"value\":" : ",{\"value\":");
    report->is_first = false;
    codec_write_string(out, text_of(row->value));
    report_write_text(out, "checksum", row->checksum);
    report_write_time(out, "time", row->time_us);
    if (row->time_us > 0) {
        report_write_text(out, "request", text_of(audit_request_name(row->request)));
        buffer_append_string(out, row->is_return ? ",\"return\":true" : ",\"return\":false");
    }
    if (row->time_us > 0 && report->query.shows_peers)
        report_write_source(out, row->peer, row->rights, row->annotations);
    report_write_time(out, "asked", row->asked_us);
    report_write_number(out, "count", row->count);
    buffer_append_string(out, "}");
}

static void why_write_end(struct why *why, struct report *report)
{
    struct buffer *out = report->out;
    struct verdict verdict = {.version = report->query.version,
        .rows = why->rows,
        .n_rows = why->n_rows,
        .shows_peers = report->query.shows_peers};

    buffer_append_string(out, why->is_cut ? "],\"complete\":false" : "],\"complete\":true");
    verdict_write(&verdict, out);
    buffer_append_string(out, "}");
}

bool why_write(struct why *why, struct report *report)
{
    if (!report->has_begun) {
        buffer_append_string(report->out, "{\"version\":");
        codec_write_string(report->out, report->query.version);
        report_write_text(report->out, "pkgarch", report->query.pkgarch);
        buffer_append_string(report->out, ",\"revisions\":[");
        report->has_begun = true;
    }
    while (why->n_written < why->n_rows && report->out->length < REPORT_PIECE_BYTES)
        why_write_row(report, why->rows[why->n_written++]);
    if (why->n_written < why->n_rows)
        return true;
    why_write_end(why, report);
    return false;
}

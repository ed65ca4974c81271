/* SPDX-License-Identifier: MIT */
/* The log and the churn. The log is read in pages, each a statement of its own that begins behind
 * the last record: what is written meanwhile does not wait. */
#include "audit/report_parts.h"

#include "base/clock.h"
#include "wire/codec.h"

#include <inttypes.h>
#include <stdlib.h>

#define PAGE_RECORDS 256
#define WAIT_MS 5000 /* for a lock on the audit log */

/* ---- the source ---- */

int report_source_create(
    struct report_source **created, const struct store_options *options, struct error *error)
{
    struct report_source *source = calloc(1, sizeof *source);
    const struct audit_store_options audit_options = {
        .file = options->file, .wait_ms = WAIT_MS, .log = options->log};
    int result;

    *created = NULL;
    if (!source)
        return error_set_memory(error);
    source->options = *options;
    result = audit_store_open(&source->audit, &audit_options, error);
    if (result != 0) {
        free(source);
        return result;
    }
    *created = source;
    return 0;
}

void report_source_free(struct report_source *source)
{
    if (!source)
        return;
    store_close(source->store);
    audit_store_close(source->audit);
    free(source);
}

/* ---- the log ---- */

static int report_write_record(void *context, const struct audit_revision *record)
{
    struct report *report = context;
    struct buffer *out = report->out;

    report->at = record->id;
    buffer_append_format(out, "%s{\"id\":%" PRId64, report->is_first ? "" : ",", record->id);
    report->is_first = false;
    report_write_time(out, "time", record->time_us);
    report_write_text(out, "version", record->version);
    report_write_text(out, "pkgarch", record->pkgarch);
    report_write_text(out, "checksum", record->checksum);
    report_write_text(out, "value", record->value);
    report_write_text(out, "request", text_of(audit_request_name(record->request)));
    buffer_append_string(out, record->is_return ? ",\"return\":true" : ",\"return\":false");
    if (report->query.shows_peers)
        report_write_source(out, record->peer, record->rights, record->annotations);
    buffer_append_string(out, "}");
    report->n++;
    return out->length >= REPORT_PIECE_BYTES ||
           (report->query.limit > 0 && report->n >= report->query.limit);
}

/* Writes a page of records. *more: there may be another one. */
static int report_work_page(struct report *report, bool *more, struct error *error)
{
    const bool is_forward = report->query.after >= 0;
    const struct audit_query query = {
        .version = report->query.version,
        .pkgarch = report->query.pkgarch,
        .since_us = is_forward ? 0 : report->query.since_us,
        .after = is_forward ? (report->at > 0 ? report->at : report->query.after) : -1,
        .before = is_forward ? 0 : report->at,
        .limit = PAGE_RECORDS,
    };
    const unsigned before = report->n;
    const size_t length = report->out->length;
    int result =
        audit_store_read_log(report->source->audit, &query, report_write_record, report, error);
    const bool is_enough = report->query.limit > 0 && report->n >= report->query.limit;

    /* A page may have ended early, because the piece is large enough. */
    *more = result == 0 && !is_enough &&
            (report->n - before == PAGE_RECORDS || report->out->length >= REPORT_PIECE_BYTES) &&
            report->out->length > length;
    return result;
}

static int report_begin_log(struct report *report, struct error *error)
{
    int64_t last;
    int result = audit_store_read_last(report->source->audit, &last, error);

    if (result == 0)
        buffer_append_format(report->out, "{\"last\":%" PRId64 ",\"log\":[", last);
    report->has_begun = result == 0;
    return result;
}

static int report_work_log(struct report *report, bool *more, struct error *error)
{
    const uint64_t until_ms = clock_ms() + REPORT_PIECE_MS;
    int result = report->has_begun ? 0 : report_begin_log(report, error);

    *more = true;
    while (
        result == 0 && *more && report->out->length < REPORT_PIECE_BYTES && clock_ms() < until_ms)
        result = report_work_page(report, more, error);
    if (result == 0 && !*more)
        buffer_append_string(report->out, "]}");
    return result;
}

/* ---- the churn ---- */

static int report_write_package(void *context, const struct audit_package *package)
{
    struct report *report = context;
    struct buffer *out = report->out;

    buffer_append_string(out, report->is_first ? "{\"version\":" : ",{\"version\":");
    report->is_first = false;
    codec_write_string(out, package->version);
    report_write_text(out, "pkgarch", package->pkgarch);
    report_write_number(out, "revisions", package->n_revisions);
    report_write_number(out, "returns", package->n_returns);
    report_write_time(out, "last", package->last_us);
    buffer_append_string(out, "}");
    return 0;
}

/* Each list is one piece: its packages are few. */
static int report_work_churn(struct report *report, bool *more, struct error *error)
{
    const unsigned limit = report->query.limit;
    struct audit_churn churn = {
        .by_returns = report->n > 0,
        .limit = limit > 0 && limit < REPORT_CHURN_MOST ? limit : REPORT_CHURN_MOST,
        .since_us = report->query.since_us,
    };
    int result;

    report->is_first = true;
    buffer_append_string(report->out, report->n == 0 ? "{\"revisions\":[" : ",\"returns\":[");
    result = audit_store_read_packages(
        report->source->audit, &churn, report_write_package, report, error);
    buffer_append_string(report->out, "]");
    *more = ++report->n < 2;
    if (!*more) {
        report_write_time(report->out, "since", churn.from_us);
        buffer_append_string(report->out, "}");
    }
    return result;
}

/* ---- reports ---- */

static int report_own_texts(struct report *report, struct error *error)
{
    struct report_query *query = &report->query;

    report->owned = malloc(query->version.length + query->pkgarch.length + 1);
    if (!report->owned)
        return error_set_memory(error);
    if (query->version.bytes) {
        memcpy(report->owned, query->version.bytes, query->version.length);
        query->version.bytes = report->owned;
    }
    if (query->pkgarch.bytes) {
        memcpy(report->owned + query->version.length, query->pkgarch.bytes, query->pkgarch.length);
        query->pkgarch.bytes = report->owned + query->version.length;
    }
    return 0;
}

int report_begin(struct report **begun, struct report_source *source,
    const struct report_query *query, struct error *error)
{
    struct report *report = calloc(1, sizeof *report);
    int result;

    *begun = NULL;
    if (!report)
        return error_set_memory(error);
    report->source = source;
    report->query = *query;
    report->is_first = true;
    result = report_own_texts(report, error);
    if (result == 0 && query->kind == REPORT_WHY)
        result = why_create(&report->why, report, error);
    if (result != 0) {
        report_free(report);
        return result;
    }
    *begun = report;
    return 0;
}

int report_work(struct report *report, struct buffer *out, bool *more, struct error *error)
{
    int result = 0;

    report->out = out;
    switch (report->query.kind) {
    case REPORT_LOG:
        result = report_work_log(report, more, error);
        break;
    case REPORT_CHURN:
        result = report_work_churn(report, more, error);
        break;
    case REPORT_WHY:
        *more = why_write(report->why, report);
        break;
    }
    if (result == 0 && buffer_failed(out))
        result = error_set_memory(error);
    return result;
}

size_t report_bytes(const struct report *report)
{
    return report ? sizeof *report + why_bytes(report->why) : 0;
}

void report_free(struct report *report)
{
    if (!report)
        return;
    why_free(report->why);
    free(report->owned);
    free(report);
}

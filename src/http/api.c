/* SPDX-License-Identifier: MIT */
/* The answers in JSON: doc/http.md describes them. */
#include "http/http.h"
#include "store/scan.h"

#include "base/clock.h"
#include "revision/revision.h"
#include "wire/codec.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_MS 200 /* how long an answer to get-stats is given again */
#define READ_MS 900
#define DEFAULT_PACKAGES 50
#define MOST_PACKAGES 200
#define DEFAULT_REVISIONS 1000
#define MOST_REVISIONS 10000
#define MOST_ROWS 10000 /* of a package that are looked at */
#define DEFAULT_ENTRIES 100
#define MOST_ENTRIES 1000

/* ---- status ---- */

/* An answer is given again for a moment: each one takes time of the loop. */
void api_status(struct http *http, struct http_exchange *exchange)
{
    const struct http_source *source = &http->source;
    struct error error;
    int result = 0;

    answer_begin(&exchange->answer, 200, ANSWER_JSON);
    if (http->status_ms == 0 || clock_ms() - http->status_ms >= STATUS_MS) {
        buffer_reset(&http->status, BUFFER_KEEP_BYTES);
        result = source->write_status(source->context, &http->status, &error);
        http->status_ms = result == 0 ? clock_ms() : 0;
    }
    if (result != 0) {
        answer_set_failure(&exchange->answer, result, &error);
        return;
    }
    buffer_append_text(&exchange->answer.body, buffer_text(&http->status));
    buffer_append_string(&exchange->answer.body, "\n");
}

/* ---- packages ---- */

/* A page of packages that is being written. */
struct page {
    const struct reports *reports;
    uint64_t deadline_ms;
    struct buffer *out;
    struct buffer key; /* of the last package */
    unsigned n_packages;
};

static void api_append_text(struct buffer *out, const char *name, struct text text)
{
    buffer_append_string(out, name);
    if (text.bytes)
        codec_write_string(out, text);
    else
        buffer_append_string(out, "null");
}

static void api_append_last_assigned(struct page *page, const struct store_package *package)
{
    struct error ignored;

    buffer_append_string(page->out, ",\"last_assigned\":");
    if (!page->reports || page->reports->last_assigned(page->reports->context, package->version,
                              package->pkgarch, page->deadline_ms, page->out, &ignored) != 0)
        buffer_append_string(page->out, "null");
}

/* A key names a package: "LENGTH:VERSIONPKGARCH", where LENGTH is that of VERSION in bytes. */
static void api_set_key(struct page *page, const struct store_package *package)
{
    buffer_reset(&page->key, BUFFER_KEEP_BYTES);
    buffer_append_format(&page->key, "%zu:", package->version.length);
    buffer_append_text(&page->key, package->version);
    buffer_append_text(&page->key, package->pkgarch);
}

static int api_read_key(struct text key, struct store_search *search, struct error *error)
{
    size_t length = 0;
    size_t at = 0;

    while (at < key.length && at < 9 && key.bytes[at] >= '0' && key.bytes[at] <= '9')
        length = length * 10 + (size_t)(key.bytes[at++] - '0');
    if (at == 0 || at == key.length || key.bytes[at] != ':' || length > key.length - at - 1)
        return error_set(error, ERROR_INPUT, "after is not a key of an earlier page (next)");
    search->has_after = true;
    search->version = (struct text){.bytes = key.bytes + at + 1, .length = length};
    search->pkgarch = text_from(key, at + 1 + length);
    return text_is_utf8(search->version)
               ? 0
               : error_set(error, ERROR_INPUT, "after is not a key of an earlier page (next)");
}

static int api_append_package(void *context, const struct store_package *package)
{
    struct page *page = context;
    struct buffer *out = page->out;

    api_append_text(
        out, page->n_packages > 0 ? ",{\"version\":" : "{\"version\":", package->version);
    api_append_text(out, ",\"pkgarch\":", package->pkgarch);
    api_append_text(out, ",\"greatest\":", package->greatest);
    buffer_append_format(out, ",\"contents\":%" PRIu64 ",\"complete\":%s", package->n_contents,
        package->is_complete ? "true" : "false");
    api_append_last_assigned(page, package);
    buffer_append_string(out, "}");
    api_set_key(page, package);
    page->n_packages++;
    return buffer_failed(out) || buffer_failed(&page->key);
}

static int api_search(
    struct http *http, const struct store_search *search, struct page *page, struct error *error)
{
    struct text next = {.bytes = NULL};
    bool is_end = true;
    int result = worker_begin_read(http, error);

    if (result == 0)
        result = store_search(http->store, search, api_append_package, page, &is_end, error);
    worker_end_read(http);
    if (result != 0)
        return result;
    if (!is_end)
        next = buffer_text(&page->key);
    api_append_text(page->out, "],\"next\":", next);
    buffer_append_string(page->out, "}\n");
    return 0;
}

void api_packages(struct http *http, struct http_exchange *exchange)
{
    const struct query *query = &exchange->query;
    const struct text after = query_find(query, "after");
    struct store_search search = {
        .prefix = text_not_null(query_find(query, "search")), .limit = DEFAULT_PACKAGES};
    struct page page = {.reports = http->source.reports,
        .deadline_ms = clock_ms() + READ_MS,
        .out = &exchange->answer.body};
    struct error error;
    int result = query_read_number(query, "limit", MOST_PACKAGES, &search.limit, &error);

    answer_begin(&exchange->answer, 200, ANSWER_JSON);
    buffer_append_string(page.out, "{\"packages\":[");
    if (result == 0 && after.bytes)
        result = api_read_key(after, &search, &error);
    if (result == 0)
        result = api_search(http, &search, &page, &error);
    buffer_free(&page.key);
    if (result != 0)
        answer_set_failure(&exchange->answer, result, &error);
}

/* ---- one package ---- */

struct api_revision {
    char *value; /* owned, with the checksum behind it */
    struct text checksum;
};

/* The rows of a package. */
struct api_revisions {
    struct api_revision *all;
    size_t n;
    size_t n_allocated;
    bool is_complete;
};

static int api_compare(const void *a, const void *b)
{
    const struct api_revision *first = a;
    const struct api_revision *second = b;

    return revision_compare(second->value, first->value);
}

static int api_add_revision(
    struct api_revisions *revisions, const struct row *row, struct error *error)
{
    struct api_revision *added;

    if (revisions->n == revisions->n_allocated) {
        const size_t n = revisions->n_allocated > 0 ? revisions->n_allocated * 2 : 64;
        struct api_revision *all = realloc(revisions->all, n * sizeof *all);

        if (!all)
            return error_set_memory(error);
        revisions->all = all;
        revisions->n_allocated = n;
    }
    added = &revisions->all[revisions->n];
    added->value = malloc(row->value.length + 1 + row->checksum.length);
    if (!added->value)
        return error_set_memory(error);
    memcpy(added->value, row->value.bytes, row->value.length);
    added->value[row->value.length] = '\0';
    memcpy(added->value + row->value.length + 1, row->checksum.bytes, row->checksum.length);
    added->checksum = (struct text){
        .bytes = added->value + row->value.length + 1, .length = row->checksum.length};
    revisions->n++;
    return 0;
}

static void api_free_revisions(struct api_revisions *revisions)
{
    for (size_t i = 0; i < revisions->n; i++)
        free(revisions->all[i].value);
    free(revisions->all);
}

/* Reads the rows of a package that hold revisions, at most MOST_ROWS, inside a transaction. */
static int api_read_revisions(struct http *http, const struct store_filter *filter,
    struct api_revisions *revisions, struct error *error)
{
    int result = store_scan_begin(http->store, filter, error);
    struct row row;

    while (result == 0 && (result = store_scan_next(http->store, &row, error)) == 1) {
        if (revisions->n == MOST_ROWS)
            return 0;
        result = row.value.bytes && revision_is_valid(row.value.bytes, row.value.length)
                     ? api_add_revision(revisions, &row, error)
                     : 0;
    }
    revisions->is_complete = result == 0;
    return result;
}

static void api_append_revisions(
    struct buffer *out, const struct api_revisions *revisions, unsigned limit)
{
    buffer_append_string(out, ",\"revisions\":[");
    for (size_t i = 0; i < revisions->n && i < limit; i++) {
        const struct api_revision *revision = &revisions->all[i];

        api_append_text(
            out, i > 0 ? ",{\"revision\":" : "{\"revision\":", text_of(revision->value));
        api_append_text(out, ",\"checksum\":", revision->checksum);
        buffer_append_string(out, "}");
    }
    buffer_append_format(out, "],\"rows\":%zu,\"complete\":%s", revisions->n,
        revisions->is_complete && revisions->n <= limit ? "true" : "false");
}

static int api_take_greatest(void *context, const struct store_package *package)
{
    api_append_text(context, ",\"greatest\":", package->greatest);
    return 1;
}

/* Appends the greatest revision, which the database may know without reading all rows. Before the
 * rows are read: a connection to PostgreSQL does one thing at a time. */
static int api_append_greatest(
    struct http *http, const struct store_filter *filter, struct buffer *out, struct error *error)
{
    const struct store_search search = {
        .is_one = true, .version = filter->version, .pkgarch = filter->pkgarch, .limit = 1};
    const size_t before = out->length;
    bool is_end;
    int result = store_search(http->store, &search, api_take_greatest, out, &is_end, error);

    if (out->length == before)
        buffer_append_string(out, ",\"greatest\":null");
    return result;
}

static void api_append_why(struct http *http, const struct store_filter *filter, struct buffer *out)
{
    const struct reports *reports = http->source.reports;
    struct error ignored;

    buffer_append_string(out, ",\"why\":");
    if (!reports || reports->why(reports->context, filter->version, filter->pkgarch,
                        clock_ms() + READ_MS, out, &ignored) != 0)
        buffer_append_string(out, "null");
}

/* Appends what the upstream has; its failure is part of the answer. */
static void api_append_upstream(
    struct http *http, const struct store_filter *filter, struct buffer *out)
{
    const struct http_source *source = &http->source;
    struct buffer greatest = {.length = 0};
    struct error error;
    int result;

    if (!source->find_upstream_greatest) {
        buffer_append_string(out, ",\"upstream\":null");
        return;
    }
    result = source->find_upstream_greatest(
        source->context, filter->version, filter->pkgarch, &greatest, &error);
    if (result == 0 && greatest.length > 0)
        api_append_text(out, ",\"upstream\":{\"greatest\":", buffer_text(&greatest));
    else
        buffer_append_string(out, ",\"upstream\":{\"greatest\":null");
    if (result != 0)
        api_append_text(out, ",\"error\":", text_of(error.text));
    buffer_append_string(out, "}");
    buffer_free(&greatest);
}

static int api_append_one(struct http *http, const struct store_filter *filter, unsigned limit,
    struct buffer *out, struct error *error)
{
    struct api_revisions revisions = {.n = 0};
    int result = worker_begin_read(http, error);

    if (result == 0) {
        result = api_append_greatest(http, filter, out, error);
        if (result == 0)
            result = api_read_revisions(http, filter, &revisions, error);
        if (result == 0 && revisions.n > 0)
            qsort(revisions.all, revisions.n, sizeof *revisions.all, api_compare);
        worker_end_read(http);
    }
    if (result == 0)
        api_append_revisions(out, &revisions, limit);
    api_free_revisions(&revisions);
    return result;
}

void api_package(struct http *http, struct http_exchange *exchange)
{
    const struct query *query = &exchange->query;
    const struct store_filter filter = {
        .version = query_find(query, "version"), .pkgarch = query_find(query, "pkgarch")};
    struct buffer *out = &exchange->answer.body;
    unsigned limit = DEFAULT_REVISIONS;
    struct error error;
    int result = query_read_number(query, "limit", MOST_REVISIONS, &limit, &error);

    if (result == 0 && (filter.version.length == 0 || filter.pkgarch.length == 0))
        result = error_set(&error, ERROR_INPUT, "version and pkgarch are needed");
    answer_begin(&exchange->answer, 200, ANSWER_JSON);
    api_append_text(out, "{\"version\":", filter.version);
    api_append_text(out, ",\"pkgarch\":", filter.pkgarch);
    if (result == 0)
        result = api_append_one(http, &filter, limit, out, &error);
    if (result != 0) {
        answer_set_failure(&exchange->answer, result, &error);
        return;
    }
    api_append_upstream(http, &filter, out);
    api_append_why(http, &filter, out);
    buffer_append_string(out, "}\n");
}

/* ---- the audit log ---- */

/* Answers with a report, or with 501 if the server keeps no audit log. */
static void api_report(struct http *http, struct http_exchange *exchange,
    int (*report)(void *context, struct text since, unsigned limit, uint64_t deadline_ms,
        struct buffer *out, struct error *error))
{
    unsigned limit = DEFAULT_ENTRIES;
    struct error error;
    int result;

    if (!report) {
        answer_set_error(&exchange->answer, 501, "this server has no audit log");
        return;
    }
    answer_begin(&exchange->answer, 200, ANSWER_JSON);
    result = query_read_number(&exchange->query, "limit", MOST_ENTRIES, &limit, &error);
    if (result == 0)
        result = report(http->source.reports->context, query_find(&exchange->query, "since"), limit,
            clock_ms() + READ_MS, &exchange->answer.body, &error);
    if (result != 0)
        answer_set_failure(&exchange->answer, result, &error);
}

void api_log(struct http *http, struct http_exchange *exchange)
{
    api_report(http, exchange, http->source.reports ? http->source.reports->log : NULL);
}

void api_churn(struct http *http, struct http_exchange *exchange)
{
    api_report(http, exchange, http->source.reports ? http->source.reports->churn : NULL);
}

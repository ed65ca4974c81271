/* SPDX-License-Identifier: MIT */
#include "server/audit_reports.h"

#include "audit/report.h"
#include "base/clock.h"
#include "store/audit_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_MS 500 /* for a lock on the audit log */
#define TIME_BYTES 40
#define MOST_SECONDS (INT64_MAX / 1000000)

struct audit_reports {
    struct reports functions;
    struct report_source *source;
    struct audit_store *store; /* for last_assigned */
};

/* ---- times ---- */

/* Reads the fraction of a second behind its dot. Returns what follows it. */
static const char *audit_reports_read_fraction(const char *at, int64_t *us)
{
    int64_t unit = 100000;

    for (*us = 0; *at >= '0' && *at <= '9'; at++, unit /= 10)
        *us += (*at - '0') * unit;
    return at;
}

/* Reads seconds since 1970, or a time of RFC 3339 in UTC, such as 2026-11-29T18:30:00.5Z. */
static int audit_reports_read_since(struct text since, int64_t *us, struct error *error)
{
    struct tm when = {.tm_isdst = 0};
    char string[TIME_BYTES];
    const char *end;
    int64_t fraction = 0;

    *us = 0;
    if (!since.bytes)
        return 0;
    if (since.length >= sizeof string)
        goto refuse;
    (void)snprintf(string, sizeof string, "%.*s", (int)since.length, since.bytes);
    if (string[0] != '\0' && strspn(string, "0123456789") == since.length && since.length < 13) {
        *us = strtoll(string, NULL, 10) * 1000000;
        return 0;
    }
    end = strptime(string, "%Y-%m-%dT%H:%M:%S", &when);
    if (end && *end == '.')
        end = audit_reports_read_fraction(end + 1, &fraction);
    if (end && strcmp(end, "Z") == 0 && since.length == strlen(string)) {
        *us = (int64_t)timegm(&when) * 1000000 + fraction;
        *us = *us > 0 ? *us : 1;
        return 0;
    }
refuse:
    return error_set(error, ERROR_INPUT,
        "since is not a time such as 2026-11-29T18:30:00Z, nor seconds since 1970");
}

/* ---- reports ---- */

static int audit_reports_run(struct audit_reports *reports, const struct report_query *query,
    uint64_t deadline_ms, struct buffer *out, struct error *error)
{
    struct buffer piece = {.length = 0};
    struct report *report;
    bool more = true;
    int result = report_begin(&report, reports->source, query, error);

    while (result == 0 && more) {
        buffer_reset(&piece, BUFFER_KEEP_BYTES);
        result = report_work(report, &piece, &more, error);
        if (result == 0)
            buffer_append_text(out, buffer_text(&piece));
        if (result == 0 && more && clock_ms() > deadline_ms)
            result = error_set(error, ERROR_LOCKED, "the audit log takes too long to read");
    }
    buffer_free(&piece);
    report_free(report);
    return result;
}

static int audit_reports_log(void *context, struct text since, unsigned limit, uint64_t deadline_ms,
    struct buffer *out, struct error *error)
{
    struct report_query query = {
        .kind = REPORT_LOG, .after = -1, .limit = limit, .shows_peers = true};
    int result = audit_reports_read_since(since, &query.since_us, error);

    return result != 0 ? result : audit_reports_run(context, &query, deadline_ms, out, error);
}

static int audit_reports_churn(void *context, struct text since, unsigned limit,
    uint64_t deadline_ms, struct buffer *out, struct error *error)
{
    struct report_query query = {.kind = REPORT_CHURN, .limit = limit};
    int result = audit_reports_read_since(since, &query.since_us, error);

    return result != 0 ? result : audit_reports_run(context, &query, deadline_ms, out, error);
}

static int audit_reports_why(void *context, struct text version, struct text pkgarch,
    uint64_t deadline_ms, struct buffer *out, struct error *error)
{
    const struct report_query query = {
        .kind = REPORT_WHY, .version = version, .pkgarch = pkgarch, .shows_peers = true};

    return audit_reports_run(context, &query, deadline_ms, out, error);
}

/* Takes the time of the newest record. */
static int audit_reports_take_time(void *context, const struct audit_revision *record)
{
    int64_t *time_us = context;

    *time_us = record->time_us;
    return 1;
}

static int audit_reports_last_assigned(void *context, struct text version, struct text pkgarch,
    uint64_t deadline_ms, struct buffer *out, struct error *error)
{
    struct audit_reports *reports = context;
    const struct audit_query query = {
        .version = version, .pkgarch = pkgarch, .after = -1, .limit = 1};
    int64_t time_us = 0;
    struct tm when;
    time_t seconds;
    char string[TIME_BYTES];
    int result;

    if (clock_ms() > deadline_ms)
        return error_set(error, ERROR_LOCKED, "the audit log takes too long to read");
    result = audit_store_read_log(reports->store, &query, audit_reports_take_time, &time_us, error);
    if (result != 0)
        return result;
    seconds = (time_t)(time_us / 1000000);
    if (time_us <= 0 || !gmtime_r(&seconds, &when) ||
        strftime(string, sizeof string, "%Y-%m-%dT%H:%M:%S", &when) == 0)
        buffer_append_string(out, "null");
    else
        buffer_append_format(out, "\"%s.%06dZ\"", string, (int)(time_us % 1000000));
    return 0;
}

/* ---- start and end ---- */

int audit_reports_create(
    struct audit_reports **created, const struct store_options *options, struct error *error)
{
    const struct audit_store_options audit_options = {
        .file = options->file, .wait_ms = WAIT_MS, .log = options->log};
    struct audit_reports *reports = calloc(1, sizeof *reports);
    int result;

    *created = NULL;
    if (!reports)
        return error_set_memory(error);
    reports->functions = (struct reports){.context = reports,
        .log = audit_reports_log,
        .churn = audit_reports_churn,
        .why = audit_reports_why,
        .last_assigned = audit_reports_last_assigned};
    result = report_source_create(&reports->source, options, error);
    if (result == 0)
        result = audit_store_open(&reports->store, &audit_options, error);
    if (result != 0) {
        audit_reports_free(reports);
        return result;
    }
    *created = reports;
    return 0;
}

const struct reports *audit_reports_functions(const struct audit_reports *reports)
{
    return &reports->functions;
}

void audit_reports_free(struct audit_reports *reports)
{
    if (!reports)
        return;
    audit_store_close(reports->store);
    report_source_free(reports->source);
    free(reports);
}

/* SPDX-License-Identifier: MIT */
/* Reads from the audit log. Each function is one short statement: while it runs, nobody can commit.
 */
#include "store/sqlite/audit.h"

/* Enters for reading. Returns 1 if there is something to read, 0 if there is no audit log. */
static int audit_read_enter(struct sqlite_audit *audit, enum sqlite_audit_statement which,
    sqlite3_stmt **statement, struct error *error)
{
    int result = sqlite_audit_enter(audit, error);

    if (result != 0 || !audit->database)
        return result;
    *statement = sqlite_audit_statement(audit, which);
    return *statement ? 1 : sqlite_audit_fail(audit, sqlite3_errcode(audit->database), error);
}

static struct text audit_read_text(sqlite3_stmt *row, int column)
{
    const char *bytes = (const char *)sqlite3_column_text(row, column);

    return text_not_null(
        (struct text){.bytes = bytes, .length = (size_t)sqlite3_column_bytes(row, column)});
}

/* Ends a statement. code: what its last step returned. */
static int audit_read_end(
    struct sqlite_audit *audit, sqlite3_stmt *statement, int code, struct error *error)
{
    (void)sqlite3_reset(statement);
    if (code == SQLITE_DONE || code == SQLITE_ROW)
        return 0;
    return sqlite_audit_fail(audit, code, error);
}

int sqlite_audit_read_last(struct audit_store *store, int64_t *id, struct error *error)
{
    struct sqlite_audit *audit = (struct sqlite_audit *)store;
    sqlite3_stmt *row = NULL;
    int result = audit_read_enter(audit, AUDIT_READ_LAST, &row, error);
    int code;

    *id = 0;
    if (result <= 0)
        return result;
    code = sqlite3_step(row);
    if (code == SQLITE_ROW)
        *id = sqlite3_column_int64(row, 0);
    return audit_read_end(audit, row, code, error);
}

/* ---- the log ---- */

static enum audit_request audit_read_request(int number)
{
    return number >= 0 && number < AUDIT_REQUESTS ? (enum audit_request)number : AUDIT_GET_PR;
}

static void audit_read_revision(sqlite3_stmt *row, struct audit_revision *revision)
{
    *revision = (struct audit_revision){
        .id = sqlite3_column_int64(row, 0),
        .time_us = sqlite3_column_int64(row, 1),
        .version = audit_read_text(row, 2),
        .pkgarch = audit_read_text(row, 3),
        .checksum = audit_read_text(row, 4),
        .value = audit_read_text(row, 5),
        .request = audit_read_request(sqlite3_column_int(row, 6)),
        .is_return = sqlite3_column_int(row, 7) != 0,
        .peer = audit_read_text(row, 8),
        .annotations = audit_read_text(row, 9),
        .rights = audit_read_text(row, 10),
    };
}

static enum sqlite_audit_statement audit_read_which(const struct audit_query *query)
{
    if (query->version.bytes)
        return query->after >= 0 ? AUDIT_READ_VERSION_AFTER : AUDIT_READ_VERSION_NEWEST;
    return query->after >= 0 ? AUDIT_READ_AFTER : AUDIT_READ_NEWEST;
}

static void audit_read_bind(sqlite3_stmt *statement, const struct audit_query *query)
{
    const int64_t before = query->before > 0 ? query->before : INT64_MAX;

    (void)sqlite3_bind_int64(statement, 1, query->after >= 0 ? query->after : before);
    (void)sqlite3_bind_int64(statement, 2, query->limit);
    if (!query->version.bytes)
        return;
    (void)sqlite_audit_bind(statement, 3, query->version);
    if (query->pkgarch.bytes)
        (void)sqlite_audit_bind(statement, 4, query->pkgarch);
    else
        (void)sqlite3_bind_null(statement, 4);
}

int sqlite_audit_read_log(struct audit_store *store, const struct audit_query *query,
    audit_revision_fn fn, void *context, struct error *error)
{
    struct sqlite_audit *audit = (struct sqlite_audit *)store;
    sqlite3_stmt *row = NULL;
    int result = audit_read_enter(audit, audit_read_which(query), &row, error);
    int code;

    if (result <= 0)
        return result;
    audit_read_bind(row, query);
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        struct audit_revision revision;

        audit_read_revision(row, &revision);
        if (revision.time_us < query->since_us && query->after < 0)
            break; /* all others are older, about */
        if (revision.time_us >= query->since_us && fn(context, &revision) != 0)
            break;
    }
    return audit_read_end(audit, row, code, error);
}

/* ---- contents and packages ---- */

int sqlite_audit_read_uses(struct audit_store *store, struct text version, struct text pkgarch,
    unsigned limit, audit_use_fn fn, void *context, struct error *error)
{
    struct sqlite_audit *audit = (struct sqlite_audit *)store;
    sqlite3_stmt *row = NULL;
    int result = audit_read_enter(audit, AUDIT_READ_USES, &row, error);
    int code;

    if (result <= 0)
        return result;
    (void)sqlite_audit_bind(row, 1, version);
    (void)sqlite_audit_bind(row, 2, pkgarch);
    (void)sqlite3_bind_int64(row, 3, limit);
    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        const struct audit_use use = {
            .version = version,
            .pkgarch = pkgarch,
            .checksum = audit_read_text(row, 0),
            .last_us = sqlite3_column_int64(row, 1),
            .count = (uint64_t)sqlite3_column_int64(row, 2),
        };

        if (fn(context, &use) != 0)
            break;
    }
    return audit_read_end(audit, row, code, error);
}

/* Finds the record behind which the newest AUDIT_CHURN_RECORDS begin, and sets from_us. */
static int audit_read_from(
    struct sqlite_audit *audit, struct audit_churn *churn, int64_t *after, struct error *error)
{
    sqlite3_stmt *row = NULL;
    int64_t last;
    int result = sqlite_audit_read_last(&audit->base, &last, error);
    int code;

    churn->from_us = churn->since_us;
    *after = last > AUDIT_CHURN_RECORDS ? last - AUDIT_CHURN_RECORDS : 0;
    if (result == 0)
        result = audit_read_enter(audit, AUDIT_READ_FROM, &row, error);
    if (result <= 0 || *after == 0)
        return result < 0 ? result : 0;
    (void)sqlite3_bind_int64(row, 1, *after);
    code = sqlite3_step(row);
    if (code == SQLITE_ROW && sqlite3_column_int64(row, 0) > churn->from_us)
        churn->from_us = sqlite3_column_int64(row, 0);
    return audit_read_end(audit, row, code, error);
}

static enum sqlite_audit_statement audit_read_which_churn(const struct audit_churn *churn)
{
    if (churn->since_us > 0)
        return churn->by_returns ? AUDIT_READ_NEW_BY_RETURNS : AUDIT_READ_NEW_BY_REVISIONS;
    return churn->by_returns ? AUDIT_READ_BY_RETURNS : AUDIT_READ_BY_REVISIONS;
}

/* Hands on the packages that a statement finds. */
static int audit_read_packages(struct sqlite_audit *audit, sqlite3_stmt *row, audit_package_fn fn,
    void *context, struct error *error)
{
    int code;

    while ((code = sqlite3_step(row)) == SQLITE_ROW) {
        const struct audit_package package = {
            .version = audit_read_text(row, 0),
            .pkgarch = audit_read_text(row, 1),
            .n_revisions = (uint64_t)sqlite3_column_int64(row, 2),
            .n_returns = (uint64_t)sqlite3_column_int64(row, 3),
            .last_us = sqlite3_column_int64(row, 4),
        };

        if (fn(context, &package) != 0)
            break;
    }
    return audit_read_end(audit, row, code, error);
}

int sqlite_audit_read_packages(struct audit_store *store, struct audit_churn *churn,
    audit_package_fn fn, void *context, struct error *error)
{
    struct sqlite_audit *audit = (struct sqlite_audit *)store;
    sqlite3_stmt *row = NULL;
    int64_t after = 0;
    int result = churn->since_us > 0 ? audit_read_from(audit, churn, &after, error) : 0;

    if (result == 0)
        result = audit_read_enter(audit, audit_read_which_churn(churn), &row, error);
    if (result <= 0)
        return result;
    if (churn->since_us > 0) {
        (void)sqlite3_bind_int64(row, 1, after);
        (void)sqlite3_bind_int64(row, 2, churn->since_us);
    }
    (void)sqlite3_bind_int64(row, churn->since_us > 0 ? 3 : 1, churn->limit);
    return audit_read_packages(audit, row, fn, context, error);
}

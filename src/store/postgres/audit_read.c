/* SPDX-License-Identifier: MIT */
/* Reads the audit log on PostgreSQL. Rows are taken one by one from the connection. */
#include "store/postgres/audit.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_statements.inc"

#define MOST_PARAMETERS 4
#define SQL_BYTES 1200
#define RETURN_BIT 16

/* The parameters of a query, as text or bytes. */
struct audit_parameters {
    const char *values[MOST_PARAMETERS];
    int lengths[MOST_PARAMETERS];
    int formats[MOST_PARAMETERS]; /* 1: bytes */
    char numbers[MOST_PARAMETERS][24];
    int n;
};

static void audit_parameters_add_number(struct audit_parameters *parameters, int64_t number)
{
    const int i = parameters->n++;

    (void)snprintf(parameters->numbers[i], sizeof parameters->numbers[i], "%" PRId64, number);
    parameters->values[i] = parameters->numbers[i];
    parameters->formats[i] = 0;
}

static void audit_parameters_add_bytes(struct audit_parameters *parameters, struct text bytes)
{
    const int i = parameters->n++;

    parameters->values[i] = bytes.bytes;
    parameters->lengths[i] = (int)bytes.length;
    parameters->formats[i] = 1;
}

/* Called with a reply of one row. Returns 0 to go on. */
typedef int (*audit_row_fn)(void *context, const PGresult *row);

/* Runs a query and hands on its rows. The rows after the last one that is wanted are discarded. */
static int audit_read_query(struct postgres_audit *audit, const char *sql,
    const struct audit_parameters *parameters, audit_row_fn fn, void *context, struct error *error)
{
    bool is_wanted = true;
    PGresult *reply;
    int result = 0;

    if (PQsendQueryParams(audit->conn.connection, sql, parameters->n, NULL, parameters->values,
            parameters->lengths, parameters->formats, 1) != 1 ||
        PQsetSingleRowMode(audit->conn.connection) != 1)
        return postgres_lost(&audit->conn, error);
    while (result == 0 && (result = postgres_next(&audit->conn, &reply, error)) == 0 && reply) {
        result = postgres_check(&audit->conn, reply, error);
        if (result == 0 && is_wanted && PQntuples(reply) == 1)
            is_wanted = fn(context, reply) == 0;
        PQclear(reply);
    }
    return postgres_audit_fail(audit, result);
}

/* ---- the log ---- */

static int audit_read_take_number(void *context, const PGresult *row)
{
    *(int64_t *)context = postgres_get_int8(row, 0, 0);
    return 0;
}

int postgres_audit_read_last(struct audit_store *store, int64_t *id, struct error *error)
{
    struct postgres_audit *audit = (struct postgres_audit *)store;
    const struct audit_parameters none = {.n = 0};
    int result = postgres_audit_enter(audit, error);

    *id = 0;
    if (result != 0 || !audit->has_tables)
        return result;
    return audit_read_query(
        audit, postgres_sql_audit_last, &none, audit_read_take_number, id, error);
}

struct audit_reading {
    const struct audit_query *query;
    audit_revision_fn fn;
    void *context;
};

static int audit_read_take_revision(void *context, const PGresult *row)
{
    const struct audit_reading *reading = context;
    const int64_t request = postgres_get_int8(row, 0, 6);
    const struct audit_revision revision = {
        .id = postgres_get_int8(row, 0, 0),
        .time_us = postgres_get_int8(row, 0, 1),
        .version = text_not_null(postgres_get_text(row, 0, 2)),
        .pkgarch = text_not_null(postgres_get_text(row, 0, 3)),
        .checksum = text_not_null(postgres_get_text(row, 0, 4)),
        .value = text_not_null(postgres_get_text(row, 0, 5)),
        .request = (enum audit_request)((request & (RETURN_BIT - 1)) % AUDIT_REQUESTS),
        .is_return = (request & RETURN_BIT) != 0,
        .peer = text_not_null(postgres_get_text(row, 0, 7)),
        .annotations = text_not_null(postgres_get_text(row, 0, 8)),
        .rights = text_not_null(postgres_get_text(row, 0, 9)),
    };

    if (revision.time_us < reading->query->since_us)
        return reading->query->after < 0; /* all others are older, about */
    return reading->fn(reading->context, &revision);
}

/* Returns what narrows the records down to the packages of a query. */
static const char *audit_read_condition(const struct audit_query *query)
{
    if (!query->version.bytes)
        return "";
    if (query->pkgarch.bytes)
        return " AND a.package = (SELECT id FROM prserv_package WHERE key = $3::bytea)";
    return " AND a.package IN (SELECT id FROM prserv_package WHERE version = $3::text)";
}

int postgres_audit_read_log(struct audit_store *store, const struct audit_query *query,
    audit_revision_fn fn, void *context, struct error *error)
{
    struct postgres_audit *audit = (struct postgres_audit *)store;
    struct audit_reading reading = {.query = query, .fn = fn, .context = context};
    const bool is_forward = query->after >= 0;
    struct audit_parameters parameters = {.n = 0};
    unsigned char key[DIGEST_BYTES];
    char sql[SQL_BYTES];
    int result = postgres_audit_enter(audit, error);

    if (result != 0 || !audit->has_tables)
        return result;
    audit_parameters_add_number(&parameters, is_forward          ? query->after
                                             : query->before > 0 ? query->before
                                                                 : INT64_MAX);
    audit_parameters_add_number(&parameters, query->limit);
    if (query->version.bytes && query->pkgarch.bytes) {
        if (!postgres_hash_package(audit->digest, query->version, query->pkgarch, key))
            return error_set_memory(error);
        audit_parameters_add_bytes(&parameters, postgres_hash_text(key));
    } else if (query->version.bytes) {
        audit_parameters_add_bytes(&parameters, query->version);
    }
    (void)snprintf(sql, sizeof sql, "%s WHERE a.id %s $1::int8%s ORDER BY a.id%s LIMIT $2::int8",
        postgres_sql_audit_read, is_forward ? ">" : "<", audit_read_condition(query),
        is_forward ? "" : " DESC");
    return audit_read_query(audit, sql, &parameters, audit_read_take_revision, &reading, error);
}

/* ---- contents and packages ---- */

struct audit_use_reading {
    struct text version;
    struct text pkgarch;
    audit_use_fn fn;
    void *context;
};

static int audit_read_take_use(void *context, const PGresult *row)
{
    const struct audit_use_reading *reading = context;
    const struct audit_use use = {
        .version = reading->version,
        .pkgarch = reading->pkgarch,
        .checksum = text_not_null(postgres_get_text(row, 0, 0)),
        .last_us = postgres_get_int8(row, 0, 1),
        .count = (uint64_t)postgres_get_int8(row, 0, 2),
    };

    return reading->fn(reading->context, &use);
}

int postgres_audit_read_uses(struct audit_store *store, struct text version, struct text pkgarch,
    unsigned limit, audit_use_fn fn, void *context, struct error *error)
{
    struct postgres_audit *audit = (struct postgres_audit *)store;
    struct audit_use_reading reading = {version, pkgarch, fn, context};
    struct audit_parameters parameters = {.n = 0};
    unsigned char key[DIGEST_BYTES];
    int result = postgres_audit_enter(audit, error);

    if (result != 0 || !audit->has_tables)
        return result;
    if (!postgres_hash_package(audit->digest, version, pkgarch, key))
        return error_set_memory(error);
    audit_parameters_add_bytes(&parameters, postgres_hash_text(key));
    audit_parameters_add_number(&parameters, limit);
    return audit_read_query(
        audit, postgres_sql_audit_uses, &parameters, audit_read_take_use, &reading, error);
}

struct audit_package_reading {
    audit_package_fn fn;
    void *context;
};

static int audit_read_take_package(void *context, const PGresult *row)
{
    const struct audit_package_reading *reading = context;
    const struct text version = postgres_get_text(row, 0, 0);
    const struct text pkgarch = postgres_get_text(row, 0, 1);
    const struct audit_package package = {
        .version = text_not_null(version),
        .pkgarch = text_not_null(pkgarch),
        .n_revisions = (uint64_t)postgres_get_int8(row, 0, 2),
        .n_returns = (uint64_t)postgres_get_int8(row, 0, 3),
        .last_us = postgres_get_int8(row, 0, 4),
    };

    return reading->fn(reading->context, &package);
}

/* Finds the record behind which the newest AUDIT_CHURN_RECORDS begin, and sets from_us. */
static int audit_read_from(
    struct postgres_audit *audit, struct audit_churn *churn, int64_t *after, struct error *error)
{
    struct audit_parameters parameters = {.n = 0};
    int64_t last;
    int64_t from_us = 0;
    int result = postgres_audit_read_last(&audit->base, &last, error);

    churn->from_us = churn->since_us;
    *after = last > AUDIT_CHURN_RECORDS ? last - AUDIT_CHURN_RECORDS : 0;
    if (result != 0 || *after == 0)
        return result;
    audit_parameters_add_number(&parameters, *after);
    result = audit_read_query(
        audit, postgres_sql_audit_from, &parameters, audit_read_take_number, &from_us, error);
    if (from_us > churn->from_us)
        churn->from_us = from_us;
    return result;
}

int postgres_audit_read_packages(struct audit_store *store, struct audit_churn *churn,
    audit_package_fn fn, void *context, struct error *error)
{
    struct postgres_audit *audit = (struct postgres_audit *)store;
    struct audit_package_reading reading = {fn, context};
    struct audit_parameters parameters = {.n = 0};
    const char *sql =
        churn->by_returns ? postgres_sql_audit_by_returns : postgres_sql_audit_by_revisions;
    int64_t after = 0;
    int result = postgres_audit_enter(audit, error);

    if (result != 0 || !audit->has_tables)
        return result;
    audit_parameters_add_number(&parameters, churn->limit);
    if (churn->since_us > 0) {
        result = audit_read_from(audit, churn, &after, error);
        if (result != 0)
            return result;
        audit_parameters_add_number(&parameters, after);
        audit_parameters_add_number(&parameters, churn->since_us);
        sql = churn->by_returns ? postgres_sql_audit_new_by_returns
                                : postgres_sql_audit_new_by_revisions;
    }
    return audit_read_query(audit, sql, &parameters, audit_read_take_package, &reading, error);
}

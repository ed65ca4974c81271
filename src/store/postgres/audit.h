/* SPDX-License-Identifier: MIT */
/* The parts of the audit log on PostgreSQL that its files share. */
#ifndef PRSERVD_POSTGRES_AUDIT_H
#define PRSERVD_POSTGRES_AUDIT_H

#include "store/audit_store.h"
#include "store/postgres/postgres.h"

struct postgres_audit {
    struct audit_store base;
    char *file;
    char name[POSTGRES_NAME_BYTES];
    bool writes;
    unsigned wait_ms;
    struct postgres_conn conn;        /* its connection is NULL while there is none */
    struct postgres_attempt *attempt; /* under way; NULL: none */
    bool has_tables;
    struct digest *digest;
    struct postgres_array arrays[8];
    int64_t expired_package; /* the packages up to this one were looked at */
    int64_t lock_key;        /* of the advisory lock that a batch holds; random */
    bool is_in_doubt;        /* the last batch may have been stored, though it failed */
};

/* Makes sure of a connection. Fails with ERROR_LOCKED, ERROR_STORE. For a reader, has_tables is
 * false afterwards if there is no audit log. */
ERROR_MUST_CHECK int postgres_audit_enter(struct postgres_audit *audit, struct error *error);

/* Closes the connection after an error; the next call opens another one. Returns result. */
int postgres_audit_fail(struct postgres_audit *audit, int result);

/* Prepares a connection (audit_store_open). */
ERROR_MUST_CHECK int postgres_audit_create(
    struct audit_store **store, const struct audit_store_options *options, struct error *error);

/* ---- audit_read.c ---- */

int postgres_audit_read_last(struct audit_store *store, int64_t *id, struct error *error);
int postgres_audit_read_log(struct audit_store *store, const struct audit_query *query,
    audit_revision_fn fn, void *context, struct error *error);
int postgres_audit_read_uses(struct audit_store *store, struct text version, struct text pkgarch,
    unsigned limit, audit_use_fn fn, void *context, struct error *error);
int postgres_audit_read_packages(struct audit_store *store, struct audit_churn *churn,
    audit_package_fn fn, void *context, struct error *error);

#endif

/* SPDX-License-Identifier: MIT */
/* The parts of the audit log in SQLite that its files share. */
#ifndef PRSERVD_SQLITE_AUDIT_H
#define PRSERVD_SQLITE_AUDIT_H

#include "store/audit_store.h"

#include <limits.h>
#include <sqlite3.h>
#include <sys/stat.h>

enum sqlite_audit_statement {
    AUDIT_BEGIN,
    AUDIT_COMMIT,
    AUDIT_ROLLBACK,
    /* writing */
    AUDIT_FIND_PACKAGE,
    AUDIT_ADD_PACKAGE,
    AUDIT_COUNT_PACKAGE,
    AUDIT_FIND_SOURCE,
    AUDIT_ADD_SOURCE,
    AUDIT_USE_SOURCE,
    AUDIT_ADD_REVISION,
    AUDIT_ADD_USE,
    /* removing what is old */
    AUDIT_OLD_REVISIONS,
    AUDIT_REMOVE_REVISION,
    AUDIT_NEXT_PACKAGES,
    AUDIT_REMOVE_USES,
    AUDIT_REMOVE_PACKAGE,
    AUDIT_REMOVE_SOURCES,
    /* reading */
    AUDIT_READ_LAST,
    AUDIT_READ_NEWEST,
    AUDIT_READ_AFTER,
    AUDIT_READ_VERSION_NEWEST,
    AUDIT_READ_VERSION_AFTER,
    AUDIT_READ_USES,
    AUDIT_READ_BY_REVISIONS,
    AUDIT_READ_BY_RETURNS,
    AUDIT_READ_NEW_BY_REVISIONS,
    AUDIT_READ_NEW_BY_RETURNS,
    AUDIT_READ_FROM,
    AUDIT_STATEMENTS
};

struct sqlite_audit {
    struct audit_store base;
    char file[PATH_MAX];
    bool writes;
    unsigned wait_ms;
    struct log *log;
    sqlite3 *database; /* NULL: not open */
    dev_t device;      /* of the file that is open */
    ino_t inode;
    sqlite3_stmt *statements[AUDIT_STATEMENTS]; /* NULL: not prepared yet */
    int64_t expired_package;                    /* the packages up to this one were looked at */
};

/* Prepares a connection (audit_store_open). */
ERROR_MUST_CHECK int sqlite_audit_create(
    struct audit_store **store, const struct audit_store_options *options, struct error *error);

/* Opens the audit log unless it is open and in its place. Fails with ERROR_STORE, ERROR_LOCKED. For
 * a reader, the database is NULL afterwards if there is no audit log. */
ERROR_MUST_CHECK int sqlite_audit_enter(struct sqlite_audit *audit, struct error *error);

/* Describes SQLite's result code. A transaction that is open is rolled back, and the connection
 * closed unless another process only holds a lock; a damaged file is put aside if this connection
 * writes. */
int sqlite_audit_fail(struct sqlite_audit *audit, int code, struct error *error);

/* Returns a statement, ready for its parameters, or NULL: sqlite3_errcode tells why. */
sqlite3_stmt *sqlite_audit_statement(struct sqlite_audit *audit, enum sqlite_audit_statement which);

/* Closes the connection; the next call opens it again. */
void sqlite_audit_disconnect(struct sqlite_audit *audit);

static inline int sqlite_audit_bind(sqlite3_stmt *statement, int at, struct text text)
{
    text = text_not_null(text);
    return sqlite3_bind_text64(statement, at, text.bytes, text.length, SQLITE_STATIC, SQLITE_UTF8);
}

/* ---- audit_write.c ---- */

int sqlite_audit_write(
    struct audit_store *store, const struct audit_batch *batch, struct error *error);
int sqlite_audit_expire(
    struct audit_store *store, int64_t before_us, unsigned most, bool *more, struct error *error);

/* ---- audit_read.c ---- */

int sqlite_audit_read_last(struct audit_store *store, int64_t *id, struct error *error);
int sqlite_audit_read_log(struct audit_store *store, const struct audit_query *query,
    audit_revision_fn fn, void *context, struct error *error);
int sqlite_audit_read_uses(struct audit_store *store, struct text version, struct text pkgarch,
    unsigned limit, audit_use_fn fn, void *context, struct error *error);
int sqlite_audit_read_packages(struct audit_store *store, struct audit_churn *churn,
    audit_package_fn fn, void *context, struct error *error);

#endif

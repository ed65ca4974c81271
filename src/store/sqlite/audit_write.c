/* SPDX-License-Identifier: MIT */
/* Writes records to the audit log, and removes old ones.
 *
 * A batch is one transaction. Records of one batch are often about few packages and from few
 * peers, so the last package and the last source are remembered. */
#include "store/sqlite/audit.h"

#define SOURCE_US ((int64_t)3600 * 1000000) /* a source's last_us is this exact */
#define PACKAGES_A_STEP 20                  /* whose contents are looked at */

/* A transaction. Functions return SQLite's result codes. */
struct audit_write {
    struct sqlite_audit *audit;
    struct text version; /* of the package; borrowed from the batch */
    struct text pkgarch;
    int64_t package;
    bool has_package;
};

/* Runs a statement whose parameters are bound. */
static int audit_write_run(struct audit_write *write, sqlite3_stmt *statement)
{
    int code = statement ? sqlite3_step(statement) : sqlite3_errcode(write->audit->database);

    (void)sqlite3_reset(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

/* Runs a statement of a transaction that has no parameters. */
static int audit_write_step(struct audit_write *write, enum sqlite_audit_statement which)
{
    return audit_write_run(write, sqlite_audit_statement(write->audit, which));
}

/* Runs a statement that finds an id; 0: none. *number: the next column. */
static int audit_write_find(
    struct audit_write *write, sqlite3_stmt *statement, int64_t *id, int64_t *number)
{
    int code = sqlite3_step(statement);

    *id = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    if (number)
        *number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 1) : 0;
    (void)sqlite3_reset(statement);
    (void)write;
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Finds the package, or adds it. */
static int audit_write_set_package(
    struct audit_write *write, struct text version, struct text pkgarch)
{
    struct sqlite_audit *audit = write->audit;
    sqlite3_stmt *statement;
    int code;

    if (write->has_package && text_equal(version, write->version) &&
        text_equal(pkgarch, write->pkgarch))
        return SQLITE_OK;
    write->has_package = false;
    statement = sqlite_audit_statement(audit, AUDIT_FIND_PACKAGE);
    if (!statement)
        return sqlite3_errcode(audit->database);
    (void)sqlite_audit_bind(statement, 1, version);
    (void)sqlite_audit_bind(statement, 2, pkgarch);
    code = audit_write_find(write, statement, &write->package, NULL);
    if (code == SQLITE_OK && write->package == 0) {
        statement = sqlite_audit_statement(audit, AUDIT_ADD_PACKAGE);
        if (statement) {
            (void)sqlite_audit_bind(statement, 1, version);
            (void)sqlite_audit_bind(statement, 2, pkgarch);
        }
        code = audit_write_run(write, statement);
        write->package = sqlite3_last_insert_rowid(audit->database);
    }
    write->version = version;
    write->pkgarch = pkgarch;
    write->has_package = code == SQLITE_OK;
    return code;
}

static int audit_write_add_source(
    struct audit_write *write, const struct audit_revision *revision, int64_t *id)
{
    sqlite3_stmt *statement = sqlite_audit_statement(write->audit, AUDIT_ADD_SOURCE);
    int code;

    if (statement) {
        (void)sqlite_audit_bind(statement, 1, revision->annotations);
        (void)sqlite_audit_bind(statement, 2, revision->peer);
        (void)sqlite_audit_bind(statement, 3, revision->rights);
        (void)sqlite3_bind_int64(statement, 4, revision->time_us);
    }
    code = audit_write_run(write, statement);
    *id = sqlite3_last_insert_rowid(write->audit->database);
    return code;
}

static int audit_write_find_source(
    struct audit_write *write, const struct audit_revision *revision, int64_t *id)
{
    sqlite3_stmt *statement = sqlite_audit_statement(write->audit, AUDIT_FIND_SOURCE);
    int64_t last_us;
    int code;

    if (!statement)
        return sqlite3_errcode(write->audit->database);
    (void)sqlite_audit_bind(statement, 1, revision->annotations);
    (void)sqlite_audit_bind(statement, 2, revision->peer);
    (void)sqlite_audit_bind(statement, 3, revision->rights);
    code = audit_write_find(write, statement, id, &last_us);
    if (code != SQLITE_OK || *id == 0)
        return code == SQLITE_OK ? audit_write_add_source(write, revision, id) : code;
    if (revision->time_us - last_us < SOURCE_US)
        return SQLITE_OK;
    statement = sqlite_audit_statement(write->audit, AUDIT_USE_SOURCE);
    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, revision->time_us);
        (void)sqlite3_bind_int64(statement, 2, *id);
    }
    return audit_write_run(write, statement);
}

static int audit_write_count_package(
    struct audit_write *write, int64_t n_revisions, int64_t n_returns, int64_t last_us)
{
    sqlite3_stmt *statement = sqlite_audit_statement(write->audit, AUDIT_COUNT_PACKAGE);

    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, write->package);
        (void)sqlite3_bind_int64(statement, 2, n_revisions);
        (void)sqlite3_bind_int64(statement, 3, n_returns);
        (void)sqlite3_bind_int64(statement, 4, last_us);
    }
    return audit_write_run(write, statement);
}

/* Returns whether a record is about a content, and counts as a revision of its package. */
static bool audit_write_is_counted(int request)
{
    return request != AUDIT_TAKEOVER && request != AUDIT_FLOOR;
}

static int audit_write_revision(struct audit_write *write, const struct audit_revision *revision)
{
    sqlite3_stmt *statement;
    int64_t source = 0;
    int code = audit_write_set_package(write, revision->version, revision->pkgarch);

    if (code == SQLITE_OK)
        code = audit_write_find_source(write, revision, &source);
    if (code != SQLITE_OK)
        return code;
    statement = sqlite_audit_statement(write->audit, AUDIT_ADD_REVISION);
    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, revision->time_us);
        (void)sqlite3_bind_int64(statement, 2, write->package);
        (void)sqlite_audit_bind(statement, 3, revision->checksum);
        (void)sqlite_audit_bind(statement, 4, revision->value);
        (void)sqlite3_bind_int(statement, 5, (int)revision->request);
        (void)sqlite3_bind_int(statement, 6, revision->is_return);
        (void)sqlite3_bind_int64(statement, 7, source);
    }
    code = audit_write_run(write, statement);
    if (code != SQLITE_OK || !audit_write_is_counted((int)revision->request))
        return code;
    return audit_write_count_package(write, 1, revision->is_return, revision->time_us);
}

static int audit_write_use(struct audit_write *write, const struct audit_use *use)
{
    sqlite3_stmt *statement;
    int code = audit_write_set_package(write, use->version, use->pkgarch);

    if (code != SQLITE_OK)
        return code;
    statement = sqlite_audit_statement(write->audit, AUDIT_ADD_USE);
    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, write->package);
        (void)sqlite_audit_bind(statement, 2, use->checksum);
        (void)sqlite3_bind_int64(statement, 3, use->last_us);
        (void)sqlite3_bind_int64(statement, 4, (int64_t)use->count);
    }
    return audit_write_run(write, statement);
}

int sqlite_audit_write(
    struct audit_store *store, const struct audit_batch *batch, struct error *error)
{
    struct sqlite_audit *audit = (struct sqlite_audit *)store;
    struct audit_write write = {.audit = audit};
    int code;

    if (sqlite_audit_enter(audit, error) != 0)
        return ERROR_STORE;
    code = audit_write_step(&write, AUDIT_BEGIN);
    for (size_t i = 0; i < batch->n_revisions && code == SQLITE_OK; i++)
        code = audit_write_revision(&write, &batch->revisions[i]);
    for (size_t i = 0; i < batch->n_uses && code == SQLITE_OK; i++)
        code = audit_write_use(&write, &batch->uses[i]);
    if (code == SQLITE_OK)
        code = audit_write_step(&write, AUDIT_COMMIT);
    return code == SQLITE_OK ? 0 : sqlite_audit_fail(audit, code, error);
}

/* ---- old records ---- */

/* Removes a record and counts it no more. */
static int audit_write_remove(struct audit_write *write, sqlite3_stmt *old)
{
    sqlite3_stmt *statement = sqlite_audit_statement(write->audit, AUDIT_REMOVE_REVISION);
    int code;

    write->package = sqlite3_column_int64(old, 2);
    if (statement)
        (void)sqlite3_bind_int64(statement, 1, sqlite3_column_int64(old, 0));
    code = audit_write_run(write, statement);
    if (code != SQLITE_OK || !audit_write_is_counted(sqlite3_column_int(old, 4)))
        return code;
    return audit_write_count_package(write, -1, -sqlite3_column_int64(old, 3), 0);
}

/* Removes the oldest records, in the order in which they were written. */
static int audit_write_expire_revisions(
    struct audit_write *write, int64_t before_us, unsigned most, bool *more)
{
    sqlite3_stmt *old = sqlite_audit_statement(write->audit, AUDIT_OLD_REVISIONS);
    int code = old ? sqlite3_bind_int64(old, 1, most) : sqlite3_errcode(write->audit->database);
    unsigned n = 0;

    while (code == SQLITE_OK && (code = sqlite3_step(old)) == SQLITE_ROW) {
        if (sqlite3_column_int64(old, 1) >= before_us) {
            code = SQLITE_DONE;
            break;
        }
        n++;
        code = audit_write_remove(write, old);
    }
    (void)sqlite3_reset(old);
    *more = n == most;
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int audit_write_run_with(
    struct audit_write *write, enum sqlite_audit_statement which, int64_t first, int64_t second)
{
    sqlite3_stmt *statement = sqlite_audit_statement(write->audit, which);

    if (statement) {
        (void)sqlite3_bind_int64(statement, 1, first);
        if (sqlite3_bind_parameter_count(statement) > 1)
            (void)sqlite3_bind_int64(statement, 2, second);
    }
    return audit_write_run(write, statement);
}

/* Removes the old contents of the next packages, in turn, and packages of which nothing is left. */
static int audit_write_expire_packages(struct audit_write *write, int64_t before_us)
{
    struct sqlite_audit *audit = write->audit;
    int64_t ids[PACKAGES_A_STEP];
    sqlite3_stmt *next = sqlite_audit_statement(audit, AUDIT_NEXT_PACKAGES);
    int code = next ? sqlite3_bind_int64(next, 1, audit->expired_package)
                    : sqlite3_errcode(audit->database);
    int n = 0;

    if (code == SQLITE_OK)
        code = sqlite3_bind_int(next, 2, PACKAGES_A_STEP);
    while (code == SQLITE_OK && (code = sqlite3_step(next)) == SQLITE_ROW) {
        ids[n++] = sqlite3_column_int64(next, 0);
        code = SQLITE_OK;
    }
    (void)sqlite3_reset(next);
    code = code == SQLITE_DONE ? SQLITE_OK : code;
    for (int i = 0; i < n && code == SQLITE_OK; i++) {
        code = audit_write_run_with(write, AUDIT_REMOVE_USES, ids[i], before_us);
        if (code == SQLITE_OK)
            code = audit_write_run_with(write, AUDIT_REMOVE_PACKAGE, ids[i], 0);
    }
    audit->expired_package = n == PACKAGES_A_STEP ? ids[n - 1] : 0;
    return code;
}

int sqlite_audit_expire(
    struct audit_store *store, int64_t before_us, unsigned most, bool *more, struct error *error)
{
    struct sqlite_audit *audit = (struct sqlite_audit *)store;
    struct audit_write write = {.audit = audit};
    int code;

    *more = false;
    if (sqlite_audit_enter(audit, error) != 0)
        return ERROR_STORE;
    code = audit_write_step(&write, AUDIT_BEGIN);
    if (code == SQLITE_OK)
        code = audit_write_expire_revisions(&write, before_us, most, more);
    if (code == SQLITE_OK)
        code = audit_write_expire_packages(&write, before_us);
    if (code == SQLITE_OK && !*more) /* a source is in use an hour longer than its last_us says */
        code = audit_write_run_with(&write, AUDIT_REMOVE_SOURCES, before_us - SOURCE_US, 0);
    if (code == SQLITE_OK)
        code = audit_write_step(&write, AUDIT_COMMIT);
    return code == SQLITE_OK ? 0 : sqlite_audit_fail(audit, code, error);
}

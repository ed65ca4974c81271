/* SPDX-License-Identifier: MIT */
/* The audit log of an SQLite database: a database of its own, FILE-audit. This file opens it.
 *
 * It has a rollback journal, not a WAL: -wal and -shm are found by their names, so a server that
 * goes on writing to a file that was renamed would damage the new one. With a journal, all that
 * processes share is the file itself; each connection finds out by stat(2), before each use,
 * whether its file is still in place. Readers read a few rows at a time, because a journal lets
 * nobody commit while somebody reads.
 *
 * Nothing depends on what the audit log holds, so a damaged file is renamed and begun anew. */
#include "store/sqlite/audit.h"

#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define SUFFIX "-audit"
#define APPLICATION_ID 1347576916 /* "PRAT" */
#define LAYOUT 1                  /* user_version */
#define STRING_(x) #x
#define STRING(x) STRING_(x)

/* revision: the records, the oldest first. package: counts of its revisions, and of those that
 * came back. source: who asked, shared by many records; last_us: of the last one, about.
 * content: when it was last asked for. The texts of a package and of a source are stored once. */
static const char sqlite_audit_schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS package (id INTEGER PRIMARY KEY, version TEXT NOT NULL,"
    " pkgarch TEXT NOT NULL, n_revisions INTEGER NOT NULL DEFAULT 0,"
    " n_returns INTEGER NOT NULL DEFAULT 0, last_us INTEGER NOT NULL DEFAULT 0,"
    " UNIQUE (version, pkgarch));"
    "CREATE INDEX IF NOT EXISTS package_revisions ON package (n_revisions);"
    "CREATE INDEX IF NOT EXISTS package_returns ON package (n_returns) WHERE n_returns > 0;"
    "CREATE TABLE IF NOT EXISTS source (id INTEGER PRIMARY KEY, rights TEXT NOT NULL,"
    " peer TEXT NOT NULL, annotations TEXT NOT NULL, last_us INTEGER NOT NULL,"
    " UNIQUE (annotations, peer, rights));"
    "CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY, time_us INTEGER NOT NULL,"
    " package INTEGER NOT NULL, checksum TEXT NOT NULL, value TEXT NOT NULL,"
    " request INTEGER NOT NULL, is_return INTEGER NOT NULL, source INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS revision_package ON revision (package);"
    "CREATE TABLE IF NOT EXISTS content (package INTEGER NOT NULL, checksum TEXT NOT NULL,"
    " last_us INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (package, checksum))"
    " WITHOUT ROWID;"
    "PRAGMA application_id=" STRING(APPLICATION_ID) ";"
                                                    "PRAGMA user_version=" STRING(LAYOUT) ";"
                                                                                          "COMMIT";

#define READ_REVISIONS(index)                                                                    \
    "SELECT r.id, r.time_us, p.version, p.pkgarch, r.checksum, r.value, r.request, r.is_return," \
    " s.peer, s.annotations, s.rights FROM revision r" index                                     \
    " CROSS JOIN package p ON p.id = r.package LEFT JOIN source s ON s.id = r.source "
#define READ_VERSION                                                                \
    READ_REVISIONS(" INDEXED BY revision_package")                                  \
    "WHERE r.package IN (SELECT id FROM package WHERE version = ?3 AND (?4 IS NULL" \
    " OR pkgarch = ?4)) AND "
#define READ_CHURN(having, order)                                                                  \
    "SELECT p.version, p.pkgarch, c.n, c.back, c.last FROM (SELECT package, count(*) AS n,"        \
    " sum(is_return) AS back, max(time_us) AS last FROM revision NOT INDEXED"                      \
    " WHERE id > ?1 AND time_us >= ?2 AND request < 2 GROUP BY package " having " ORDER BY " order \
    " DESC LIMIT ?3) c CROSS JOIN package p ON p.id = c.package ORDER BY c." order " DESC"

static const char *const sqlite_audit_sql[AUDIT_STATEMENTS] = {
    [AUDIT_BEGIN] = "BEGIN IMMEDIATE",
    [AUDIT_COMMIT] = "COMMIT",
    [AUDIT_ROLLBACK] = "ROLLBACK",
    [AUDIT_FIND_PACKAGE] = "SELECT id FROM package WHERE version = ? AND pkgarch = ?",
    [AUDIT_ADD_PACKAGE] = "INSERT INTO package (version, pkgarch) VALUES (?, ?)",
    [AUDIT_COUNT_PACKAGE] =
        "UPDATE package SET n_revisions = max(0, n_revisions + ?2),"
        " n_returns = max(0, n_returns + ?3), last_us = max(last_us, ?4) WHERE id = ?1",
    [AUDIT_FIND_SOURCE] =
        "SELECT id, last_us FROM source WHERE annotations = ? AND peer = ? AND rights = ?",
    [AUDIT_ADD_SOURCE] =
        "INSERT INTO source (annotations, peer, rights, last_us) VALUES (?, ?, ?, ?)",
    [AUDIT_USE_SOURCE] = "UPDATE source SET last_us = ? WHERE id = ?",
    [AUDIT_ADD_REVISION] =
        "INSERT INTO revision (time_us, package, checksum, value, request, is_return, source)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
    [AUDIT_ADD_USE] =
        "INSERT INTO content (package, checksum, last_us, count) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (package, checksum) DO UPDATE SET last_us = max(last_us, excluded.last_us),"
        " count = count + excluded.count",
    [AUDIT_OLD_REVISIONS] =
        "SELECT id, time_us, package, is_return, request FROM revision ORDER BY id LIMIT ?",
    [AUDIT_REMOVE_REVISION] = "DELETE FROM revision WHERE id = ?",
    [AUDIT_NEXT_PACKAGES] = "SELECT id FROM package WHERE id > ? ORDER BY id LIMIT ?",
    [AUDIT_REMOVE_USES] = "DELETE FROM content WHERE package = ? AND last_us < ?",
    [AUDIT_REMOVE_PACKAGE] = "DELETE FROM package WHERE id = ?1 AND n_revisions = 0 AND"
                             " NOT EXISTS (SELECT 1 FROM content WHERE package = ?1) AND"
                             " NOT EXISTS (SELECT 1 FROM revision WHERE package = ?1)",
    [AUDIT_REMOVE_SOURCES] = "DELETE FROM source WHERE last_us < ?",
    [AUDIT_READ_LAST] = "SELECT max(id) FROM revision",
    [AUDIT_READ_NEWEST] = READ_REVISIONS("") "WHERE r.id < ?1 ORDER BY r.id DESC LIMIT ?2",
    [AUDIT_READ_AFTER] = READ_REVISIONS("") "WHERE r.id > ?1 ORDER BY r.id LIMIT ?2",
    [AUDIT_READ_VERSION_NEWEST] = READ_VERSION "r.id < ?1 ORDER BY r.id DESC LIMIT ?2",
    [AUDIT_READ_VERSION_AFTER] = READ_VERSION "r.id > ?1 ORDER BY r.id LIMIT ?2",
    [AUDIT_READ_USES] = "SELECT checksum, last_us, count FROM content WHERE package ="
                        " (SELECT id FROM package WHERE version = ? AND pkgarch = ?) LIMIT ?",
    [AUDIT_READ_BY_REVISIONS] =
        "SELECT version, pkgarch, n_revisions, n_returns, last_us FROM package"
        " WHERE n_revisions > 0 ORDER BY n_revisions DESC LIMIT ?",
    [AUDIT_READ_BY_RETURNS] =
        "SELECT version, pkgarch, n_revisions, n_returns, last_us FROM package"
        " WHERE n_returns > 0 ORDER BY n_returns DESC LIMIT ?",
    [AUDIT_READ_NEW_BY_REVISIONS] = READ_CHURN("", "n"),
    [AUDIT_READ_NEW_BY_RETURNS] = READ_CHURN("HAVING back > 0", "back"),
    [AUDIT_READ_FROM] = "SELECT time_us FROM revision WHERE id > ? ORDER BY id LIMIT 1",
};

/* ---- errors ---- */

void sqlite_audit_disconnect(struct sqlite_audit *audit)
{
    for (int i = 0; i < AUDIT_STATEMENTS; i++) {
        (void)sqlite3_finalize(audit->statements[i]);
        audit->statements[i] = NULL;
    }
    (void)sqlite3_close(audit->database);
    audit->database = NULL;
}

/* Returns whether the path leads to the file that is open. */
static bool sqlite_audit_is_in_place(const struct sqlite_audit *audit)
{
    struct stat status;

    return stat(audit->file, &status) == 0 && status.st_dev == audit->device &&
           status.st_ino == audit->inode;
}

/* Renames a damaged file, unless another server has done so. */
static void sqlite_audit_put_aside(struct sqlite_audit *audit)
{
    char aside[PATH_MAX + 40];
    char journal[PATH_MAX + 40];
    struct tm when;
    const time_t now = time(NULL);
    size_t length;

    if (!audit->writes || !sqlite_audit_is_in_place(audit) || !gmtime_r(&now, &when))
        return;
    length = (size_t)snprintf(aside, sizeof aside - 20, "%s-damaged-", audit->file);
    (void)strftime(aside + length, 20, "%Y%m%dT%H%M%SZ", &when);
    (void)snprintf(journal, sizeof journal, "%s-journal", audit->file);
    if (rename(audit->file, aside) != 0)
        return;
    (void)remove(journal); /* it belongs to the damaged file */
    log_write(audit->log, LOG_WARNING,
        "The audit log %s is damaged: it was renamed to %s, and a new one is begun", audit->file,
        aside);
}

int sqlite_audit_fail(struct sqlite_audit *audit, int code, struct error *error)
{
    const int primary = code & 0xff;
    const bool is_locked = primary == SQLITE_BUSY || primary == SQLITE_LOCKED;
    const char *reason =
        audit->database && code != SQLITE_NOMEM ? sqlite3_errmsg(audit->database) : NULL;
    int result = error_set(error, is_locked ? ERROR_LOCKED : ERROR_STORE,
        "can't use the audit log %s: %s", audit->file, reason ? reason : sqlite3_errstr(code));

    if (is_locked && audit->database && !sqlite3_get_autocommit(audit->database))
        (void)sqlite3_exec(audit->database, "ROLLBACK", NULL, NULL, NULL);
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB)
        sqlite_audit_put_aside(audit);
    if (!is_locked)
        sqlite_audit_disconnect(audit);
    return primary == SQLITE_NOMEM ? error_set_memory(error) : result;
}

sqlite3_stmt *sqlite_audit_statement(struct sqlite_audit *audit, enum sqlite_audit_statement which)
{
    sqlite3_stmt **statement = &audit->statements[which];

    if (!*statement)
        (void)sqlite3_prepare_v3(audit->database, sqlite_audit_sql[which], -1,
            SQLITE_PREPARE_PERSISTENT, statement, NULL);
    if (*statement)
        (void)sqlite3_reset(*statement);
    return *statement;
}

/* ---- opening ---- */

/* Runs a pragma that returns a number. Returns SQLite's result code. */
static int sqlite_audit_ask(struct sqlite_audit *audit, const char *sql, int64_t *answer)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(audit->database, sql, -1, &statement, NULL);

    *answer = 0;
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *answer = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Makes the tables, or checks that they are those of an audit log. */
static int sqlite_audit_prepare(struct sqlite_audit *audit, struct error *error)
{
    int64_t application = 0;
    int64_t layout = 0;
    int64_t n_pages = 0;
    /* First: another server may be making the tables, in one transaction. */
    int code = sqlite_audit_ask(audit, "PRAGMA page_count", &n_pages);

    if (code == SQLITE_OK)
        code = sqlite_audit_ask(audit, "PRAGMA application_id", &application);
    if (code == SQLITE_OK)
        code = sqlite_audit_ask(audit, "PRAGMA user_version", &layout);
    if (code == SQLITE_OK && n_pages == 0 && audit->writes)
        code = sqlite3_exec(audit->database, sqlite_audit_schema, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return sqlite_audit_fail(audit, code, error);
    if (n_pages == 0 && !audit->writes)
        sqlite_audit_disconnect(audit);
    if (n_pages == 0 || (application == APPLICATION_ID && layout == LAYOUT))
        return 0;
    sqlite_audit_disconnect(audit);
    return error_set(error, ERROR_STORE,
        "%s is not an audit log of this version of prservd; move it away", audit->file);
}

static void sqlite_audit_configure(struct sqlite_audit *audit)
{
    (void)sqlite3_extended_result_codes(audit->database, 1);
    (void)sqlite3_busy_timeout(audit->database, (int)audit->wait_ms);
    (void)sqlite3_exec(
        audit->database, "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-8192", NULL, NULL, NULL);
}

static int sqlite_audit_connect(struct sqlite_audit *audit, struct error *error)
{
    const int flags =
        audit->writes ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
    struct stat status;
    int code;

    if (!audit->writes && stat(audit->file, &status) != 0)
        return 0; /* there is none yet */
    code = sqlite3_open_v2(
        audit->file, &audit->database, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK || stat(audit->file, &status) != 0)
        return sqlite_audit_fail(audit, code == SQLITE_OK ? SQLITE_CANTOPEN : code, error);
    audit->device = status.st_dev;
    audit->inode = status.st_ino;
    sqlite_audit_configure(audit);
    return sqlite_audit_prepare(audit, error);
}

int sqlite_audit_enter(struct sqlite_audit *audit, struct error *error)
{
    if (audit->database && !sqlite_audit_is_in_place(audit))
        sqlite_audit_disconnect(audit);
    return audit->database ? 0 : sqlite_audit_connect(audit, error);
}

/* ---- the connection ---- */

static void sqlite_audit_close(struct audit_store *store)
{
    struct sqlite_audit *audit = (struct sqlite_audit *)store;

    sqlite_audit_disconnect(audit);
    free(audit);
}

static void sqlite_audit_rest(struct audit_store *store)
{
    struct sqlite_audit *audit = (struct sqlite_audit *)store;

    if (audit->database)
        (void)sqlite3_db_release_memory(audit->database);
}

static const struct audit_store_ops sqlite_audit_ops = {
    .close = sqlite_audit_close,
    .rest = sqlite_audit_rest,
    .write = sqlite_audit_write,
    .expire = sqlite_audit_expire,
    .read_last = sqlite_audit_read_last,
    .read_log = sqlite_audit_read_log,
    .read_uses = sqlite_audit_read_uses,
    .read_packages = sqlite_audit_read_packages,
};

int sqlite_audit_create(
    struct audit_store **store, const struct audit_store_options *options, struct error *error)
{
    struct sqlite_audit *audit = calloc(1, sizeof *audit);
    int length;

    if (!audit)
        return error_set_memory(error);
    audit->base.ops = &sqlite_audit_ops;
    audit->writes = options->writes;
    audit->wait_ms = options->wait_ms;
    audit->log = options->log;
    length = snprintf(audit->file, sizeof audit->file, "%s%s", options->file,
        options->is_audit_log ? "" : SUFFIX);
    if (length < 0 || (size_t)length >= sizeof audit->file) {
        free(audit);
        return error_set(
            error, ERROR_STORE, "the name of the audit log of %s is too long", options->file);
    }
    *store = &audit->base;
    return 0;
}

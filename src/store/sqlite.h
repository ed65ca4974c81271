/* The SQLite backend: what its files share. Only they include this. */
#ifndef PRSERVD_SQLITE_H
#define PRSERVD_SQLITE_H

#include "store/store.h"

#include <sqlite3.h>
#include <stdint.h>

/* The tables that rows are read from. */
enum sqlite_source {
    SQLITE_SOURCE_MAIN = 1,   /* PRMAIN */
    SQLITE_SOURCE_NOHIST = 2, /* PRMAIN_nohist, BitBake 2.8 and older */
    SQLITE_SOURCE_HIST = 4,   /* PRMAIN_hist, likewise */
};

enum sqlite_statement {
    STATEMENT_BEGIN,
    STATEMENT_BEGIN_IMMEDIATE,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_DATA_VERSION,
    STATEMENT_USER_VERSION,
    STATEMENT_SCHEMA_VERSION,
    STATEMENT_LOAD,    /* from here on they name tables: */
    STATEMENT_LOOK_UP, /* prepared again when the schema changes */
    STATEMENT_ADD,
    STATEMENT_SCAN,
    STATEMENT_TABLE_INFO,
    STATEMENTS
};

struct sqlite_store {
    struct store base;
    struct store_options options;
    enum store_role role;
    sqlite3 *database; /* NULL: there is no file yet (read-only) */
    sqlite3_stmt *statements[STATEMENTS];
    unsigned sources;       /* of enum sqlite_source */
    int64_t user_version;   /* of the schema that sources was read from */
    int64_t schema_version; /* likewise */
    int64_t data_version;   /* as last seen by is_unchanged */
    bool sources_changed;   /* since is_unchanged was last asked */
    uint64_t lock_until_ms; /* monotonic: how long the busy handler waits */
    int wal_pages;          /* a writer's: in the journal after its last commit */
    int tidy_at_pages;      /* when that many are there */
    uint64_t read_until_ms; /* then what reads is interrupted; UINT64_MAX: never */
};

ERROR_MUST_CHECK int sqlite_open(struct store **store, const struct store_options *options,
    enum store_role role, struct error *error);

/* ---- sqlite_basics.c ---- */

/* Describes SQLite's result code: ERROR_LOCKED, ERROR_MEMORY or ERROR_STORE. */
int sqlite_fail(struct sqlite_store *store, int code, const char *doing, struct error *error);

/* Runs SQL that answers nothing. */
ERROR_MUST_CHECK int sqlite_run(struct sqlite_store *store, const char *sql, struct error *error);

/* Runs SQL that answers one integer; 0 where it answers nothing. */
ERROR_MUST_CHECK int sqlite_ask(
    struct sqlite_store *store, const char *sql, int64_t *answer, struct error *error);

/* Waits a moment for a lock; 0 when the time is up. SQLite's busy handler: context is
 * the store. */
int sqlite_wait_for_lock(void *context, int tries);

/* What a row of an older format holds, as text: a blob is none. */
#define SQLITE_LEGACY_VALUE "CASE typeof(value) WHEN 'blob' THEN NULL ELSE CAST(value AS TEXT) END"
/* Which of them count: such a table lets its keys be NULL. */
#define SQLITE_LEGACY_ROWS "(version NOTNULL AND pkgarch NOTNULL AND checksum NOTNULL)"

/* ---- sqlite_wal.c: what becomes of the journal ---- */

/* Sets a new connection up: its commits don't move the journal's pages to the database. */
ERROR_MUST_CHECK int sqlite_wal_attach(struct sqlite_store *store, struct error *error);

bool sqlite_wal_is_untidy(const struct store *base);
int sqlite_wal_tidy(struct store *base, struct error *error);

/* ---- sqlite_schema.c ---- */

/* A writer's database: refuses what can't be used, before anything is changed; then
 * WAL journal, the table, and the rows of older formats. */
ERROR_MUST_CHECK int sqlite_schema_prepare(struct sqlite_store *store, struct error *error);

/* Finds out which tables a read-only store answers from. Inside a transaction. */
ERROR_MUST_CHECK int sqlite_schema_inspect(struct sqlite_store *store, struct error *error);

/* ---- sqlite_query.c: the operations of the table of functions that read and add rows ---- */

ERROR_MUST_CHECK int sqlite_prepare_queries(struct sqlite_store *store, struct error *error);
int sqlite_load(struct store *base, struct text version, struct text pkgarch, store_row_fn fn,
    void *context, struct error *error);
int sqlite_look_up(struct store *base, struct text version, struct text pkgarch,
    struct text checksum, store_row_fn fn, void *context, struct error *error);
int sqlite_add(struct store *base, const struct row *row, struct error *error);
int sqlite_describe(struct store *base, store_column_fn fn, void *context, struct error *error);
int sqlite_count(struct store *base, uint64_t *rows, struct error *error);
int sqlite_scan_begin(struct store *base, const struct store_filter *filter, struct error *error);
int sqlite_scan_next(struct store *base, struct row *row, struct error *error);

#endif

/* SPDX-License-Identifier: MIT */
/* The parts of the SQLite backend that its files share. Only they and store.c include this. */
#ifndef PRSERVD_SQLITE_H
#define PRSERVD_SQLITE_H

#include "base/buffer.h"
#include "store/mark_file.h"
#include "store/sqlite/lock_holder.h"
#include "store/store.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdint.h>

/* The tables that rows are read from. */
enum sqlite_source {
    SQLITE_SOURCE_MAIN = 1,   /* PRMAIN */
    SQLITE_SOURCE_NOHIST = 2, /* PRMAIN_nohist, BitBake 2.8 and older */
    SQLITE_SOURCE_HIST = 4,   /* PRMAIN_hist, likewise */
};

#define SQLITE_SOURCES 3

extern const struct sqlite_source_table {
    enum sqlite_source source;
    const char *table;
} sqlite_sources[SQLITE_SOURCES];

enum sqlite_statement {
    STATEMENT_BEGIN,
    STATEMENT_BEGIN_IMMEDIATE,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_DATA_VERSION,
    STATEMENT_SCHEMA_VERSION,
    STATEMENT_LOAD, /* from here on: prepared again when the schema changes */
    STATEMENT_LOOK_UP,
    STATEMENT_LOAD_AFTER,
    STATEMENT_ADD,
    STATEMENT_SCAN,
    STATEMENT_MARK,
    STATEMENT_MARK_READ,
    STATEMENTS
};

/* What a connection knows about the mark of its database. */
struct sqlite_mark {
    struct mark_file *file;          /* NULL: this connection does not care about it */
    enum mark_file_state file_state; /* when the connection was opened */
    struct mark in_file;             /* what FILE-mark held then, if it was valid */
    struct mark mark;                /* the last one that is known */
    int64_t data_version;            /* when it was compared; -1: to be compared again */
    int64_t next;                    /* the counter of this transaction; 0: it has none yet */
    bool has_rows;                   /* this transaction adds rows */
    bool is_accepted;                /* this transaction accepts the rollback */
    bool is_shared;                  /* on a network file system: FILE-mark names this machine */
    int hold;                        /* a descriptor of FILE-mark then, or -1 */
};

/* A scan that goes through many transactions. */
struct sqlite_scan {
    bool is_piece;        /* the statement reads a piece */
    unsigned n_rows;      /* of the piece, until now */
    char types[4];        /* of the last row: 't', 'b' or 'n' (scan.c) */
    struct buffer odd;    /* place of the last row, if it holds a blob */
    struct buffer sql;    /* of the prepared statement */
    struct mark mark;     /* of the database, as a piece last saw it */
    int64_t mark_version; /* the data_version for which that holds; -1: none */
};

struct sqlite_files; /* files.h */

struct sqlite_store {
    struct store base;
    struct store_options options;
    enum store_role role;
    sqlite3 *database; /* NULL: the file does not exist yet (read-only) */
    sqlite3_stmt *statements[STATEMENTS];
    unsigned sources;         /* of enum sqlite_source */
    bool is_misshapen;        /* PRMAIN has other types or keys; only if options.is_source */
    bool has_triggers;        /* PRMAIN has some, which may change or drop a new row */
    int64_t schema_version;   /* that sources stems from; -1: sources may not fit the schema */
    int64_t data_version;     /* as find_changes last saw it on this connection; -1: never */
    int64_t compared_version; /* as it was when the old tables were compared */
    uint64_t lock_until_ms;   /* monotonic: the end of waiting for a lock */
    uint64_t read_until_ms;   /* monotonic: when reading is interrupted; UINT64_MAX: never */
    struct sqlite_mark mark;
    struct sqlite_scan scan;
    int checkpoint_pages;    /* the size of the WAL at which the next checkpoint is wanted */
    bool wants_checkpoint;   /* the last transaction reached that size */
    bool others_wrote;       /* another program has written since the last review */
    uint64_t next_review_ms; /* monotonic: the earliest time for it */
    uint64_t warn_wal_bytes; /* the size of the WAL of which the log warns next; 0: the default */
    uint64_t holder_ms;      /* monotonic: when holder was found */
    char holder[LOCK_HOLDER_BYTES]; /* the processes that held the lock then */

    /* for files.c */
    struct sqlite_files *files; /* shared by the stores of this database */
    struct sqlite_store *next;  /* in files */
    pthread_mutex_t busy;       /* held while the store is entered */
    bool is_entered;            /* the owner's: it holds busy */
    bool was_closed;            /* the connection was closed since the transaction began */
};

ERROR_MUST_CHECK int sqlite_open(struct store **store, const struct store_options *options,
    enum store_role role, struct error *error);

/* Ends the transaction of the connection, if there is one. The store stays entered. */
void sqlite_end_transaction(struct sqlite_store *store);

/* Closes the connection; it is opened again when it is used. */
void sqlite_disconnect(struct sqlite_store *store);

/* ---- folders.c ---- */

/* Fails if a folder has the name of the file. */
ERROR_MUST_CHECK int sqlite_refuse_folder(const char *file, struct error *error);

/* Makes the folders that lead to the file, if they do not exist, and syncs them. */
ERROR_MUST_CHECK int sqlite_make_folders(const char *file, struct error *error);

/* ---- instance.c ---- */

/* Sets the identity of the options, once the file exists. */
void sqlite_set_instance(const struct sqlite_store *store);

/* ---- basics.c ---- */

/* Describes SQLite's result code: ERROR_LOCKED, ERROR_MEMORY or ERROR_STORE. */
int sqlite_fail(struct sqlite_store *store, int code, const char *doing, struct error *error);

/* Runs SQL that returns no rows. */
ERROR_MUST_CHECK int sqlite_run(struct sqlite_store *store, const char *sql, struct error *error);

/* Runs a prepared statement that returns at most a row. Sets *answer to the row's integer; answer
 * may be NULL. */
ERROR_MUST_CHECK int sqlite_step_once(struct sqlite_store *store, enum sqlite_statement which,
    const char *doing, int64_t *answer, struct error *error);

/* Runs SQL that returns one integer; *answer is 0 if it returns no row. */
ERROR_MUST_CHECK int sqlite_ask(
    struct sqlite_store *store, const char *sql, int64_t *answer, struct error *error);

/* Warns at the start if the database is on a network file system; from the first store, which is
 * the writer or a read-only server's reader. */
void sqlite_warn_of_network(const struct sqlite_store *store);

/* Waits a moment for a lock. Returns 0 when the time has passed. This is SQLite's busy handler;
 * context is the store. */
int sqlite_wait_for_lock(void *context, int tries);

/* ---- survey.c, wal_growth.c ---- */

/* At the start of a server: says in the log what the database is and holds. Takes 100 ms at most.
 */
void sqlite_survey_report(struct sqlite_store *store);

/* Pages of the WAL, after a checkpoint. */
struct sqlite_wal_pages {
    int total;
    int moved;
};

/* Warns of a WAL that was not moved and has grown beyond the size to which it is cut: somebody has
 * been reading from it for long. Warns again at each doubling. */
void sqlite_wal_warn(struct sqlite_store *store, const struct sqlite_wal_pages *pages);

/* ---- mark.c ---- */

/* Creates the object for FILE-mark. */
ERROR_MUST_CHECK int sqlite_mark_create(struct sqlite_store *store, struct error *error);

/* For a writer, before it opens the file: refuses a missing one if FILE-mark exists. */
ERROR_MUST_CHECK int sqlite_mark_require_file(struct sqlite_store *store, struct error *error);

/* For a writer, before it changes anything: refuses a database that FILE-mark does not belong to.
 */
ERROR_MUST_CHECK int sqlite_mark_require_same(struct sqlite_store *store, struct error *error);

/* Counts the transaction that takes over late rows, before the mark is prepared. A database that is
 * rolled back, or has no mark yet, stays as it is. */
ERROR_MUST_CHECK int sqlite_mark_count_late(struct sqlite_store *store, struct error *error);

/* For a writer: makes what is missing, and finds out whether the database is rolled back. */
ERROR_MUST_CHECK int sqlite_mark_prepare(struct sqlite_store *store, struct error *error);

/* In each writing transaction: compares, if another connection has written; stores the next
 * counter, before the commit; notes the end of the transaction. */
ERROR_MUST_CHECK int sqlite_mark_begin(struct sqlite_store *store, struct error *error);
ERROR_MUST_CHECK int sqlite_mark_count(struct sqlite_store *store, struct error *error);
void sqlite_mark_end(struct sqlite_store *store, bool is_committed);

/* Reads the mark in the database. Its identity is empty if there is none. */
ERROR_MUST_CHECK int sqlite_mark_read(
    struct sqlite_store *store, struct mark *mark, struct error *error);

/* For a read-only store: compares and warns. is_start: with FILE-mark, outside of transactions. */
ERROR_MUST_CHECK int sqlite_mark_follow(
    struct sqlite_store *store, bool is_start, struct error *error);

/* ---- mark_owner.c: the machine that has a database on a network file system open ---- */

/* Refuses a database that another machine has open; on FUSE, which may be local, warns. */
ERROR_MUST_CHECK int sqlite_mark_check_owner(
    struct sqlite_store *store, const struct mark_owner *last, struct error *error);

/* Locks FILE-mark as long as this server has the database open; and ends that. */
void sqlite_mark_hold(struct sqlite_store *store);
void sqlite_mark_let_go(struct sqlite_store *store);

/* ---- mark.c: the operations ---- */

int sqlite_mark_accept(struct store *base, const struct mark *mark, struct error *error);
void sqlite_mark_touch(struct store *base);
int sqlite_mark_check(struct store *base, struct error *error);
bool sqlite_mark_wants_file(const struct store *base);
void sqlite_mark_write_file(struct store *base);

/* ---- wal.c ---- */

/* Sets up a new connection: its commits don't move the WAL's pages to the database file. */
ERROR_MUST_CHECK int sqlite_wal_attach(struct sqlite_store *store, struct error *error);

bool sqlite_wal_wants_checkpoint(const struct store *base);
/* Moves the WAL's pages to the database file. */
ERROR_MUST_CHECK int sqlite_wal_checkpoint(struct sqlite_store *store, struct error *error);

/* For a writer that starts: makes durable what the WAL holds. */
ERROR_MUST_CHECK int sqlite_wal_sync(struct sqlite_store *store, struct error *error);

/* Moves what can be moved to the database, because the server ends. Waits for nobody. A failure
 * does no harm: the WAL keeps the rows. The store is entered. */
void sqlite_wal_finish(struct sqlite_store *store);

/* ---- schema.c ---- */

/* Prepares a writer's database: refuses one that can't be used, before anything is changed; then
 * sets journal mode WAL and makes the table. */
ERROR_MUST_CHECK int sqlite_schema_prepare(struct sqlite_store *store, struct error *error);

/* Sets sources to the tables that exist. Refuses a PRMAIN that can't hold all rows as they are, or,
 * if options.is_source, notes that it is misshapen. Inside a transaction. */
ERROR_MUST_CHECK int sqlite_schema_inspect(struct sqlite_store *store, struct error *error);

/* Finds out which of the tables exist. */
ERROR_MUST_CHECK int sqlite_schema_find_tables(
    struct sqlite_store *store, unsigned *sources, struct error *error);

/* ---- old_tables.c ---- */

/* Takes over the rows of old tables that PRMAIN lacks, at a writer's start. After an error the
 * connection is closed. */
ERROR_MUST_CHECK int sqlite_old_tables_take_over(struct sqlite_store *store, struct error *error);

/* The operations wants_review and review. */
bool sqlite_old_tables_want_review(struct store *base);
int sqlite_old_tables_review(struct store *base, struct error *error);

/* ---- query.c: the operations that read and add rows ---- */

ERROR_MUST_CHECK int sqlite_prepare_queries(struct sqlite_store *store, struct error *error);
int sqlite_load(struct store *base, struct text version, struct text pkgarch, store_row_fn fn,
    void *context, struct error *error);
int sqlite_look_up(struct store *base, struct text version, struct text pkgarch,
    struct text checksum, store_row_fn fn, void *context, struct error *error);
int sqlite_load_after(struct store *base, struct text version, struct text pkgarch,
    const struct store_place *place, bool *can_stop, store_row_fn fn, void *context,
    struct error *error);
int sqlite_add(struct store *base, const struct row *row, struct error *error);
int sqlite_find_many(struct store *base, const struct row *rows, size_t n, store_row_fn fn,
    void *context, struct error *error);
int sqlite_describe(struct store *base, store_column_fn fn, void *context, struct error *error);
int sqlite_count(struct store *base, uint64_t *rows, bool *is_estimate, struct error *error);
int sqlite_search(struct store *base, const struct store_search *search, store_package_fn fn,
    void *context, bool *is_end, struct error *error); /* search.c */

/* ---- scan.c: the operations of scans ---- */

int sqlite_scan_begin(struct store *base, const struct store_filter *filter, struct error *error);
int sqlite_scan_resume(struct store *base, const struct store_filter *filter,
    const struct buffer *place, struct error *error);
void sqlite_scan_place(struct store *base, enum store_scan_from which, struct buffer *place);
int sqlite_scan_next(struct store *base, struct row *row, struct error *error);
void sqlite_pause(struct store *base);
int sqlite_resume(struct store *base, struct error *error);
void sqlite_scan_free(struct sqlite_scan *scan);

#endif

/* SPDX-License-Identifier: MIT */
/* The interface to the database: one for both backends, SQLite and PostgreSQL.
 *
 * A struct store is one connection to the database, used by one thread at a time. The executor
 * opens one each for its writer, answerer and checkpointer, and two each for its reader and for
 * exports. Texts and rows that are handed out are borrowed until the callback returns. After an
 * error the transaction is over (rolled back), and the store is usable for the next one unless the
 * function says otherwise.
 *
 * How requests are decided and stored, in batches:
 *
 *     store_begin_read   or   store_begin_write, with the batch: what its requests ask and add
 *     store_load, store_look_up      facts for each request; the caller decides
 *     store_has_lock, store_add      rows, in a writing transaction
 *     store_commit       or   store_rollback, or store_commit_and_begin: the next batch, too
 *     store_batch_delay_us           a pause that pays before the next batch
 *
 * The caller does the same with each backend. What a batch needs from the database, which locks to
 * wait for, when to try again and when to wait for more requests is the backend's own policy:
 * SQLite reads row by row and locks the whole file; PostgreSQL asks one question for the whole
 * batch, locks packages, and may leave out those that another server holds. ERROR_LOCKED, from any
 * of these functions, means an outage: something is away for a while (a lock, the database, space
 * on its disk), and the same requests can be tried again. */
#ifndef PRSERVD_STORE_H
#define PRSERVD_STORE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/identity.h"
#include "base/log.h"
#include "base/row.h"
#include "base/text.h"
#include "store/mark.h"
#include "store/store_batch.h"
#include "store/store_search.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SQLite: the name of a file. PostgreSQL: a URI or a connection string, as libpq takes it. */
enum store_kind { STORE_SQLITE, STORE_POSTGRESQL };

enum store_sync { STORE_SYNC_FULL, STORE_SYNC_NORMAL, STORE_SYNC_OFF };

struct store_options {
    const char *file;      /* of store_kind_of; borrowed as long as the store is open */
    const char *file_read; /* a replica for readers, instead of file; NULL: none; borrowed */
    bool read_only;        /* nothing is written, not even a missing table */
    bool is_source;        /* with read_only: rows are only copied from here, so SQLite's table may
                              have types and keys that servers refuse */
    bool is_read_back;     /* the caller reads each row that it adds back, and compares it */
    bool is_startup;       /* the program is starting, and so may the database: longer waits */
    unsigned wait_ms;      /* the longest wait for a lock or a connection in one try; 0: until it
                              makes no sense. The caller tries again after ERROR_LOCKED */
    bool serves; /* answers are given from it: PostgreSQL has to prove that it is the primary */
    enum store_sync sync;
    bool stale_ok;             /* servers below may be answered from a standby */
    uint64_t *n_taken_over;    /* rows of older tables that the start has added are counted here;
                                  NULL: not wanted; borrowed */
    struct identity *identity; /* set when the database is opened; NULL: not wanted; borrowed */
    unsigned patience_ms;      /* how long requests wait for the database (base/outage.h) */
    struct log *log;           /* borrowed */
    const atomic_bool *shutting_down;      /* borrowed; once true, nothing waits for locks */
    const atomic_ullong *read_deadline_ms; /* borrowed; the end (clock_ms) of a reader's work */
    /* Called when opening for the program's start has to wait: says for what. NULL: not wanted. */
    void (*tell_waiting)(void *context, const char *text);
    void *tell_context;
    bool new_database; /* a database that another one, or none, was used before is right */
    const char *accept_rollback; /* the mark of a rollback that is to be accepted; NULL: none */
    const char *state_dir;       /* PostgreSQL: the folder for the mark's file; NULL: none */
    int checkpoint_pages; /* size of the WAL at which a checkpoint is wanted; 0: the default */
    /* Called on any thread, after the log, when the files of the database were taken away and
     * nothing may be answered any more; need not return. NULL: operations fail with ERROR_STORE. */
    void (*on_loss)(void);
};

/* Returns whether servers below are refused, because this server only has a standby, whose rows may
 * be old. Any thread. */
static inline bool store_is_stale(const struct store_options *options)
{
    return options->read_only && !options->stale_ok && options->identity &&
           atomic_load(&options->identity->is_standby);
}

#define STORE_LOCK_WAIT_MS 10000 /* the longest wait for a lock, unless wait_ms is set */
#define STORE_TRY_MS 10000       /* the longest try to answer a batch, before it is tried again */

/* How long reading may take. */
enum store_blocking {
    STORE_NONBLOCK, /* some milliseconds and no wait for a lock, then ERROR_LOCKED */
    STORE_BLOCK,    /* as long as it takes; wait_ms for a lock */
};

/* What happened to the database since the store's last transaction. */
enum store_changes {
    STORE_UNCHANGED,       /* only this store has written */
    STORE_CHANGED,         /* others have written */
    STORE_CHANGES_UNKNOWN, /* the store can never tell: nothing that was read is worth keeping */
};

/* The writer makes folders, file and table, and takes over the rows of older formats. A reader of
 * a database that does not exist answers as if it were empty. */
enum store_role {
    STORE_WRITER,
    STORE_READER,
    STORE_ANSWERER,     /* a reader of what the writer writes to, not of a replica */
    STORE_CHECKPOINTER, /* for store_checkpoint and store_review alone */
};

/* Called with a row, whose value ends with a NUL. Returns 0 to go on, anything else to stop. */
typedef int (*store_row_fn)(void *context, const struct row *row);

struct store_column {
    const char *name;
    const char *type;
    bool not_null;
    const char *default_value; /* NULL: none */
    int primary_key;           /* position in the primary key, from 1 */
};

typedef void (*store_column_fn)(void *context, const struct store_column *column);

/* The rows that a scan returns; an empty text means all. */
struct store_filter {
    struct text version;
    struct text pkgarch;
    struct text checksum;
};

/* What a scan returns, if not an error. */
enum store_scan_result {
    STORE_SCAN_END,  /* there are no more rows */
    STORE_SCAN_ROW,  /* a row */
    STORE_SCAN_MORE, /* there may be more rows: store_scan_resume goes on (scan.h) */
};

/* The places at which a scan can go on (scan.h), as seen from its last row. */
enum store_scan_from {
    STORE_AT_PACKAGE, /* the first row of its package */
    STORE_AT_ROW,     /* this row again */
    STORE_BEHIND_ROW, /* the next row */
};

/* A place among the rows of a package, in the order of checksums and values: behind this row. Both
 * texts empty: before the first one. */
struct store_place {
    struct text checksum;
    struct text value;
};

struct store;

/* The operations of a backend; the functions below describe them. An optional operation is NULL
 * where the backend has nothing to do. */
struct store_ops {
    void (*close)(struct store *store);
    int (*begin_read)(struct store *store, const struct store_batch *batch,
        enum store_blocking blocking, struct error *error);
    int (*begin_write)(struct store *store, const struct store_batch *batch, unsigned wait_ms,
        struct error *error);
    size_t (*least_next)(const struct store *store); /* optional */
    int (*commit)(struct store *store, const struct store_batch *next, struct error *error);
    void (*touch)(struct store *store); /* optional */
    void (*rollback)(struct store *store);
    int (*load)(struct store *store, struct text version, struct text pkgarch, store_row_fn fn,
        void *context, struct error *error);
    int (*look_up)(struct store *store, struct text version, struct text pkgarch,
        struct text checksum, store_row_fn fn, void *context, struct error *error);
    /* optional: where load can call back for very many rows */
    int (*load_after)(struct store *store, struct text version, struct text pkgarch,
        const struct store_place *place, bool *can_stop, store_row_fn fn, void *context,
        struct error *error);
    int (*add)(struct store *store, const struct row *row, struct error *error);
    int (*find_many)(struct store *store, const struct row *rows, size_t n, store_row_fn fn,
        void *context, struct error *error);
    int (*search)(struct store *store, const struct store_search *search, store_package_fn fn,
        void *context, bool *is_end, struct error *error);
    int (*count)(struct store *store, uint64_t *rows, bool *is_estimate, struct error *error);
    int (*scan_begin)(struct store *store, const struct store_filter *filter, struct error *error);
    int (*scan_resume)(struct store *store, const struct store_filter *filter,
        const struct buffer *place, struct error *error);
    void (*scan_place)(struct store *store, enum store_scan_from which, struct buffer *place);
    int (*scan_next)(struct store *store, struct row *row, struct error *error);
    /* optional */
    int (*find_greatest)(struct store *store, struct text version, struct text pkgarch,
        struct buffer *value, struct error *error);
    void (*pause)(struct store *store);
    int (*resume)(struct store *store, struct error *error);
    int (*check)(struct store *store, const struct text *texts, size_t count, struct error *error);
    bool (*has_lock)(struct store *store, struct text version, struct text pkgarch);
    uint64_t (*batch_delay_us)(
        const struct store *store, size_t n_waiting, size_t n_arrived, size_t *n_enough);
    int (*find_changes)(struct store *store, enum store_changes *changes, struct error *error);
    int (*describe)(struct store *store, store_column_fn fn, void *context, struct error *error);
    int (*accept_rollback)(struct store *store, const struct mark *mark, struct error *error);
    int (*check_mark)(struct store *store, struct error *error);
    bool (*wants_mark_file)(const struct store *store);
    void (*write_mark_file)(struct store *store);
    bool (*wants_checkpoint)(const struct store *store);
    int (*checkpoint)(struct store *store, struct error *error);
    bool (*wants_review)(struct store *store);
    int (*review)(struct store *store, struct error *error);
    int (*look_after)(struct store *store, struct error *error);
};

struct store {
    const struct store_ops *ops;
    struct store_rollback rollback;  /* as the last writing transaction found it */
    int64_t counter;                 /* of the mark, after the last commit */
    bool checks_cheaply;             /* store_check_mark may be called every second */
    const struct identity *identity; /* of the options: borrowed; NULL: none */
};

enum store_kind store_kind_of(const char *file);

/* Writes the name of the database as people may see it, without a password. Cuts it to size. */
void store_name(const char *file, char *name, size_t size);

/* Opens a database. *store is the caller's. Fails with ERROR_STORE (not usable: no database, no
 * permission, a format that is refused), ERROR_LOCKED, ERROR_MEMORY. */
ERROR_MUST_CHECK int store_open(struct store **store, const struct store_options *options,
    enum store_role role, struct error *error);

/* Called with a fault of a database: of its tables, or damage of what they hold. */
typedef void (*store_fault_fn)(void *context, bool is_damage, const char *text);

/* Checks the tables of a PostgreSQL database, and what can be told of their rows without a
 * revision's meaning. Fails with ERROR_STORE, ERROR_LOCKED if it can't be read. */
ERROR_MUST_CHECK int store_verify(
    const char *file, store_fault_fn fn, void *context, struct error *error);

/* Ends what is open and frees everything. NULL is allowed. */
static inline void store_close(struct store *store)
{
    if (store)
        store->ops->close(store);
}

/* Checks whether the database can hold these texts. Fails with ERROR_INPUT. At any time. */
ERROR_MUST_CHECK static inline int store_check(
    struct store *store, const struct text *texts, size_t count, struct error *error)
{
    return store->ops->check ? store->ops->check(store, texts, count, error) : 0;
}

/* ---- batches ---- */

/* Starts a transaction that sees one state of the database and stores nothing. batch may be NULL:
 * for scans and counts; then the state is that of now, not of the first read. ERROR_LOCKED can also
 * mean that reading first would not pay for this batch; a writer then goes on with
 * store_begin_write. */
ERROR_MUST_CHECK static inline int store_begin_read(struct store *store,
    const struct store_batch *batch, enum store_blocking blocking, struct error *error)
{
    return store->ops->begin_read(store, batch, blocking, error);
}

/* Starts a transaction that can add rows to the packages of the batch: nobody else adds rows to
 * them until it ends. ERROR_LOCKED if others held what it needs for wait_ms, or about as long. */
ERROR_MUST_CHECK static inline int store_begin_write(
    struct store *store, const struct store_batch *batch, unsigned wait_ms, struct error *error)
{
    return store->ops->begin_write(store, batch, wait_ms, error);
}

/* Returns whether this writing transaction can add rows to a package. If not, another server holds
 * its lock: the request is for a later transaction. */
static inline bool store_has_lock(struct store *store, struct text version, struct text pkgarch)
{
    return !store->ops->has_lock || store->ops->has_lock(store, version, pkgarch);
}

/* Inside a writing transaction: has its commit write to the database even if no row is added: to
 * find out whether commits work. */
static inline void store_touch(struct store *store)
{
    if (store->ops->touch)
        store->ops->touch(store);
}

/* Ends the transaction; what was added is durable when this returns 0. After ERROR_LOCKED it may
 * have been stored or not; the next transaction sees which. */
ERROR_MUST_CHECK static inline int store_commit(struct store *store, struct error *error)
{
    return store->ops->commit(store, NULL, error);
}

/* Returns the least number of requests for which store_commit_and_begin pays; 0: it does not. */
static inline size_t store_least_next(const struct store *store)
{
    return store->ops->least_next ? store->ops->least_next(store) : 0;
}

/* Like store_commit, and has the database begin the next transaction right behind the commit, which
 * saves a round trip. After success, the next transaction is that of store_begin_write with the
 * same batch; store_rollback ends it before. After a failure, nothing has begun. */
ERROR_MUST_CHECK static inline int store_commit_and_begin(
    struct store *store, const struct store_batch *next, struct error *error)
{
    return store->ops->commit(store, next, error);
}

/* Ends the transaction, if there is one; nothing that was added is stored. */
static inline void store_rollback(struct store *store)
{
    store->ops->rollback(store);
}

/* Returns how long to wait for more requests before the next batch; 0: not at all. n_waiting
 * requests are left from the last batch, and n_arrived have come since. The wait can end early when
 * n_enough have arrived. Inside a transaction: before a commit that can begin the next one. */
static inline uint64_t store_batch_delay_us(
    const struct store *store, size_t n_waiting, size_t n_arrived, size_t *n_enough)
{
    *n_enough = 0;
    return store->ops->batch_delay_us
               ? store->ops->batch_delay_us(store, n_waiting, n_arrived, n_enough)
               : 0;
}

/* Inside a transaction: finds out whether others have written since this was last asked. */
ERROR_MUST_CHECK static inline int store_find_changes(
    struct store *store, enum store_changes *changes, struct error *error)
{
    *changes = STORE_CHANGES_UNKNOWN;
    return store->ops->find_changes ? store->ops->find_changes(store, changes, error) : 0;
}

/* Inside a transaction: calls back for the rows of a package: all of them, or at least those that
 * answer the requests of the batch (the greatest value; a checksum's smallest or largest; one that
 * holds the value that was asked for; a floor that is not below it) and some that hold no revision.
 */
ERROR_MUST_CHECK static inline int store_load(struct store *store, struct text version,
    struct text pkgarch, store_row_fn fn, void *context, struct error *error)
{
    return store->ops->load(store, version, pkgarch, fn, context, error);
}

/* Returns whether store_load calls back for all rows of a package, however many there are. */
static inline bool store_loads_all(const struct store *store)
{
    return store->ops->load_after != NULL;
}

/* If store_loads_all, inside a transaction: calls back for the rows of a package behind a place.
 * May call back again for the rows of its checksum. *can_stop is set before the first row: whether
 * fn may stop at a row with a value, and this function be called again with the place behind it. If
 * not, finding the place again would take as long as reading all rows. */
ERROR_MUST_CHECK static inline int store_load_after(struct store *store, struct text version,
    struct text pkgarch, const struct store_place *place, bool *can_stop, store_row_fn fn,
    void *context, struct error *error)
{
    return store->ops->load_after(store, version, pkgarch, place, can_stop, fn, context, error);
}

/* Inside a transaction: calls back for the rows of one checksum, or at least for the smallest or
 * largest, as the batch wants. */
ERROR_MUST_CHECK static inline int store_look_up(struct store *store, struct text version,
    struct text pkgarch, struct text checksum, store_row_fn fn, void *context, struct error *error)
{
    return store->ops->look_up(store, version, pkgarch, checksum, fn, context, error);
}

/* Inside a writing transaction: adds a row unless it exists. Fails with ERROR_INPUT if the database
 * can't hold it. */
ERROR_MUST_CHECK static inline int store_add(
    struct store *store, const struct row *row, struct error *error)
{
    return store->ops->add(store, row, error);
}

/* ---- the mark ---- */

/* Inside a writing transaction: accepts the rollback with this mark; the database is a usual one
 * again when the transaction is committed. Fails with ERROR_INPUT if there is no such rollback. */
ERROR_MUST_CHECK static inline int store_accept_rollback(
    struct store *store, const struct mark *mark, struct error *error)
{
    return store->ops->accept_rollback ? store->ops->accept_rollback(store, mark, error)
                                       : error_set(error, ERROR_INPUT, "this database has no mark");
}

/* Outside of transactions: finds out again whether the database is rolled back. A reader on
 * PostgreSQL learns whether a server has found that; one on SQLite finds nothing new. */
ERROR_MUST_CHECK static inline int store_check_mark(struct store *store, struct error *error)
{
    return store->ops->check_mark ? store->ops->check_mark(store, error) : 0;
}

/* Return whether the mark's file is behind, and write it. Any thread, also while another one uses
 * the store. For a writer. */
static inline bool store_wants_mark_file(const struct store *store)
{
    return store->ops->wants_mark_file && store->ops->wants_mark_file(store);
}

static inline void store_write_mark_file(struct store *store)
{
    if (store->ops->write_mark_file)
        store->ops->write_mark_file(store);
}

/* ---- many rows ---- */

/* Adds those rows that do not exist, all or none, in a transaction of its own; they are durable
 * when this returns 0. For a writer. ERROR_LOCKED: the same can be tried again. */
ERROR_MUST_CHECK int store_add_many(
    struct store *store, const struct row *rows, size_t n, struct error *error);

/* Calls back for each of these rows that exists, with the stored row, in any order. For a writer,
 * outside of transactions. */
ERROR_MUST_CHECK static inline int store_find_many(struct store *store, const struct row *rows,
    size_t n, store_row_fn fn, void *context, struct error *error)
{
    return store->ops->find_many(store, rows, n, fn, context, error);
}

/* ---- the table ---- */

/* Inside a transaction: calls back for the columns of the table, in their order. */
ERROR_MUST_CHECK int store_describe(
    struct store *store, store_column_fn fn, void *context, struct error *error);

/* Calls back for the columns of the table as prservd makes it. */
void store_describe_new(store_column_fn fn, void *context);

/* Inside a transaction: counts the rows, by walking all of them, or estimates their number if that
 * would take long. */
ERROR_MUST_CHECK static inline int store_count(
    struct store *store, uint64_t *rows, bool *is_estimate, struct error *error)
{
    *is_estimate = false;
    return store->ops->count(store, rows, is_estimate, error);
}

/* Inside a reading transaction: calls back for packages, without walking through others. *is_end:
 * there are no more behind the last one. The work is limited, so fewer than limit may be found. */
ERROR_MUST_CHECK static inline int store_search(struct store *store,
    const struct store_search *search, store_package_fn fn, void *context, bool *is_end,
    struct error *error)
{
    return store->ops->search(store, search, fn, context, is_end, error);
}

/* ---- syncs ---- */

/* Calls back for each file of SQLite databases that is being synced, with the time when that began
 * (clock_ms): a disk that does not respond keeps a sync, and its thread, for any time. From any
 * thread. */
void store_each_sync(void (*fn)(void *context, const char *file, uint64_t since_ms), void *context);

/* ---- checkpoints and care ---- */

/* Finds out whether the database is still what the store has open, and repairs what it can. For the
 * checkpointer, about once a second. */
ERROR_MUST_CHECK static inline int store_look_after(struct store *store, struct error *error)
{
    return store->ops->look_after ? store->ops->look_after(store, error) : 0;
}

/* Returns whether the last transaction of this writer put off so much work that the checkpointer
 * should run now. */
static inline bool store_wants_checkpoint(const struct store *store)
{
    return store->ops->wants_checkpoint && store->ops->wants_checkpoint(store);
}

/* Does the work that commits have put off. For the checkpointer. Takes long, but holds up writers
 * and readers for some milliseconds at most. If others keep it from finishing, that is not an
 * error. */
ERROR_MUST_CHECK static inline int store_checkpoint(struct store *store, struct error *error)
{
    return store->ops->checkpoint ? store->ops->checkpoint(store, error) : 0;
}

/* ---- reviews ---- */

/* Returns whether another program has written to the database, so that the checkpointer should
 * review it now. For a writer; at most once a minute. */
static inline bool store_wants_review(struct store *store)
{
    return store->ops->wants_review && store->ops->wants_review(store);
}

/* Looks for rows that another program has written to where servers don't read them, and warns in
 * the log. For the checkpointer. May take seconds, and holds up nobody. */
ERROR_MUST_CHECK static inline int store_review(struct store *store, struct error *error)
{
    return store->ops->review ? store->ops->review(store, error) : 0;
}

#endif

/* Where rows are kept: one interface, behind it SQLite or PostgreSQL.
 *
 * A struct store is one connection to the database. It is used by one thread at
 * a time; the executor opens one for its writer, one for its look-ups, one for its keeper
 * and one for each export. Texts and rows that are handed out are borrowed until the callback
 * returns. After an error the transaction is over (rolled back) and the store is
 * usable for the next one, unless the function says otherwise. */
#ifndef PRSERVD_STORE_H
#define PRSERVD_STORE_H

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* SQLite: the name of a file. PostgreSQL: a URI or a connection string, as libpq takes it. */
enum store_kind { STORE_SQLITE, STORE_POSTGRESQL };

enum store_sync { STORE_SYNC_FULL, STORE_SYNC_NORMAL, STORE_SYNC_OFF };

struct store_options {
    const char *file;      /* of store_kind_of; borrowed as long as the store is open */
    const char *file_read; /* readers use this one instead, a replica; NULL: none; borrowed */
    bool read_only;        /* nothing is written, not even a missing table */
    bool starts;           /* the program does, and so may the database: it is waited for longer */
    enum store_sync sync;
    struct log *log;          /* borrowed */
    const atomic_bool *hurry; /* borrowed; once true, locks are not waited for */
    /* Borrowed; from then on (clock_ms) a reader gives up whatever takes long. */
    const atomic_ullong *give_up_ms;
    int tidy_at_pages; /* of the journal, when a keeper is wanted; 0: as many as is good */
};

#define STORE_LOCK_WAIT_MS 10000 /* how long a lock is waited for before a client hears of it */

/* What a transaction will be asked about a package, and about a checksum and a value in it. */
struct store_want {
    struct text version;
    struct text pkgarch;
    struct text checksum; /* bytes NULL: none */
    bool smallest;        /* of the checksum's values */
    bool largest;
    struct text value; /* which rows hold it; bytes NULL: no matter */
    bool adds;         /* a row may be added to the package */
};

struct store_wants {
    const struct store_want *items;
    size_t count;
    uint64_t until_ms; /* clock_ms: nobody waits for an answer after that */
};

/* Which of the packages that are wanted a writing transaction of a store that is far can add to. */
enum store_scope {
    STORE_ALL,   /* each; they are waited for */
    STORE_FREE,  /* those that nobody else holds; new ones are waited for, for a moment */
    STORE_THERE, /* those that nobody else holds, and that are there */
};

/* How long reading may take. */
enum store_patience {
    STORE_AT_ONCE, /* some milliseconds, then ERROR_LOCKED; locks are not waited for */
    STORE_WAITS,   /* as long as it takes; STORE_LOCK_WAIT_MS for a lock */
};

/* The writer makes folders, file and table, and takes the rows of older formats
 * over. A reader of a database that is not there answers as if it were empty. */
enum store_role {
    STORE_WRITER,
    STORE_READER,
    STORE_KEEPER, /* for store_tidy alone */
};

struct row {
    struct text version;
    struct text pkgarch;
    struct text checksum;
    struct text value; /* ends with a NUL; bytes NULL: another program left none */
};

/* Returns 0 to go on, anything else to stop. */
typedef int (*store_row_fn)(void *context, const struct row *row);

struct store_column {
    const char *name;
    const char *type;
    bool not_null;
    const char *default_value; /* NULL: none */
    int primary_key;           /* position in the primary key, from 1 */
};

typedef void (*store_column_fn)(void *context, const struct store_column *column);

/* Which rows a scan is about; empty means all. */
struct store_filter {
    struct text version;
    struct text pkgarch;
    struct text checksum;
};

struct store;

struct store_ops {
    void (*close)(struct store *store);
    int (*check)(struct store *store, const struct text *texts, size_t count, struct error *error);
    void (*expect)(struct store *store, const struct store_wants *wants);
    int (*begin_read)(struct store *store, enum store_patience patience, struct error *error);
    int (*begin_write)(
        struct store *store, enum store_scope scope, unsigned wait_ms, struct error *error);
    bool (*holds)(struct store *store, struct text version, struct text pkgarch); /* or NULL */
    int (*commit)(struct store *store, struct error *error);
    void (*rollback)(struct store *store);
    int (*is_unchanged)(struct store *store, bool *unchanged, struct error *error);
    int (*load)(struct store *store, struct text version, struct text pkgarch, store_row_fn fn,
        void *context, struct error *error);
    int (*look_up)(struct store *store, struct text version, struct text pkgarch,
        struct text checksum, store_row_fn fn, void *context, struct error *error);
    int (*add)(struct store *store, const struct row *row, struct error *error);
    int (*add_many)(
        struct store *store, const struct row *rows, size_t n, struct error *error); /* or NULL */
    int (*find_many)(struct store *store, const struct row *rows, size_t n, store_row_fn fn,
        void *context, struct error *error); /* or NULL */
    int (*describe)(struct store *store, store_column_fn fn, void *context, struct error *error);
    int (*count)(struct store *store, uint64_t *rows, struct error *error);
    int (*scan_begin)(struct store *store, const struct store_filter *filter, struct error *error);
    int (*scan_next)(struct store *store, struct row *row, struct error *error);
    bool (*is_untidy)(const struct store *store);
    int (*tidy)(struct store *store, struct error *error);
};

struct store {
    const struct store_ops *ops;
    /* The database is reached through a network. Then nothing can be read at once; what a
     * transaction asks about has to be said before it (store_expect), and store_load calls back
     * for no more rows than the answers to that need, so they are not to be kept. It is not waited
     * for long: ERROR_LOCKED, at any moment of a transaction, means that the same can be tried
     * again. */
    bool far;
};

enum store_kind store_kind_of(const char *file);

/* What people are shown instead of file: without a password. Cut to what name holds. */
void store_name(const char *file, char *name, size_t size);

/* Opens a database. *store is the caller's. Fails with ERROR_STORE (not usable:
 * no database, no permission, a format that is refused), ERROR_LOCKED, ERROR_MEMORY. */
ERROR_MUST_CHECK int store_open(struct store **store, const struct store_options *options,
    enum store_role role, struct error *error);

/* Ends what is open and gives everything back. NULL is allowed. */
static inline void store_close(struct store *store)
{
    if (store)
        store->ops->close(store);
}

/* Can the database hold these texts? ERROR_INPUT if not. At any time. */
ERROR_MUST_CHECK static inline int store_check(
    struct store *store, const struct text *texts, size_t count, struct error *error)
{
    return store->ops->check ? store->ops->check(store, texts, count, error) : 0;
}

/* Says what the transaction that is begun next will be asked about, if the store is far. Borrowed
 * until that ends. */
static inline void store_expect(struct store *store, const struct store_wants *wants)
{
    if (store->ops->expect)
        store->ops->expect(store, wants);
}

/* Starts a transaction that sees one state of the database and stores nothing. */
ERROR_MUST_CHECK static inline int store_begin_read(
    struct store *store, enum store_patience patience, struct error *error)
{
    return store->ops->begin_read(store, patience, error);
}

/* Starts a transaction in which nobody else can write (SQLite: at all; PostgreSQL: to the
 * packages in its scope). ERROR_LOCKED if another process held what it needs for wait_ms, or
 * about so long. */
ERROR_MUST_CHECK static inline int store_begin_write(
    struct store *store, enum store_scope scope, unsigned wait_ms, struct error *error)
{
    return store->ops->begin_write(store, scope, wait_ms, error);
}

/* Inside a writing transaction: may rows be added to this package? */
static inline bool store_holds(struct store *store, struct text version, struct text pkgarch)
{
    return !store->ops->holds || store->ops->holds(store, version, pkgarch);
}

/* Ends the transaction; what was added is durable when this returns 0. ERROR_LOCKED from a store
 * that is far: it may have been stored or not; the next transaction sees which. */
ERROR_MUST_CHECK static inline int store_commit(struct store *store, struct error *error)
{
    return store->ops->commit(store, error);
}

/* Ends the transaction, if there is one; nothing that was added is stored. */
static inline void store_rollback(struct store *store)
{
    store->ops->rollback(store);
}

/* Inside a transaction: has nobody but this store written since it was last asked? */
ERROR_MUST_CHECK static inline int store_is_unchanged(
    struct store *store, bool *unchanged, struct error *error)
{
    return store->ops->is_unchanged(store, unchanged, error);
}

/* Inside a transaction: every row of a package; or, of a store that is far, those that matter for
 * what is wanted: that of the greatest value; a checksum's smallest or largest; one that holds
 * the value; some that hold no revision. */
ERROR_MUST_CHECK static inline int store_load(struct store *store, struct text version,
    struct text pkgarch, store_row_fn fn, void *context, struct error *error)
{
    return store->ops->load(store, version, pkgarch, fn, context, error);
}

/* Inside a transaction: the rows of one checksum; of a store that is far, the smallest or the
 * largest, as wanted. */
ERROR_MUST_CHECK static inline int store_look_up(struct store *store, struct text version,
    struct text pkgarch, struct text checksum, store_row_fn fn, void *context, struct error *error)
{
    return store->ops->look_up(store, version, pkgarch, checksum, fn, context, error);
}

/* Inside a writing transaction: adds a row if it is not there yet. */
ERROR_MUST_CHECK static inline int store_add(
    struct store *store, const struct row *row, struct error *error)
{
    return store->ops->add(store, row, error);
}

/* A writer's: adds those rows that are not there yet, all or none, in a transaction of its own;
 * they are durable when this returns 0. ERROR_LOCKED: the same can be tried again. */
ERROR_MUST_CHECK int store_add_many(
    struct store *store, const struct row *rows, size_t n, struct error *error);

/* A writer's, outside of transactions: calls back for each of these rows that is there, as it is
 * there, in any order. */
ERROR_MUST_CHECK int store_find_many(struct store *store, const struct row *rows, size_t n,
    store_row_fn fn, void *context, struct error *error);

/* Inside a transaction: the columns of the table, in their order. */
ERROR_MUST_CHECK static inline int store_describe(
    struct store *store, store_column_fn fn, void *context, struct error *error)
{
    return store->ops->describe(store, fn, context, error);
}

/* Inside a transaction: how many rows there are. Goes through all of them. */
ERROR_MUST_CHECK static inline int store_count(
    struct store *store, uint64_t *rows, struct error *error)
{
    return store->ops->count(store, rows, error);
}

/* Inside a reading transaction: starts a scan in the order of packages. One at a
 * time; it ends with the transaction. */
ERROR_MUST_CHECK static inline int store_scan_begin(
    struct store *store, const struct store_filter *filter, struct error *error)
{
    return store->ops->scan_begin(store, filter, error);
}

/* The next row, borrowed until the next call: 1; or 0 after the last one. */
ERROR_MUST_CHECK static inline int store_scan_next(
    struct store *store, struct row *row, struct error *error)
{
    return store->ops->scan_next(store, row, error);
}

/* After a commit of this writer: has so much work been put off that a keeper should
 * store_tidy now? */
static inline bool store_is_untidy(const struct store *store)
{
    return store->ops->is_untidy(store);
}

/* A keeper's: does the work that commits have put off. Takes long, and holds up writers and
 * readers for some milliseconds at most. What others do can keep it from finishing: that
 * is no error. */
ERROR_MUST_CHECK static inline int store_tidy(struct store *store, struct error *error)
{
    return store->ops->tidy(store, error);
}

#endif

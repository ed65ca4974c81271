/* SPDX-License-Identifier: MIT */
/* The audit log where it is kept: one connection to it, for both kinds of databases (doc/audit.md).
 *
 * With SQLite it is a database of its own, FILE-audit, which may be removed or renamed at any time.
 * With PostgreSQL it is tables beside the others. A struct audit_store is used by one thread at a
 * time, and any thread may open one. All texts that are handed out are borrowed until the callback
 * returns. After an error the connection is closed; the next call opens it again. */
#ifndef PRSERVD_AUDIT_STORE_H
#define PRSERVD_AUDIT_STORE_H

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audit_store_options {
    const char *file; /* the database whose audit log this is, as in struct store_options; copied */
    bool is_audit_log; /* SQLite: file is the audit log itself; reading only */
    bool writes;       /* makes the audit log if it is missing */
    unsigned wait_ms;  /* the longest wait for a lock or for an answer */
    struct log *log;   /* borrowed; NULL: none */
};

/* The request that made a row. */
enum audit_request { AUDIT_GET_PR, AUDIT_IMPORT_ONE, AUDIT_TAKEOVER, AUDIT_FLOOR, AUDIT_REQUESTS };

/* Returns its name: "get-pr". */
const char *audit_request_name(enum audit_request request);

/* A row that was stored. A take-over of older tables is one record for all its rows: its texts are
 * empty, except for value, the number of rows. */
struct audit_revision {
    int64_t id;      /* grows with each record, until the audit log is removed; reading only */
    int64_t time_us; /* since 1970 */
    struct text version;
    struct text pkgarch;
    struct text checksum;
    struct text value;
    enum audit_request request;
    bool is_return;          /* the checksum had another value before: its content came back */
    struct text rights;      /* of the listener: "rw", "rw,history", or "" */
    struct text peer;        /* an address without its port, "unix:uid=N", or "" */
    struct text annotations; /* a JSON object, or "" */
};

/* Requests for a content, without those that have made a record. */
struct audit_use {
    struct text version;
    struct text pkgarch;
    struct text checksum;
    int64_t last_us; /* the time of the last one, since 1970 */
    uint64_t count;
};

/* A package, as the audit log knows it. */
struct audit_package {
    struct text version;
    struct text pkgarch;
    uint64_t n_revisions; /* records of rows that were stored */
    uint64_t n_returns;   /* those with is_return */
    int64_t last_us;      /* the time of the last record */
};

/* The notes that one transaction writes. */
struct audit_batch {
    const struct audit_revision *revisions;
    size_t n_revisions;
    const struct audit_use *uses;
    size_t n_uses;
};

/* Which records are wanted. */
struct audit_query {
    struct text version; /* bytes NULL: all */
    struct text pkgarch; /* bytes NULL: all; only with version */
    int64_t since_us;    /* the oldest time; 0: all */
    int64_t after;       /* >= 0: those with a greater id, the oldest first */
    int64_t before;      /* without after: those with a smaller id, the newest first; 0: all */
    unsigned limit;
};

#define AUDIT_CHURN_RECORDS 50000

/* Which packages are wanted: those with the most revisions, or with the most contents that came
 * back. */
struct audit_churn {
    bool by_returns;
    unsigned limit;
    int64_t since_us; /* records from then on; 0: all, as they are counted for each package */
    int64_t from_us;  /* set if since_us is: the time from which on records were counted, later than
                         since_us if there are more than AUDIT_CHURN_RECORDS */
};

/* Called with each result. Returns 0 to go on; anything else ends the reading. */
typedef int (*audit_revision_fn)(void *context, const struct audit_revision *revision);
typedef int (*audit_use_fn)(void *context, const struct audit_use *use);
typedef int (*audit_package_fn)(void *context, const struct audit_package *package);

struct audit_store;

struct audit_store_ops {
    void (*close)(struct audit_store *store);
    void (*rest)(struct audit_store *store);
    int (*write)(struct audit_store *store, const struct audit_batch *batch, struct error *error);
    int (*expire)(struct audit_store *store, int64_t before_us, unsigned most, bool *more,
        struct error *error);
    int (*read_last)(struct audit_store *store, int64_t *id, struct error *error);
    int (*read_log)(struct audit_store *store, const struct audit_query *query,
        audit_revision_fn fn, void *context, struct error *error);
    int (*read_uses)(struct audit_store *store, struct text version, struct text pkgarch,
        unsigned limit, audit_use_fn fn, void *context, struct error *error);
    int (*read_packages)(struct audit_store *store, struct audit_churn *churn, audit_package_fn fn,
        void *context, struct error *error);
};

struct audit_store {
    const struct audit_store_ops *ops;
};

/* Prepares a connection, which is opened when it is used. *store is the caller's. Fails with
 * ERROR_MEMORY; with ERROR_STORE if this program knows no such database. */
ERROR_MUST_CHECK int audit_store_open(
    struct audit_store **store, const struct audit_store_options *options, struct error *error);

/* NULL is allowed. */
static inline void audit_store_close(struct audit_store *store)
{
    if (store)
        store->ops->close(store);
}

/* Gives back memory, because the next call may come much later. */
static inline void audit_store_rest(struct audit_store *store)
{
    if (store->ops->rest)
        store->ops->rest(store);
}

/* Writes a batch, all of it or nothing. Fails with ERROR_LOCKED and ERROR_STORE: the same can be
 * tried again, also if the audit log was damaged, which is put aside by then. */
ERROR_MUST_CHECK static inline int audit_store_write(
    struct audit_store *store, const struct audit_batch *batch, struct error *error)
{
    return store->ops->write(store, batch, error);
}

/* Removes at most so many records that are older, and what is known of contents that were last
 * asked for before that. *more: there may be more of them. */
ERROR_MUST_CHECK static inline int audit_store_expire(
    struct audit_store *store, int64_t before_us, unsigned most, bool *more, struct error *error)
{
    return store->ops->expire(store, before_us, most, more, error);
}

/* The functions that read succeed, and find nothing, if there is no audit log. */

/* Finds the greatest id; 0: there is none. */
ERROR_MUST_CHECK static inline int audit_store_read_last(
    struct audit_store *store, int64_t *id, struct error *error)
{
    return store->ops->read_last(store, id, error);
}

ERROR_MUST_CHECK static inline int audit_store_read_log(struct audit_store *store,
    const struct audit_query *query, audit_revision_fn fn, void *context, struct error *error)
{
    return store->ops->read_log(store, query, fn, context, error);
}

/* Calls back for the contents of a package. */
ERROR_MUST_CHECK static inline int audit_store_read_uses(struct audit_store *store,
    struct text version, struct text pkgarch, unsigned limit, audit_use_fn fn, void *context,
    struct error *error)
{
    return store->ops->read_uses(store, version, pkgarch, limit, fn, context, error);
}

/* Calls back for packages, the greatest number first. */
ERROR_MUST_CHECK static inline int audit_store_read_packages(struct audit_store *store,
    struct audit_churn *churn, audit_package_fn fn, void *context, struct error *error)
{
    return store->ops->read_packages(store, churn, fn, context, error);
}

#endif

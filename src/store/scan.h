/* SPDX-License-Identifier: MIT */
/* Scans of all rows of a database: whole, in one transaction, or in pieces, each in a transaction
 * of its own. As store.h, of which this is a part. */
#ifndef PRSERVD_SCAN_H
#define PRSERVD_SCAN_H

#include "store/store.h"

/* Inside a reading transaction: starts a scan in the order of packages. One at a time; it ends with
 * the transaction. */
ERROR_MUST_CHECK static inline int store_scan_begin(
    struct store *store, const struct store_filter *filter, struct error *error)
{
    return store->ops->scan_begin(store, filter, error);
}

/* Starts a piece of a scan that goes through many transactions, at a place: of store_scan_place, or
 * an empty buffer for the first row. Each piece sees the rows of its own transaction, all in one
 * order, so each row that was there at the start is returned once. Rows that do not pass the filter
 * may be returned as well, where no index would leave them out. Fails with ERROR_STORE if the
 * database was replaced, or went back to an older state, since the place was taken. */
ERROR_MUST_CHECK static inline int store_scan_resume(struct store *store,
    const struct store_filter *filter, const struct buffer *place, struct error *error)
{
    return store->ops->scan_resume(store, filter, place, error);
}

/* Sets the content of place, which can be used in any later transaction, from the last row of a
 * scan that store_scan_resume has started. buffer_failed tells if memory ran out. */
static inline void store_scan_place(
    struct store *store, enum store_scan_from which, struct buffer *place)
{
    store->ops->scan_place(store, which, place);
}

/* Returns an enum store_scan_result or an error. A row is borrowed until the next call. */
ERROR_MUST_CHECK static inline int store_scan_next(
    struct store *store, struct row *row, struct error *error)
{
    return store->ops->scan_next(store, row, error);
}

/* Inside a reading transaction: lets go of the database's files until store_resume, or
 * store_rollback: if they are removed, all stores of the process have to be let go. Rows that were
 * handed out are not valid any more. A thread that uses several stores holds one at a time. */
static inline void store_pause(struct store *store)
{
    if (store->ops->pause)
        store->ops->pause(store);
}

/* Goes on with a reading transaction, also if it was not paused. Fails with ERROR_STORE if the
 * files were removed or replaced meanwhile: then store_rollback is all that is left. */
ERROR_MUST_CHECK static inline int store_resume(struct store *store, struct error *error)
{
    return store->ops->resume ? store->ops->resume(store, error) : 0;
}

/* Returns whether store_find_greatest can be called. */
static inline bool store_finds_greatest(const struct store *store)
{
    return store->ops->find_greatest != NULL;
}

/* Inside a reading transaction: sets value to the greatest revision of a package, which an index
 * tells, with a NUL at its end; empty if it has none. */
ERROR_MUST_CHECK static inline int store_find_greatest(struct store *store, struct text version,
    struct text pkgarch, struct buffer *value, struct error *error)
{
    return store->ops->find_greatest(store, version, pkgarch, value, error);
}

#endif

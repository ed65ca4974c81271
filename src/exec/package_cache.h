/* SPDX-License-Identifier: MIT */
/* Packages kept in memory between transactions, so that the cost of a decision does not grow with
 * the rows of its package.
 *
 * A package with few rows is kept as a whole. Of a large one only the answers to questions are kept
 * (large_package.h), which come from an index or from a scan in pieces, so that other packages
 * don't wait.
 *
 * The cache never makes an answer wrong: package_cache_refresh, at the start of each transaction,
 * clears it if anybody else has written to the database. It belongs to one store and is used by
 * that store's thread. */
#ifndef PRSERVD_PACKAGE_CACHE_H
#define PRSERVD_PACKAGE_CACHE_H

#include "base/error.h"
#include "base/text.h"
#include "exec/invalid_rows.h"
#include "exec/large_package.h"
#include "exec/package.h"
#include "exec/package_facts.h"
#include "store/store.h"

#include <stdint.h>

struct package_cache;

/* How much of a package is read at once and kept as a whole. */
extern const struct large_package_limits package_cache_whole;

/* limit_bytes: the size to which package_cache_evict cuts the cache. Store and invalid_rows are
 * borrowed. Returns NULL when memory ran out. */
struct package_cache *package_cache_create(
    struct store *store, size_t limit_bytes, struct invalid_rows *invalid_rows);
void package_cache_free(struct package_cache *cache);

/* Clears the cache if its packages may have changed. To be called inside each transaction, before
 * package_cache_ask. blocking: whether this transaction may scan all of a large package, if others
 * have interrupted the scan in pieces again and again. */
ERROR_MUST_CHECK int package_cache_refresh(
    struct package_cache *cache, enum store_blocking blocking, struct error *error);

/* Inside a transaction: finds the facts about a package, read from the store if necessary. They are
 * borrowed until the next call for the cache. Returns 0, an error, or PACKAGE_IS_SCANNED: a scan
 * has to find them, and the same is to be asked again later; error says so, too. */
ERROR_MUST_CHECK int package_cache_ask(struct package_cache *cache,
    const struct package_question *question, struct package_facts *facts, struct error *error);

/* Adds a row, which the caller adds to the store, to the package that was asked about last. If the
 * row is not committed, call package_cache_clear. Fails with ERROR_MEMORY; likewise. */
ERROR_MUST_CHECK int package_cache_add(
    struct package_cache *cache, struct text checksum, struct text value);

/* Inside a transaction: returns the whole package, however many rows it has. Borrowed until
 * package_cache_ask, package_cache_refresh, package_cache_evict or package_cache_clear. The caller
 * may add the rows that it stores; if they are not committed, it calls package_cache_clear. */
ERROR_MUST_CHECK int package_cache_get(struct package_cache *cache, struct text version,
    struct text pkgarch, struct package **package, struct error *error);

/* Returns the package if the cache has all of it, otherwise NULL. At any time, also outside of
 * transactions: others may have changed it in the database since, so this is only good for a
 * guess. Borrowed as from package_cache_get. */
const struct package *package_cache_peek(
    struct package_cache *cache, struct text version, struct text pkgarch);

/* Returns whether package_cache_ask answers without the store, or is worth its reading the package
 * for a question that the store could answer by an index: that was asked about the same package
 * before, and nobody has written since. */
bool package_cache_is_wanted(struct package_cache *cache, struct text version, struct text pkgarch);

/* Returns whether questions about any package, or about this one, wait for a scan. */
bool package_cache_has_scans(const struct package_cache *cache);
bool package_cache_is_scanning(
    struct package_cache *cache, struct text version, struct text pkgarch);

/* Returns whether others have written again and again, so that the scan of this package in several
 * transactions has not come to its end. */
bool package_cache_is_restless(
    struct package_cache *cache, struct text version, struct text pkgarch);

/* Inside a transaction, after package_cache_refresh: scans a piece of one of the packages, for
 * PACKAGE_CACHE_SCAN_MS or a little more. Does nothing if no question waits. */
#define PACKAGE_CACHE_SCAN_MS 4
ERROR_MUST_CHECK int package_cache_scan(struct package_cache *cache, struct error *error);

/* Removes everything. The scans begin anew. */
void package_cache_clear(struct package_cache *cache);

/* After a transaction: removes the packages that were not used for longest, down to the limit, but
 * not the one that was used last; facts that took a scan go after all others. Removes everything if
 * the store can't tell what others write. */
void package_cache_evict(struct package_cache *cache);

#endif

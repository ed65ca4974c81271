/* Packages kept in memory between transactions, so that the cost of a decision does
 * not grow with the rows that a package has collected.
 *
 * Correctness never depends on it: memory_refresh, at the start of each transaction,
 * forgets everything if anybody else has written to the database since. It belongs
 * to one store and is used by that store's thread. */
#ifndef PRSERVD_MEMORY_H
#define PRSERVD_MEMORY_H

#include "base/error.h"
#include "base/text.h"
#include "exec/odd_rows.h"
#include "exec/package.h"
#include "store/store.h"

struct memory;

/* limit_bytes: about how much memory_trim lets it keep. NULL when memory ran out. */
struct memory *memory_create(struct store *store, size_t limit_bytes, struct odd_rows *odd_rows);
void memory_free(struct memory *memory);

/* Inside a transaction, first of all: forgets what may have changed. */
ERROR_MUST_CHECK int memory_refresh(struct memory *memory, struct error *error);

/* Inside a transaction: the package, read from the store if need be. Borrowed until
 * memory_refresh, memory_trim or memory_forget. The caller may add rows that it
 * stores; if they are not committed after all, it calls memory_forget. */
ERROR_MUST_CHECK int memory_recall(struct memory *memory, struct text version, struct text pkgarch,
    struct package **package, struct error *error);

/* At any time: does it hold the package, and not this checksum? What it holds may have
 * changed in the database: this is only good for guessing. */
bool memory_lacks(
    struct memory *memory, struct text version, struct text pkgarch, struct text checksum);

/* Forgets everything. */
void memory_forget(struct memory *memory);

/* Forgets what was not used for longest, down to the limit, but not the package that was
 * used last. After a transaction with a store that is far, everything. */
void memory_trim(struct memory *memory);

#endif

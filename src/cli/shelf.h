/* What may not fit into memory: a set of rows, and the greatest revision by name. It is a
 * temporary SQLite database of this process alone, in $SQLITE_TMPDIR, $TMPDIR, /var/tmp or
 * /tmp, and goes with it; up to 16 MiB stay in memory.
 *
 * Functions return 0, or ERROR_STORE (mostly: that folder is full). One thread. */
#ifndef PRSERV_SHELF_H
#define PRSERV_SHELF_H

#include "base/error.h"
#include "base/text.h"
#include "client/prserv.h"

#include <stdbool.h>

struct shelf;

/* *shelf is the caller's: shelf_close (NULL is allowed). */
ERROR_MUST_CHECK int shelf_open(struct shelf **shelf, struct error *error);
void shelf_close(struct shelf *shelf);

/* ---- a set of rows; each is marked with the sides (bits) that have it ---- */

/* *is_new (or NULL): no side had it. */
ERROR_MUST_CHECK int shelf_add(
    struct shelf *shelf, const struct prserv_row *row, int side, bool *is_new, struct error *error);

ERROR_MUST_CHECK int shelf_has(
    struct shelf *shelf, const struct prserv_row *row, bool *has, struct error *error);

/* Has some package several revisions, or a row without one? */
ERROR_MUST_CHECK int shelf_has_history(struct shelf *shelf, bool *history, struct error *error);

/* The rows that not all these sides have, in the order of their bytes. found gets a row,
 * borrowed until it returns. */
ERROR_MUST_CHECK int shelf_each_lacking(struct shelf *shelf, int sides,
    void (*found)(void *context, const struct prserv_row *row, int sides), void *context,
    struct error *error);

/* ---- the greatest revision by name ---- */

ERROR_MUST_CHECK int shelf_raise(
    struct shelf *shelf, struct text name, const char *revision, struct error *error);

ERROR_MUST_CHECK int shelf_each_greatest(struct shelf *shelf,
    void (*found)(void *context, struct text name, const char *revision), void *context,
    struct error *error);

#endif

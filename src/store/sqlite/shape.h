/* SPDX-License-Identifier: MIT */
/* The shape of the table PRMAIN: can it hold every row as it is?
 *
 * For the SQLite backend, and for `prserv verify`. */
#ifndef PRSERVD_SQLITE_SHAPE_H
#define PRSERVD_SQLITE_SHAPE_H

#include <sqlite3.h>

enum sqlite_shape_effect {
    SQLITE_SHAPE_UNREADABLE, /* a column is missing: there are no rows to read */
    SQLITE_SHAPE_REFUSED,    /* a row could be lost or changed; the rows can be read */
    SQLITE_SHAPE_TRIGGER,    /* may change or drop a new row */
    SQLITE_SHAPE_HARMLESS,   /* for prservd */
};

/* Called with a difference, in words. */
typedef void (*sqlite_shape_fn)(
    void *context, enum sqlite_shape_effect effect, const char *difference);

/* Calls back for each difference between the table (or view) PRMAIN, which exists, and one that
 * holds all rows as they are: four columns with TEXT affinity and BINARY collation, and a primary
 * key or a unique index over exactly these four, in any order. Other indexes are allowed, unless
 * they are unique over fewer of these columns. Returns SQLite's result code. */
int sqlite_shape_check(sqlite3 *database, sqlite_shape_fn fn, void *context);

#endif

/* SPDX-License-Identifier: MIT */
/* The tables of BitBake 1.16 to 2.8, PRMAIN_nohist and PRMAIN_hist, in SQL: which of their rows
 * count, and which of them PRMAIN lacks. The row of the old table is named old.
 *
 * For the SQLite backend, and for `prserv verify`. */
#ifndef PRSERVD_SQLITE_OLD_TABLES_H
#define PRSERVD_SQLITE_OLD_TABLES_H

/* A value as text: old values are integers. NULL if it is not a revision: a blob, or a number with
 * a fraction, which may have lost digits (1.10 became 1.1). */
#define SQLITE_OLD_VALUE                                                                       \
    "CASE typeof(old.value) WHEN 'text' THEN old.value WHEN 'integer' THEN CAST(old.value AS " \
    "TEXT) END"

/* Rows that count: an old table allows NULL in its key. */
#define SQLITE_OLD_HAS_KEY                                                \
    "(typeof(old.version) = 'text' AND typeof(old.pkgarch) = 'text' AND " \
    "typeof(old.checksum) = 'text')"

#define SQLITE_OLD_SAME_KEY(table)                                                \
    table ".version = old.version AND " table ".pkgarch = old.pkgarch AND " table \
          ".checksum = old.checksum"

/* Rows that PRMAIN, which exists, lacks. */
#define SQLITE_OLD_NOT_IN_MAIN                                             \
    "NOT EXISTS (SELECT 1 FROM PRMAIN AS main WHERE " SQLITE_OLD_SAME_KEY( \
        "main") " AND main.value = " SQLITE_OLD_VALUE ")"

/* Rows of PRMAIN_hist that PRMAIN_nohist, which exists, lacks. */
#define SQLITE_OLD_NOT_IN_NOHIST                                                    \
    "NOT EXISTS (SELECT 1 FROM PRMAIN_nohist AS nohist WHERE " SQLITE_OLD_SAME_KEY( \
        "nohist") " AND nohist.value IS old.value)"

#endif

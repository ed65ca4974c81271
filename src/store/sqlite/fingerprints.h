/* SPDX-License-Identifier: MIT */
/* A quick answer to the question whether PRMAIN has all rows of the old tables. */
#ifndef PRSERVD_SQLITE_FINGERPRINTS_H
#define PRSERVD_SQLITE_FINGERPRINTS_H

#include "store/sqlite/sqlite.h"

/* Sets *all to true if PRMAIN, which exists, has each row of the old tables, which are among
 * sources; false means that this is not known. Inside a transaction. */
ERROR_MUST_CHECK int sqlite_fingerprints_compare(
    struct sqlite_store *store, unsigned sources, bool *all, struct error *error);

#endif

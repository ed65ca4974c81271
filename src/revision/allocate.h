/* SPDX-License-Identifier: MIT */
/* Decides which revision answers a get-pr.
 *
 * A pure function of what is stored here and what the upstream has: no I/O, no clock, any thread.
 */
#ifndef PRSERVD_ALLOCATE_H
#define PRSERVD_ALLOCATE_H

#include <stdbool.h>

enum upstream_knowledge {
    UPSTREAM_NONE,    /* this server has no upstream */
    UPSTREAM_ASKED,   /* umax and uval are the upstream's answers */
    UPSTREAM_UNKNOWN, /* the upstream could not be asked */
};

/* The facts of a decision. The revisions are borrowed; NULL means none. */
struct allocate_facts {
    const char *lmax; /* the greatest value stored here, of any checksum */
    const char *lval; /* this checksum's value here: its greatest, or with history its smallest */
    const char *umax; /* the upstream's greatest value of the package */
    const char *uval; /* the upstream's value of this checksum */
    bool uval_held;   /* uval is stored here, for any checksum, or a floor is not below it */
    bool history;
    enum upstream_knowledge upstream;
};

enum allocate_result {
    ALLOCATE_OK,             /* *value is the answer */
    ALLOCATE_NEEDS_UPSTREAM, /* a new revision is needed, and the upstream is unknown */
    ALLOCATE_NO_MEMORY,
};

/* Decides. With ALLOCATE_OK, *value is the revision, the caller's (free); otherwise it is NULL. */
enum allocate_result allocate_revision(const struct allocate_facts *facts, char **value);

#endif

/* Which revision is the answer to a get-pr: the rules, and nothing else.
 *
 * A pure function of what is stored here and of what the upstream has: any
 * thread, no I/O, no clock. */
#ifndef PRSERVD_ALLOCATE_H
#define PRSERVD_ALLOCATE_H

#include <stdbool.h>

enum upstream_knowledge {
    UPSTREAM_NONE,    /* this server has no upstream */
    UPSTREAM_ASKED,   /* umax and uval are its answers */
    UPSTREAM_UNKNOWN, /* there is one, but it could not be asked */
};

/* What the decision rests on. The revisions are borrowed; NULL means none. */
struct allocate_facts {
    const char *lmax; /* greatest value stored here, of any checksum */
    const char *lval; /* this checksum's value here: its largest, with history its smallest */
    const char *umax; /* the upstream's greatest value of the package */
    const char *uval; /* the upstream's value of this checksum */
    bool uval_held;   /* some checksum here holds uval */
    bool history;
    enum upstream_knowledge upstream;
};

enum allocate_result {
    ALLOCATE_OK,             /* *value is the answer */
    ALLOCATE_NEEDS_UPSTREAM, /* a new number is needed, and the upstream is unknown */
    ALLOCATE_NO_MEMORY,
};

/* Decides. With ALLOCATE_OK *value is the caller's (free); otherwise it is NULL. */
enum allocate_result allocate_revision(const struct allocate_facts *facts, char **value);

#endif

/* SPDX-License-Identifier: MIT */
/* The rules of doc/semantics.md ("get-pr"), in their order and in their words. */
#include "revision/allocate.h"

#include "revision/revision.h"

#include <stdlib.h>
#include <string.h>

/* Raises v to the upstream's level if it is below. Takes v over, and returns it or its replacement,
 * or NULL if memory ran out, here or before. */
static char *allocate_lift(const struct allocate_facts *facts, char *v)
{
    if (!v || !facts->umax || revision_compare(v, facts->umax) >= 0)
        return v;
    free(v);
    return facts->uval ? strdup(facts->umax) : revision_child(facts->umax);
}

static char *allocate_new_content(const struct allocate_facts *facts)
{
    if (!facts->lmax && !facts->umax)
        return strdup("0");
    if (!facts->umax)
        return revision_increase(facts->lmax);
    if (facts->lmax && revision_compare(facts->lmax, facts->umax) > 0)
        return revision_increase(facts->lmax);
    return revision_child(facts->umax);
}

static char *allocate_upstream_content(const struct allocate_facts *facts)
{
    if (!facts->lmax || revision_compare(facts->uval, facts->lmax) > 0)
        return strdup(facts->uval);
    if (facts->history && !facts->uval_held)
        return strdup(facts->uval);
    return allocate_lift(facts, revision_increase(facts->lmax));
}

static char *allocate_known_content(const struct allocate_facts *facts)
{
    if (revision_compare(facts->lval, facts->lmax) == 0)
        return allocate_lift(facts, strdup(facts->lmax));
    return allocate_lift(facts, revision_increase(facts->lmax));
}

/* Without the upstream, only the greatest revision is certain: it has been published. */
static bool allocate_is_certain_without_upstream(const struct allocate_facts *facts)
{
    return facts->lval && revision_compare(facts->lval, facts->lmax) == 0;
}

enum allocate_result allocate_revision(const struct allocate_facts *facts, char **value)
{
    *value = NULL;
    if (facts->history && facts->lval)
        *value = strdup(facts->lval);
    else if (facts->upstream == UPSTREAM_UNKNOWN && !allocate_is_certain_without_upstream(facts))
        return ALLOCATE_NEEDS_UPSTREAM;
    else if (facts->lval)
        *value = allocate_known_content(facts);
    else if (facts->uval)
        *value = allocate_upstream_content(facts);
    else
        *value = allocate_new_content(facts);
    return *value ? ALLOCATE_OK : ALLOCATE_NO_MEMORY;
}

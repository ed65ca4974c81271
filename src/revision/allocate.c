/* The table of the specification ("get-pr"), in its order and in its words. */
#include "revision/allocate.h"

#include "revision/revision.h"

#include <stdlib.h>
#include <string.h>

/* Raises v to the upstream's level if it is below; takes v over, returns it or
 * its replacement, NULL when memory ran out (then, or before). */
static char *lift(const struct allocate_facts *facts, char *v)
{
    if (!v || !facts->umax || revision_compare(v, facts->umax) >= 0)
        return v;
    free(v);
    return facts->uval ? strdup(facts->umax) : revision_child(facts->umax);
}

static char *content_nobody_has_seen(const struct allocate_facts *facts)
{
    if (!facts->lmax && !facts->umax)
        return strdup("0");
    if (!facts->umax)
        return revision_increase(facts->lmax);
    if (facts->lmax && revision_compare(facts->lmax, facts->umax) > 0)
        return revision_increase(facts->lmax);
    return revision_child(facts->umax);
}

static char *content_that_upstream_has(const struct allocate_facts *facts)
{
    if (!facts->lmax || revision_compare(facts->uval, facts->lmax) > 0)
        return strdup(facts->uval);
    if (facts->history && !facts->uval_held)
        return strdup(facts->uval);
    return lift(facts, revision_increase(facts->lmax));
}

static char *content_published_here(const struct allocate_facts *facts)
{
    if (revision_compare(facts->lval, facts->lmax) == 0)
        return lift(facts, strdup(facts->lmax));
    return lift(facts, revision_increase(facts->lmax));
}

/* Without the upstream only what was published already is certain. */
static bool is_certain_without_upstream(const struct allocate_facts *facts)
{
    return facts->lval && revision_compare(facts->lval, facts->lmax) == 0;
}

enum allocate_result allocate_revision(const struct allocate_facts *facts, char **value)
{
    *value = NULL;
    if (facts->history && facts->lval)
        *value = strdup(facts->lval);
    else if (facts->upstream == UPSTREAM_UNKNOWN && !is_certain_without_upstream(facts))
        return ALLOCATE_NEEDS_UPSTREAM;
    else if (facts->lval)
        *value = content_published_here(facts);
    else if (facts->uval)
        *value = content_that_upstream_has(facts);
    else
        *value = content_nobody_has_seen(facts);
    return *value ? ALLOCATE_OK : ALLOCATE_NO_MEMORY;
}

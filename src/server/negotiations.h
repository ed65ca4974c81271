/* SPDX-License-Identifier: MIT */
/* Negotiations of TLS: which are under way, and whose step is next. On the loop's thread.
 *
 * A step can take milliseconds. So steps are made in turn over the addresses of clients: a client
 * waits for one step of each other address, however many negotiations that address has begun. If
 * too many are under way, one of the address that has most of them has to end. */
#ifndef PRSERVD_NEGOTIATIONS_H
#define PRSERVD_NEGOTIATIONS_H

#include "base/error.h"
#include "base/text.h"
#include "server/turns.h"

#include <stdbool.h>
#include <stddef.h>

#define NEGOTIATIONS_MOST 512 /* at the same time; each needs 50 KB, a hostile one up to 200 */

/* Part of its owner; all zero at first. */
struct negotiation {
    struct turn under_way;
    struct turn step; /* waits while there is input for a step */
    bool has_begun;   /* a step was made */
    void *owner;
};

struct negotiations {
    struct turns under_way; /* of an address: the one that began first is the first */
    struct turns steps;
    size_t n_under_way;
};

void negotiations_init(struct negotiations *negotiations);

/* Frees what is left when none is under way any more. */
void negotiations_deinit(struct negotiations *negotiations);

/* Begins a negotiation of a client of an address. Returns false if memory ran out. */
ERROR_MUST_CHECK bool negotiations_begin(struct negotiations *negotiations,
    struct negotiation *negotiation, void *owner, struct text address);

/* Ends a negotiation; does nothing if it is not under way. */
void negotiations_end(struct negotiations *negotiations, struct negotiation *negotiation);

/* Returns the owner of the negotiation that has to end before another one may begin: the oldest of
 * the address that has most of them. NULL: there is room for another one. */
void *negotiations_find_excess(const struct negotiations *negotiations);

/* Has a step made when it is the turn of its address. A second step comes before the first steps of
 * the address. Returns false if memory ran out. */
ERROR_MUST_CHECK bool negotiations_want_step(
    struct negotiations *negotiations, struct negotiation *negotiation, struct text address);

/* Returns the owner of the negotiation whose step is next, and takes that out of the queue. NULL:
 * none waits. */
void *negotiations_take_step(struct negotiations *negotiations);

/* Returns whether a step of this negotiation waits for its turn. */
static inline bool negotiation_is_waiting(const struct negotiation *negotiation)
{
    return turn_is_waiting(&negotiation->step);
}

#endif

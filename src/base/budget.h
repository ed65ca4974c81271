/* SPDX-License-Identifier: MIT */
/* The budget: the memory that all clients together can make the server hold.
 *
 * What is held is taken from the budget afterwards; when more is used than the limit, some of
 * it has to be given back (server/memory_pressure.h). What can be refused or delayed asks
 * first: requests with budget_admits, long answers with budget_try. */
#ifndef PRSERVD_BUDGET_H
#define PRSERVD_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define BUDGET_SMALL_BYTES ((size_t)4096) /* ten times the length of BitBake's requests */

struct budget {
    size_t limit;
    atomic_size_t used; /* by any thread */
    size_t under_way;   /* part of used: requests being worked on; loop's thread only */
    size_t leaving;     /* part of used: requests of closed connections, which give it back when the
                           work on them has ended; loop's thread only */
};

static inline void budget_init(struct budget *budget, size_t limit)
{
    budget->limit = limit;
    atomic_init(&budget->used, 0);
    budget->under_way = budget->leaving = 0;
}

static inline void budget_take(struct budget *budget, size_t bytes)
{
    (void)atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed);
}

static inline void budget_give(struct budget *budget, size_t bytes)
{
    (void)atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

static inline size_t budget_used(const struct budget *budget)
{
    return atomic_load_explicit(&budget->used, memory_order_relaxed);
}

/* Returns whether something has to be given back, beside what is leaving. The loop's thread. */
static inline bool budget_is_over(const struct budget *budget)
{
    return budget_used(budget) > budget->limit + budget->leaving;
}

/* Takes this much, or returns false if there is no room for it. A quarter is kept for what is
 * made of it. */
static inline bool budget_try(struct budget *budget, size_t bytes)
{
    budget_take(budget, bytes);
    if (budget_used(budget) <= budget->limit - budget->limit / 4)
        return true;
    budget_give(budget, bytes);
    return false;
}

/* Returns whether a client may send another request of about this size, or has to wait. is_idle:
 * it has none under way. Below a quarter of the budget all are admitted. The second quarter is
 * kept for small requests, one of each client, so that neither large requests nor many of one
 * client keep the others out. The second half is for what is made of the requests. A client does
 * not wait for ever: whatever requests under way wait for has a deadline. */
static inline bool budget_admits(const struct budget *budget, bool is_idle, size_t bytes)
{
    if (budget->under_way < budget->limit / 4)
        return true;
    return is_idle && bytes <= BUDGET_SMALL_BYTES && budget->under_way < budget->limit / 2;
}

#endif

/* Memory that clients can make the server hold, all of them together.
 *
 * Whoever holds some takes it from the budget, after the fact: who has to give some back
 * when more is used than there should be is decided elsewhere (server/relief.h). What
 * can be told before is asked for before: budget_admits for requests, budget_try for what
 * is made of them. */
#ifndef PRSERVD_BUDGET_H
#define PRSERVD_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define BUDGET_SMALL_BYTES ((size_t)4096) /* a request of BitBake has a tenth of it */

struct budget {
    size_t limit;
    atomic_size_t used; /* any thread */
    size_t under_way;   /* of it: requests that are worked on; the loop's */
};

static inline void budget_init(struct budget *budget, size_t limit)
{
    budget->limit = limit;
    atomic_init(&budget->used, 0);
    budget->under_way = 0;
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

static inline bool budget_is_over(const struct budget *budget)
{
    return budget_used(budget) > budget->limit;
}

/* Takes so much if there is room for it. A quarter is left for what is made of it. */
static inline bool budget_try(struct budget *budget, size_t bytes)
{
    budget_take(budget, bytes);
    if (budget_used(budget) <= budget->limit - budget->limit / 4)
        return true;
    budget_give(budget, bytes);
    return false;
}

/* May a client hand in another request of about so many bytes, or must it wait? idle: it
 * has none under way. What is under way comes back by itself, because all that it waits
 * for has a deadline; so nobody waits forever. The more there is, the less is let in: from
 * a quarter of the budget, one request of each client; from three eighths, only small ones;
 * at half of it, none. Clients with small requests have the last part for themselves. */
static inline bool budget_admits(const struct budget *budget, bool idle, size_t bytes)
{
    const size_t part = budget->limit / 8;

    if (budget->under_way < 2 * part)
        return true;
    if (!idle || budget->under_way >= 4 * part)
        return false;
    return budget->under_way < 3 * part || bytes <= BUDGET_SMALL_BYTES;
}

#endif

#include "server/holders.h"

#include <stdio.h>

void holders_init(struct holders *holders, struct budget *budget, struct log *log)
{
    holders->budget = budget;
    holders->log = log;
    holders->overruns = 0;
    for (size_t rank = 0; rank < HOLDERS_RANKS; rank++)
        TAILQ_INIT(&holders->by_rank[rank]);
}

static unsigned rank_of(size_t bytes)
{
    unsigned rank = 0;

    for (; bytes > 0; bytes /= 2)
        rank++;
    return rank;
}

void holders_set(struct holders *holders, struct holder *holder, size_t taken, size_t bytes)
{
    unsigned rank = rank_of(bytes);

    budget_give(holders->budget, holder->taken);
    budget_take(holders->budget, taken);
    holder->taken = taken;
    holder->bytes = bytes;
    if (rank == holder->rank)
        return;
    if (holder->rank > 0)
        TAILQ_REMOVE(&holders->by_rank[holder->rank], holder, link);
    if (rank > 0)
        TAILQ_INSERT_TAIL(&holders->by_rank[rank], holder, link);
    holder->rank = rank;
}

static struct holder *largest(const struct holders *holders)
{
    for (size_t rank = HOLDERS_RANKS - 1; rank > 0; rank--) {
        if (!TAILQ_EMPTY(&holders->by_rank[rank]))
            return TAILQ_FIRST(&holders->by_rank[rank]);
    }
    return NULL;
}

static void take_back(struct holders *holders, const struct holder *holder)
{
    char reason[200];

    if (holder->drop_spare(holder->owner))
        return;
    holders->overruns++;
    log_often(holders->log, LOG_WARNING,
        "The memory for requests and answers (%zu bytes) is used up: closing the connection "
        "that holds most, %zu bytes",
        holders->budget->limit, holder->bytes);
    (void)snprintf(reason, sizeof reason,
        "the memory for requests and answers (%zu bytes) is used up, and this connection holds "
        "most of it (%zu bytes)",
        holders->budget->limit, holder->bytes);
    holder->give_up(holder->owner, reason);
}

void holders_relieve(struct holders *holders)
{
    struct holder *holder;

    while (budget_is_over(holders->budget) && (holder = largest(holders)))
        take_back(holders, holder);
}

#include "server/holders.h"

void holders_init(struct holders *holders)
{
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

void holders_set(struct holders *holders, struct holder *holder, size_t bytes)
{
    unsigned rank = rank_of(bytes);

    holder->bytes = bytes;
    if (rank == holder->rank)
        return;
    if (holder->rank > 0)
        TAILQ_REMOVE(&holders->by_rank[holder->rank], holder, link);
    if (rank > 0)
        TAILQ_INSERT_TAIL(&holders->by_rank[rank], holder, link);
    holder->rank = rank;
}

struct holder *holders_largest(const struct holders *holders)
{
    for (size_t rank = HOLDERS_RANKS - 1; rank > 0; rank--) {
        if (!TAILQ_EMPTY(&holders->by_rank[rank]))
            return TAILQ_FIRST(&holders->by_rank[rank]);
    }
    return NULL;
}

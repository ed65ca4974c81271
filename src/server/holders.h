/* Who holds how much memory: finds one that holds most, without going through all of them.
 *
 * Holders are kept by the binary digits of what they hold, so one that holds most is found
 * but for a factor of two; of these, the one that has held so much for longest. On the
 * loop's thread. */
#ifndef PRSERVD_HOLDERS_H
#define PRSERVD_HOLDERS_H

#include <limits.h>
#include <stddef.h>
#include <sys/queue.h>

#define HOLDERS_RANKS (sizeof(size_t) * CHAR_BIT + 1)

/* Part of its owner; all zero at first. */
struct holder {
    TAILQ_ENTRY(holder) link;
    unsigned rank; /* digits; 0: on no list */
    size_t bytes;
    void *owner;
};

TAILQ_HEAD(holder_list, holder);

struct holders {
    struct holder_list by_rank[HOLDERS_RANKS];
};

void holders_init(struct holders *holders);

/* It holds so many bytes now; before it is freed, 0. */
void holders_set(struct holders *holders, struct holder *holder, size_t bytes);

/* NULL: nobody holds anything. */
struct holder *holders_largest(const struct holders *holders);

#endif

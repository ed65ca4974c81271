/* Who holds how much of the budget, and who gives it back when more is used than there
 * should be: one that holds most, found without going through all of them.
 *
 * Holders are kept by the binary digits of what they hold, so one that holds most is found
 * but for a factor of two; of these, the one that has held so much for longest. On the
 * loop's thread. */
#ifndef PRSERVD_HOLDERS_H
#define PRSERVD_HOLDERS_H

#include "base/budget.h"
#include "base/log.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define HOLDERS_RANKS (sizeof(size_t) * CHAR_BIT + 1)

/* Part of its owner; all zero at first, but for the functions and the owner. */
struct holder {
    TAILQ_ENTRY(holder) link;
    unsigned rank; /* digits; 0: on no list */
    size_t taken;  /* of the budget */
    size_t bytes;  /* that it could give back */
    /* Frees what it only keeps for later. False: it keeps nothing so. */
    bool (*drop_spare)(void *owner);
    /* Ends, for this reason, and frees most of what it holds at once. */
    void (*give_up)(void *owner, const char *reason);
    void *owner;
};

TAILQ_HEAD(holder_list, holder);

struct holders {
    struct budget *budget; /* borrowed */
    struct log *log;       /* borrowed */
    uint64_t overruns;     /* holders that had to give up */
    struct holder_list by_rank[HOLDERS_RANKS];
};

void holders_init(struct holders *holders, struct budget *budget, struct log *log);

/* It takes so many bytes of the budget now, and could give back so many, those that others
 * took for it included; before it is freed, 0 and 0. */
void holders_set(struct holders *holders, struct holder *holder, size_t taken, size_t bytes);

/* Until no more is used than there should be, or nobody holds anything, one that holds most
 * gives it back, and hears why. */
void holders_relieve(struct holders *holders);

#endif

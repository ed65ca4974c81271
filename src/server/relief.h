/* What each connection takes of the budget; when more is used than there should be, those
 * who hold most give it back.
 *
 * On the loop's thread. */
#ifndef PRSERVD_RELIEF_H
#define PRSERVD_RELIEF_H

#include "base/budget.h"
#include "base/log.h"
#include "server/holders.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Part of its owner; all zero at first, but for the functions and the owner. */
struct debtor {
    struct holder holder;
    size_t taken; /* of the budget, by relief_count */
    /* Frees what it only keeps for later. False: it keeps nothing so. */
    bool (*drop_spare)(void *owner);
    /* Ends, for this reason, and gives back most of what it holds, at once. */
    void (*give_up)(void *owner, const char *reason);
    void *owner;
};

struct relief {
    struct budget *budget; /* borrowed, as the log is */
    struct log *log;
    struct holders holders; /* debtors by what they would give back */
    uint64_t overruns;      /* debtors that had to give up */
};

void relief_init(struct relief *relief, struct budget *budget, struct log *log);

/* It takes so many bytes of the budget now, and would give back so many, those that others
 * took for it included; before it is freed, 0 and 0. */
void relief_count(struct relief *relief, struct debtor *debtor, size_t taken, size_t bytes);

/* Until no more is used than there should be, or nobody holds anything, one that holds most
 * gives it back, and hears why. Who holds little is not touched. */
void relief_run(struct relief *relief);

#endif

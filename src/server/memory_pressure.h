/* SPDX-License-Identifier: MIT */
/* The memory that each connection holds, and the closing of the largest when the budget is
 * exceeded.
 *
 * An account is updated at the moment when something is taken from the budget, so that the one that
 * holds most gives way, and no other. Accounts are kept in buckets, by the number of binary digits
 * of what they hold: the largest is searched for in one bucket only. On the loop's thread. */
#ifndef PRSERVD_MEMORY_PRESSURE_H
#define PRSERVD_MEMORY_PRESSURE_H

#include "base/budget.h"
#include "base/log.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define MEMORY_BUCKETS (sizeof(size_t) * CHAR_BIT + 1)

/* The memory that one connection holds. Part of its owner; all zero at first, except for the
 * functions and the owner. */
struct memory_account {
    TAILQ_ENTRY(memory_account) entry;
    unsigned bucket;    /* digits of held_bytes; 0: in no list */
    size_t taken_bytes; /* part of the budget taken by memory_pressure_update */
    size_t held_bytes;  /* memory that its owner's end gives back, at once or later */

    /* Frees memory that is only kept for later use. Returns false if there is none. */
    bool (*release_unused)(void *owner);
    /* Ends the owner, for this reason, and gives most of its memory back, or lets it leave
     * (budget.h). */
    void (*shut)(void *owner, const char *reason);
    void *owner;
};

struct memory_pressure {
    struct budget *budget; /* borrowed, as the log is */
    struct log *log;
    TAILQ_HEAD(memory_account_list, memory_account) buckets[MEMORY_BUCKETS];
    uint64_t overruns; /* owners that were shut */
};

void memory_pressure_init(struct memory_pressure *pressure, struct budget *budget, struct log *log);

/* Sets what the account takes from the budget, and what its owner holds (including what others took
 * for it). Both must be 0 before the account is freed. */
void memory_pressure_update(struct memory_pressure *pressure, struct memory_account *account,
    size_t taken_bytes, size_t held_bytes);

/* Returns the account that holds most; of several, the one that has held about as much for longest.
 * NULL: all are empty. */
struct memory_account *memory_pressure_largest(const struct memory_pressure *pressure);

/* Makes the largest accounts give memory back until the budget is no longer exceeded, or all
 * are empty. */
void memory_pressure_relieve(struct memory_pressure *pressure);

#endif

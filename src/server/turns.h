/* SPDX-License-Identifier: MIT */
/* Whose turn it is: clients of many addresses wait for something of which there is little. The
 * addresses are served in turn, and the clients of an address in turn. So a client waits as long as
 * there are other addresses, however many clients each of them has. On the loop's thread. */
#ifndef PRSERVD_TURNS_H
#define PRSERVD_TURNS_H

#include "base/error.h"
#include "base/map.h"
#include "base/text.h"

#include <stdbool.h>
#include <sys/queue.h>

struct turns_address;

/* Part of its owner; all zero at first, except for the owner. */
struct turn {
    TAILQ_ENTRY(turn) entry;
    struct turns_address *address; /* NULL: it does not wait */
    void *owner;
};

struct turns {
    struct map addresses;                               /* those with turns that wait */
    TAILQ_HEAD(turns_address_list, turns_address) next; /* in their order */
};

void turns_init(struct turns *turns);

/* Frees what is left when nobody waits any more. */
void turns_deinit(struct turns *turns);

/* Lets a turn wait, behind those of its address, or in front of them. Returns false if memory ran
 * out. */
ERROR_MUST_CHECK bool turns_add(
    struct turns *turns, struct turn *turn, struct text address, bool is_in_front);

/* Ends the wait of a turn; does nothing if it does not wait. */
void turns_remove(struct turns *turns, struct turn *turn);

static inline bool turn_is_waiting(const struct turn *turn)
{
    return turn->address != NULL;
}

/* Returns the turn that is next, without changing anything. NULL: none waits. */
struct turn *turns_first(const struct turns *turns);

/* Returns the first turn of the address that has most of them. NULL: none waits. Takes longer the
 * more addresses there are. */
struct turn *turns_first_of_largest(const struct turns *turns);

/* Takes the turn that is next: its wait ends, and its address goes behind the others. */
void turns_take(struct turns *turns, struct turn *turn);

/* Lets the address that is next go behind the others. */
void turns_pass(struct turns *turns);

#endif

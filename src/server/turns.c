/* SPDX-License-Identifier: MIT */
#include "server/turns.h"

#include <stdlib.h>

struct turns_address {
    struct map_entry entry; /* first: its key is the address */
    TAILQ_ENTRY(turns_address) next;
    TAILQ_HEAD(turn_list, turn) waiting; /* at least one */
    size_t n_waiting;
    bool is_listed;
};

void turns_init(struct turns *turns)
{
    turns->addresses = MAP_EMPTY;
    TAILQ_INIT(&turns->next);
}

void turns_deinit(struct turns *turns)
{
    map_clear(&turns->addresses, free);
}

bool turns_add(struct turns *turns, struct turn *turn, struct text address, bool is_in_front)
{
    struct turns_address *of = map_find_or_add(&turns->addresses, address, sizeof *of);

    if (!of)
        return false;
    if (!of->is_listed) {
        TAILQ_INIT(&of->waiting);
        TAILQ_INSERT_TAIL(&turns->next, of, next);
        of->is_listed = true;
    }
    if (is_in_front)
        TAILQ_INSERT_HEAD(&of->waiting, turn, entry);
    else
        TAILQ_INSERT_TAIL(&of->waiting, turn, entry);
    of->n_waiting++;
    turn->address = of;
    return true;
}

void turns_remove(struct turns *turns, struct turn *turn)
{
    struct turns_address *of = turn->address;

    if (!of)
        return;
    TAILQ_REMOVE(&of->waiting, turn, entry);
    of->n_waiting--;
    turn->address = NULL;
    if (!TAILQ_EMPTY(&of->waiting))
        return;
    TAILQ_REMOVE(&turns->next, of, next);
    map_remove(&turns->addresses, &of->entry);
    free(of);
}

struct turn *turns_first(const struct turns *turns)
{
    const struct turns_address *of = TAILQ_FIRST(&turns->next);

    return of ? TAILQ_FIRST(&of->waiting) : NULL;
}

struct turn *turns_first_of_largest(const struct turns *turns)
{
    const struct turns_address *largest = TAILQ_FIRST(&turns->next);
    const struct turns_address *of;

    TAILQ_FOREACH (of, &turns->next, next) {
        if (of->n_waiting > largest->n_waiting)
            largest = of;
    }
    return largest ? TAILQ_FIRST(&largest->waiting) : NULL;
}

void turns_pass(struct turns *turns)
{
    struct turns_address *of = TAILQ_FIRST(&turns->next);

    if (!of)
        return;
    TAILQ_REMOVE(&turns->next, of, next);
    TAILQ_INSERT_TAIL(&turns->next, of, next);
}

void turns_take(struct turns *turns, struct turn *turn)
{
    if (turn->address && turns_first(turns) == turn)
        turns_pass(turns);
    turns_remove(turns, turn);
}

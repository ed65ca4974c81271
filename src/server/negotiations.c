/* SPDX-License-Identifier: MIT */
#include "server/negotiations.h"

void negotiations_init(struct negotiations *negotiations)
{
    turns_init(&negotiations->under_way);
    turns_init(&negotiations->steps);
    negotiations->n_under_way = 0;
}

void negotiations_deinit(struct negotiations *negotiations)
{
    turns_deinit(&negotiations->under_way);
    turns_deinit(&negotiations->steps);
}

bool negotiations_begin(struct negotiations *negotiations, struct negotiation *negotiation,
    void *owner, struct text address)
{
    negotiation->owner = owner;
    negotiation->under_way.owner = negotiation->step.owner = negotiation;
    if (!turns_add(&negotiations->under_way, &negotiation->under_way, address, false))
        return false;
    negotiations->n_under_way++;
    return true;
}

void negotiations_end(struct negotiations *negotiations, struct negotiation *negotiation)
{
    if (!turn_is_waiting(&negotiation->under_way))
        return;
    turns_remove(&negotiations->steps, &negotiation->step);
    turns_remove(&negotiations->under_way, &negotiation->under_way);
    negotiations->n_under_way--;
}

void *negotiations_find_excess(const struct negotiations *negotiations)
{
    const struct negotiation *oldest;

    if (negotiations->n_under_way < NEGOTIATIONS_MOST)
        return NULL;
    oldest = turns_first_of_largest(&negotiations->under_way)->owner;
    return oldest->owner;
}

bool negotiations_want_step(
    struct negotiations *negotiations, struct negotiation *negotiation, struct text address)
{
    return negotiation_is_waiting(negotiation) ||
           turns_add(&negotiations->steps, &negotiation->step, address, negotiation->has_begun);
}

void *negotiations_take_step(struct negotiations *negotiations)
{
    struct turn *first = turns_first(&negotiations->steps);
    struct negotiation *negotiation;

    if (!first)
        return NULL;
    turns_take(&negotiations->steps, first);
    negotiation = first->owner;
    negotiation->has_begun = true;
    return negotiation->owner;
}

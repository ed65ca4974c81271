#include "server/turns.h"

#include <stddef.h>

void turns_init(struct turns *turns, unsigned at_once)
{
    turns->free = at_once;
    TAILQ_INIT(&turns->waiting);
}

bool turns_ask(struct turns *turns, struct turn *turn)
{
    if (turn->state == TURN_NONE && turns->free > 0) {
        turns->free--;
        turn->state = TURN_HAS;
    } else if (turn->state == TURN_NONE) {
        turn->state = TURN_WAITS;
        TAILQ_INSERT_TAIL(&turns->waiting, turn, link);
    }
    return turn->state == TURN_HAS;
}

static void pass_on(struct turns *turns)
{
    struct turn *next = TAILQ_FIRST(&turns->waiting);

    if (!next) {
        turns->free++;
        return;
    }
    TAILQ_REMOVE(&turns->waiting, next, link);
    next->state = TURN_HAS;
    next->come(next->context);
}

void turns_end(struct turns *turns, struct turn *turn)
{
    enum turn_state state = turn->state;

    turn->state = TURN_NONE;
    if (state == TURN_WAITS)
        TAILQ_REMOVE(&turns->waiting, turn, link);
    else if (state == TURN_HAS)
        pass_on(turns);
}

bool turns_are_waited_for(const struct turns *turns)
{
    return !TAILQ_EMPTY(&turns->waiting);
}

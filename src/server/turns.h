/* So many at once, the others wait, and come in the order in which they asked. On the
 * loop's thread. */
#ifndef PRSERVD_TURNS_H
#define PRSERVD_TURNS_H

#include <stdbool.h>
#include <sys/queue.h>

enum turn_state { TURN_NONE, TURN_WAITS, TURN_HAS };

/* Part of who wants a turn; all zero at first, but for come and context. */
struct turn {
    TAILQ_ENTRY(turn) link;
    enum turn_state state;
    void (*come)(void *context); /* it has its turn now; called from turns_end of another */
    void *context;
};

struct turns {
    unsigned free;
    TAILQ_HEAD(turn_list, turn) waiting;
};

void turns_init(struct turns *turns, unsigned at_once);

/* True: it has its turn, or had it already. False: it waits for it. */
bool turns_ask(struct turns *turns, struct turn *turn);

/* It wants it no more, whether it has, waits or did not ask. */
void turns_end(struct turns *turns, struct turn *turn);

bool turns_are_waited_for(const struct turns *turns);

#endif

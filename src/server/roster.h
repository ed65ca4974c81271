/* Who is there, who is to be looked after in this turn of the loop, and who waits to be
 * admitted. On the loop's thread. */
#ifndef PRSERVD_ROSTER_H
#define PRSERVD_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

/* Part of its owner; all zero at first, but for the owner. */
struct member {
    TAILQ_ENTRY(member) link;
    TAILQ_ENTRY(member) touched_link;
    TAILQ_ENTRY(member) waiting_link;
    bool touched;
    bool waiting;
    void *owner;
};

TAILQ_HEAD(member_list, member);

struct roster {
    struct member_list all;
    struct member_list touched; /* in the order in which they were */
    struct member_list waiting; /* longest first */
    size_t n_all;
    size_t n_touched;
};

void roster_init(struct roster *roster);

void roster_join(struct roster *roster, struct member *member);

/* To be looked after. Once is enough. */
void roster_touch(struct roster *roster, struct member *member);

/* Waits to be admitted. Likewise. */
void roster_wait(struct roster *roster, struct member *member);

/* The first of those that were touched, or that wait, and takes it off that list. NULL:
 * there is none. */
struct member *roster_take_touched(struct roster *roster);
struct member *roster_take_waiting(struct roster *roster);

/* It is not to be looked after any more and waits for nothing, but is still there. */
void roster_retire(struct roster *roster, struct member *member);

/* After it has retired. */
void roster_leave(struct roster *roster, struct member *member);

#endif

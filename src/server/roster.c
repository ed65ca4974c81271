#include "server/roster.h"

void roster_init(struct roster *roster)
{
    TAILQ_INIT(&roster->all);
    TAILQ_INIT(&roster->touched);
    TAILQ_INIT(&roster->waiting);
    roster->n_all = roster->n_touched = 0;
}

void roster_join(struct roster *roster, struct member *member)
{
    TAILQ_INSERT_TAIL(&roster->all, member, link);
    roster->n_all++;
}

void roster_touch(struct roster *roster, struct member *member)
{
    if (member->touched)
        return;
    member->touched = true;
    roster->n_touched++;
    TAILQ_INSERT_TAIL(&roster->touched, member, touched_link);
}

void roster_wait(struct roster *roster, struct member *member)
{
    if (member->waiting)
        return;
    member->waiting = true;
    TAILQ_INSERT_TAIL(&roster->waiting, member, waiting_link);
}

static void untouch(struct roster *roster, struct member *member)
{
    if (!member->touched)
        return;
    member->touched = false;
    roster->n_touched--;
    TAILQ_REMOVE(&roster->touched, member, touched_link);
}

static void wait_no_more(struct roster *roster, struct member *member)
{
    if (!member->waiting)
        return;
    member->waiting = false;
    TAILQ_REMOVE(&roster->waiting, member, waiting_link);
}

struct member *roster_take_touched(struct roster *roster)
{
    struct member *member = TAILQ_FIRST(&roster->touched);

    if (member)
        untouch(roster, member);
    return member;
}

struct member *roster_take_waiting(struct roster *roster)
{
    struct member *member = TAILQ_FIRST(&roster->waiting);

    if (member)
        wait_no_more(roster, member);
    return member;
}

void roster_retire(struct roster *roster, struct member *member)
{
    untouch(roster, member);
    wait_no_more(roster, member);
}

void roster_leave(struct roster *roster, struct member *member)
{
    TAILQ_REMOVE(&roster->all, member, link);
    roster->n_all--;
}

/* Whatever happens to a connection touches it; at the end of the turn those that were
 * touched are looked after, each once. */
#include "server/connections.h"

#include "base/clock.h"

#define ADMIT_AT_ONCE 64 /* of those that wait */

void connections_init(struct connections *connections, uv_loop_t *loop,
    const struct service *service, size_t max_message_bytes, void (*closed)(void *context),
    void *context)
{
    struct connection_shared *shared = &connections->shared;

    shared->loop = loop;
    shared->service = *service;
    shared->max_message_bytes = max_message_bytes;
    shared->closed = closed;
    shared->context = context;
    relief_init(&shared->relief, service->budget, service->log);
    roster_init(&shared->roster);
}

void connections_add(struct connections *connections, int descriptor, bool read_only)
{
    struct error error;

    if (connection_open(&connections->shared, descriptor, read_only, &error) != 0) {
        log_often(connections->shared.service.log, LOG_ERROR, "No memory for another connection");
        connections->refused++;
        return;
    }
    connections->accepted++;
}

size_t connections_count(const struct connections *connections)
{
    return connections->shared.roster.n_all;
}

void connections_stats(const struct connections *connections, struct connections_stats *stats)
{
    const struct budget *budget = connections->shared.service.budget;

    *stats = (struct connections_stats){
        .open = connections_count(connections),
        .accepted = connections->accepted,
        .refused = connections->refused,
        .used_bytes = budget_used(budget),
        .limit_bytes = budget->limit,
        .overruns = connections->shared.relief.overruns,
    };
}

/* Those that have waited longest, as far as they are let in; the others later. */
static void admit_waiting(struct roster *roster)
{
    struct member *member;

    for (int left = ADMIT_AT_ONCE; left > 0 && (member = roster_take_waiting(roster)); left--) {
        if (connection_is_admitted(member->owner))
            roster_touch(roster, member);
        else
            roster_wait(roster, member);
    }
}

bool connections_turn(struct connections *connections)
{
    struct connection_shared *shared = &connections->shared;
    struct roster *roster = &shared->roster;
    struct member *member;

    admit_waiting(roster);
    /* As many as there are now: those that touch themselves again come next time. */
    for (size_t left = roster->n_touched; left > 0 && (member = roster_take_touched(roster));
         left--)
        connection_look_after(member->owner);
    relief_run(&shared->relief);
    return roster->n_touched > 0;
}

void connections_check_deadlines(struct connections *connections)
{
    const struct member *member;
    uint64_t now = clock_ms();

    TAILQ_FOREACH (member, &connections->shared.roster.all, link)
        connection_check_deadline(member->owner, now);
}

void connections_stop(struct connections *connections)
{
    const struct member *member;

    connections->shared.stopping = true;
    TAILQ_FOREACH (member, &connections->shared.roster.all, link)
        connection_stop(member->owner);
}

void connections_close(struct connections *connections)
{
    const struct member *member;

    TAILQ_FOREACH (member, &connections->shared.roster.all, link)
        connection_close(member->owner, "the server stops");
}

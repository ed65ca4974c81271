#include "server/relief.h"

#include <stdio.h>

void relief_init(struct relief *relief, struct budget *budget, struct log *log)
{
    relief->budget = budget;
    relief->log = log;
    relief->overruns = 0;
    holders_init(&relief->holders);
}

void relief_count(struct relief *relief, struct debtor *debtor, size_t taken, size_t bytes)
{
    budget_give(relief->budget, debtor->taken);
    budget_take(relief->budget, taken);
    debtor->taken = taken;
    debtor->holder.owner = debtor;
    holders_set(&relief->holders, &debtor->holder, bytes);
}

static void take_back(struct relief *relief, const struct debtor *debtor)
{
    size_t limit = relief->budget->limit;
    size_t held = debtor->holder.bytes;
    char reason[200];

    if (debtor->drop_spare(debtor->owner))
        return;
    relief->overruns++;
    log_often(relief->log, LOG_WARNING,
        "The memory for requests and answers (%zu bytes) is used up: closing the connection "
        "that holds most, %zu bytes",
        limit, held);
    (void)snprintf(reason, sizeof reason,
        "the memory for requests and answers (%zu bytes) is used up, and this connection holds "
        "most of it (%zu bytes)",
        limit, held);
    debtor->give_up(debtor->owner, reason);
}

void relief_run(struct relief *relief)
{
    const struct holder *holder;

    while (budget_is_over(relief->budget) && (holder = holders_largest(&relief->holders)))
        take_back(relief, holder->owner);
}

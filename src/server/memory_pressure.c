/* SPDX-License-Identifier: MIT */
#include "server/memory_pressure.h"

#include <stdio.h>

void memory_pressure_init(struct memory_pressure *pressure, struct budget *budget, struct log *log)
{
    pressure->budget = budget;
    pressure->log = log;
    pressure->overruns = 0;
    for (size_t bucket = 0; bucket < MEMORY_BUCKETS; bucket++)
        TAILQ_INIT(&pressure->buckets[bucket]);
}

/* ---- accounts ---- */

static unsigned memory_pressure_bucket_of(size_t bytes)
{
    unsigned bucket = 0;

    for (; bytes > 0; bytes /= 2)
        bucket++;
    return bucket;
}

void memory_pressure_update(struct memory_pressure *pressure, struct memory_account *account,
    size_t taken_bytes, size_t held_bytes)
{
    unsigned bucket = memory_pressure_bucket_of(held_bytes);

    budget_give(pressure->budget, account->taken_bytes);
    budget_take(pressure->budget, taken_bytes);
    account->taken_bytes = taken_bytes;
    account->held_bytes = held_bytes;
    if (bucket == account->bucket)
        return;
    if (account->bucket > 0)
        TAILQ_REMOVE(&pressure->buckets[account->bucket], account, entry);
    if (bucket > 0)
        TAILQ_INSERT_TAIL(&pressure->buckets[bucket], account, entry);
    account->bucket = bucket;
}

struct memory_account *memory_pressure_largest(const struct memory_pressure *pressure)
{
    struct memory_account *largest = NULL;
    struct memory_account *account;

    for (size_t bucket = MEMORY_BUCKETS - 1; bucket > 0 && !largest; bucket--) {
        TAILQ_FOREACH (account, &pressure->buckets[bucket], entry) {
            if (!largest || account->held_bytes > largest->held_bytes)
                largest = account;
        }
    }
    return largest;
}

/* ---- giving memory back ---- */

static void memory_pressure_reclaim(
    struct memory_pressure *pressure, const struct memory_account *account)
{
    char reason[200];

    if (account->release_unused(account->owner))
        return;
    pressure->overruns++;
    (void)snprintf(reason, sizeof reason,
        "the memory for requests and answers (%zu bytes) is used up, and this connection holds "
        "most of it (%zu bytes)",
        pressure->budget->limit, account->held_bytes);
    log_often(pressure->log, LOG_WARNING, "Closing a connection: %s", reason);
    account->shut(account->owner, reason);
}

void memory_pressure_relieve(struct memory_pressure *pressure)
{
    const struct memory_account *largest;

    while (budget_is_over(pressure->budget) && (largest = memory_pressure_largest(pressure)))
        memory_pressure_reclaim(pressure, largest);
}

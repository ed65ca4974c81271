/* SPDX-License-Identifier: MIT */
/* The scope of transactions:
 *
 *     WAIT_LOCKED ──a lock took too long──→ SKIP_LOCKED ──a new package did──→ EXISTING_ONLY
 *          ↑                                 │  ↑  ↑                            │   │
 *          ├────────nothing was held─────────┘  └──┴─something was held─────────┘   │
 *          └────────nothing was held, or it failed──────────────────────────────────┘
 *
 * So if a machine fails in a transaction, the packages that its server holds delay other requests
 * for no longer than one lock_timeout. */
#include "store/postgres/policy.h"

#include "base/error.h"

#define LARGE_BATCH 8            /* smaller ones always get their read pass: it waits for no lock */
#define HELD_SLICE_MS 20         /* pause before held packages are tried again */
#define LONG_TRANSACTION_US 4000 /* from here on, waiting for more requests pays */
#define MAX_COMMIT_DELAY_US 5000
#define SLOW_TRANSACTION_US 50000 /* known content must not wait for it: it needs a read pass */

bool postgres_policy_skips_read(const struct postgres_policy *policy, size_t n)
{
    return policy->skips_read && n >= LARGE_BATCH;
}

bool postgres_policy_is_too_early(const struct postgres_policy *policy, size_t n, uint64_t now_ms)
{
    return policy->n_held > 0 && policy->n_held == n && now_ms < policy->held_until_ms;
}

void postgres_policy_begin_read(struct postgres_policy *policy)
{
    policy->n_read = 0;
    policy->n_items = 0;
    policy->took_us = 0;
}

void postgres_policy_end_read(struct postgres_policy *policy, size_t n)
{
    policy->n_read = n;
}

void postgres_policy_begin_write(struct postgres_policy *policy, uint64_t now_us)
{
    policy->began_us = now_us;
    policy->n_items = policy->n_held = 0;
}

void postgres_policy_lock(struct postgres_policy *policy, size_t n, size_t n_held, uint64_t now_ms)
{
    policy->n_items = n - n_held;
    policy->n_held = n_held;
    policy->held_until_ms = now_ms + HELD_SLICE_MS;
}

size_t postgres_policy_least_next(const struct postgres_policy *policy)
{
    const bool begins_next =
        policy->skips_read && policy->scope == POSTGRES_WAIT_LOCKED && policy->n_held == 0;

    return begins_next ? LARGE_BATCH : 0;
}

static enum postgres_scope postgres_policy_next_scope(
    const struct postgres_policy *policy, int result)
{
    static const enum postgres_scope after_failure[POSTGRES_SCOPES] = {
        [POSTGRES_WAIT_LOCKED] = POSTGRES_SKIP_LOCKED,
        [POSTGRES_SKIP_LOCKED] = POSTGRES_EXISTING_ONLY,
        [POSTGRES_EXISTING_ONLY] = POSTGRES_WAIT_LOCKED,
    };

    if (result == ERROR_LOCKED)
        return after_failure[policy->scope];
    return policy->n_held > 0 ? POSTGRES_SKIP_LOCKED : POSTGRES_WAIT_LOCKED;
}

void postgres_policy_end_write(
    struct postgres_policy *policy, int result, size_t n_rows, uint64_t now_us)
{
    /* If almost all content in a large batch was new, the read pass was wasted. */
    if (policy->n_read >= LARGE_BATCH)
        policy->skips_read = policy->n_items * 4 > policy->n_read * 3;
    if (result != 0 || n_rows * 2 < policy->n_items)
        policy->skips_read = false;
    policy->scope = postgres_policy_next_scope(policy, result);
    policy->n_answered = result == 0 ? policy->n_items : 0;
    policy->took_us = now_us - policy->began_us;
    if (policy->took_us >= SLOW_TRANSACTION_US)
        policy->skips_read = false;
    policy->began_us = 0;
    policy->n_read = 0;
}

uint64_t postgres_policy_delay_us(const struct postgres_policy *policy, size_t n_waiting,
    size_t n_arrived, uint64_t now_ms, size_t *n_enough)
{
    const uint64_t delay_us = policy->took_us / 4;

    if (n_arrived == 0 && postgres_policy_is_too_early(policy, n_waiting, now_ms)) {
        *n_enough = 1;
        return (uint64_t)HELD_SLICE_MS * 1000;
    }
    /* Clients that just got their answers ask again soon: one transaction does the work of two.
     * While a transaction is under way, these are the clients of the one before. */
    *n_enough = policy->began_us > 0 ? policy->n_answered : policy->n_items + n_arrived;
    if (policy->took_us < LONG_TRANSACTION_US || *n_enough <= 1)
        return 0;
    return delay_us < MAX_COMMIT_DELAY_US ? delay_us : MAX_COMMIT_DELAY_US;
}

/* SPDX-License-Identifier: MIT */
/* Permissions are kept as the time at which the address will have all of them again, as in the
 * generic cell rate algorithm: a request moves it by a period. */
#include "server/address_limits.h"

#include <stdlib.h>

#define SECOND_US UINT64_C(1000000)

struct limited_address {
    struct map_entry entry;
    TAILQ_ENTRY(limited_address) entry_idle; /* place among those without clients */
    bool is_idle;
    unsigned n_connections;
    uint64_t full_us; /* when it has all permissions (clock_us) */
};

void address_limits_init(struct address_limits *limits, unsigned requests_per_second)
{
    limits->requests_per_second = requests_per_second;
    limits->addresses = MAP_EMPTY;
    TAILQ_INIT(&limits->idle);
}

void address_limits_deinit(struct address_limits *limits)
{
    map_clear(&limits->addresses, free);
    TAILQ_INIT(&limits->idle);
}

bool address_limits_enter(
    struct address_limits *limits, struct text key, unsigned most, struct limited_address **found)
{
    struct limited_address *address =
        map_find_or_add(&limits->addresses, key, sizeof(struct limited_address));

    *found = address;
    if (!address)
        return true;
    if (most > 0 && address->n_connections >= most)
        return false;
    if (address->n_connections++ == 0 && address->is_idle)
        TAILQ_REMOVE(&limits->idle, address, entry_idle);
    address->is_idle = false;
    return true;
}

static void address_limits_forget(struct address_limits *limits, struct limited_address *address)
{
    map_remove(&limits->addresses, &address->entry);
    free(address);
}

void address_limits_leave(struct address_limits *limits, struct limited_address *address)
{
    if (!address || --address->n_connections > 0)
        return;
    if (limits->requests_per_second == 0) {
        address_limits_forget(limits, address);
        return;
    }
    address->is_idle = true;
    TAILQ_INSERT_TAIL(&limits->idle, address, entry_idle);
}

bool address_limits_take(
    struct address_limits *limits, struct limited_address *address, uint64_t now_us)
{
    uint64_t full_us;

    if (!address || limits->requests_per_second == 0)
        return true;
    full_us = (address->full_us > now_us ? address->full_us : now_us) +
              SECOND_US / limits->requests_per_second;
    if (full_us > now_us + ADDRESS_LIMITS_BURST_S * SECOND_US)
        return false;
    address->full_us = full_us;
    return true;
}

void address_limits_tick(struct address_limits *limits, uint64_t now_us)
{
    struct limited_address *address;
    struct limited_address *following;

    for (address = TAILQ_FIRST(&limits->idle); address; address = following) {
        following = TAILQ_NEXT(address, entry_idle);
        if (address->full_us > now_us)
            continue;
        TAILQ_REMOVE(&limits->idle, address, entry_idle);
        address_limits_forget(limits, address);
    }
}

/* SPDX-License-Identifier: MIT */
/* Limits for the clients of an address together: how many connections they have, and how many
 * requests a second are taken from them (doc/security.md). On the loop's thread.
 *
 * An address has a number of permissions to take a request. Each second adds requests_per_second,
 * up to BURST_S seconds' worth. */
#ifndef PRSERVD_ADDRESS_LIMITS_H
#define PRSERVD_ADDRESS_LIMITS_H

#include "base/error.h"
#include "base/map.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define ADDRESS_LIMITS_BURST_S 10

/* An address with clients, or one that has not all its permissions back. */
struct limited_address;

struct address_limits {
    unsigned requests_per_second; /* 0: no limit */
    struct map addresses;
    TAILQ_HEAD(limited_address_list, limited_address) idle; /* those without clients */
};

void address_limits_init(struct address_limits *limits, unsigned requests_per_second);
void address_limits_deinit(struct address_limits *limits);

/* Counts a connection of an address, and finds the address: until address_limits_leave. *found is
 * NULL if memory ran out; then the connection has no limits. Returns false, and counts nothing, if
 * the address has so many connections already; most: 0 means any number. */
ERROR_MUST_CHECK bool address_limits_enter(
    struct address_limits *limits, struct text key, unsigned most, struct limited_address **found);

/* address: NULL is allowed, here and below. */
void address_limits_leave(struct address_limits *limits, struct limited_address *address);

/* Takes a permission. Returns false if there is none at the moment. now_us: clock_us. */
ERROR_MUST_CHECK bool address_limits_take(
    struct address_limits *limits, struct limited_address *address, uint64_t now_us);

/* Forgets addresses without clients that have all permissions. Call it about once a second. */
void address_limits_tick(struct address_limits *limits, uint64_t now_us);

#endif

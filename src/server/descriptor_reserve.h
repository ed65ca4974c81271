/* SPDX-License-Identifier: MIT */
/* Keeps descriptors free for the database, the log, exports and the upstream: clients may use only
 * the others. Otherwise idle clients could make the requests of all fail. */
#ifndef PRSERVD_DESCRIPTOR_RESERVE_H
#define PRSERVD_DESCRIPTOR_RESERVE_H

#include <stdbool.h>
#include <stddef.h>

struct descriptor_reserve {
    int used_at_start; /* descriptors without any client */
};

/* To be called when everything but clients is open. */
void descriptor_reserve_init(struct descriptor_reserve *reserve);

/* Returns whether another client would get a descriptor of the reserve, or none at all. n_clients:
 * the clients that are connected. */
bool descriptor_reserve_is_reached(const struct descriptor_reserve *reserve, size_t n_clients);

#endif

/* SPDX-License-Identifier: MIT */
/* Sets of networks in CIDR notation: "10.0.0.0/8", "fd00::/64", "192.0.2.7".
 *
 * A set keeps disjoint ranges in their order, so a look-up in 1,000 networks takes 10 comparisons.
 * IPv4 addresses in IPv6 notation (::ffff:192.0.2.7) count as IPv4. */
#ifndef PRSERVD_NETWORKS_H
#define PRSERVD_NETWORKS_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* An address without a port, in the order of networks: the family, then the bytes. */
struct network_address {
    unsigned char bytes[17];
};

/* Takes the address of a socket. Returns false if it is neither IPv4 nor IPv6. */
bool network_address_take(struct network_address *address, const struct sockaddr *socket);

struct network_range {
    struct network_address first;
    struct network_address last;
};

struct networks {
    struct network_range *ranges; /* owned (networks_free) */
    size_t n;
};

/* Adds a network. Fails with ERROR_INPUT if the text is not one, and with ERROR_MEMORY. */
ERROR_MUST_CHECK int networks_add(struct networks *networks, struct text text, struct error *error);

/* Sorts and merges what was added. To be called before networks_contain. */
void networks_finish(struct networks *networks);

bool networks_contain(const struct networks *networks, const struct network_address *address);

void networks_free(struct networks *networks);

#endif

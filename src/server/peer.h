/* SPDX-License-Identifier: MIT */
/* The other end of a connection: for the log, and to share what there is among addresses. */
#ifndef PRSERVD_PEER_H
#define PRSERVD_PEER_H

#include "base/text.h"

#define PEER_BYTES 80

/* Writes "10.0.0.7:51234", "[fd00::7]:51234" or "unix:uid=1000"; "" if the system does not tell. */
void peer_name(int descriptor, char name[PEER_BYTES]);

/* The address that all clients of one machine or user have in common. */
struct peer_address {
    unsigned char bytes[9];
    unsigned char length;
};

/* Finds the address without a port: of IPv6 only the network, since a machine has many addresses in
 * it; of a unix socket the user. Nothing if the system does not tell. */
void peer_find_address(int descriptor, struct peer_address *address);

/* Returns the address as a key. */
static inline struct text peer_address_text(const struct peer_address *address)
{
    return (struct text){.bytes = (const char *)address->bytes, .length = address->length};
}

/* Returns a peer without its port, borrowed: "10.0.0.7", "fd00::7", "unix:uid=1000". */
struct text peer_host(const char *name);

#endif

/* SPDX-License-Identifier: MIT */
/* The other end of a connection: for the log, and to share what there is among addresses. */
#ifndef PRSERVD_PEER_H
#define PRSERVD_PEER_H

#include "base/networks.h"
#include "base/text.h"

#include <stdbool.h>
#include <sys/types.h>

#define PEER_BYTES 80

/* The address that all clients of one machine or user have in common. */
struct peer_address {
    unsigned char bytes[9];
    unsigned char length;
};

struct peer {
    char name[PEER_BYTES]; /* "10.0.0.7:51234", "[fd00::7]:51234" or "unix:uid=1000" */
    bool is_unix;
    bool is_known;                  /* whether the system has told what follows */
    struct network_address network; /* without the port; not of a unix socket */
    uid_t user;                     /* of a unix socket, as what follows */
    gid_t group;
    /* Without the port: of IPv6 only the network, since a machine has many addresses in it; of a
     * unix socket the user. */
    struct peer_address address;
};

/* Finds who is at the other end of a socket. Its name and address are empty if the system does not
 * tell. */
void peer_find(int descriptor, struct peer *peer);

/* Returns whether the process at the other end of a unix socket is in a group, as its main group or
 * as one of the others. */
bool peer_is_in_group(int descriptor, const struct peer *peer, gid_t group);

/* Returns the address as a key. */
static inline struct text peer_address_text(const struct peer_address *address)
{
    return (struct text){.bytes = (const char *)address->bytes, .length = address->length};
}

/* Returns a peer without its port, borrowed: "10.0.0.7", "fd00::7", "unix:uid=1000". */
struct text peer_host(const char *name);

#endif

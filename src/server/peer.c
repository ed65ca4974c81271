/* SPDX-License-Identifier: MIT */
#include "server/peer.h"

#include "base/address.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define MOST_GROUPS 1024 /* of a process that are looked at */

static void peer_set_address(
    struct peer_address *address, char kind, const void *bytes, size_t length)
{
    address->bytes[0] = (unsigned char)kind;
    memcpy(address->bytes + 1, bytes, length);
    address->length = (unsigned char)(length + 1);
}

static void peer_find_user(int descriptor, struct peer *peer)
{
    struct ucred found;
    socklen_t length = sizeof found;

    peer->is_unix = true;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &found, &length) != 0)
        return;
    peer->is_known = true;
    peer->user = found.uid;
    peer->group = found.gid;
    (void)snprintf(peer->name, PEER_BYTES, "unix:uid=%lu", (unsigned long)found.uid);
    peer_set_address(&peer->address, 'u', &found.uid, sizeof found.uid);
}

void peer_find(int descriptor, struct peer *peer)
{
    struct sockaddr_storage found = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof found;
    char text[ADDRESS_TEXT_BYTES];
    const unsigned char *bytes = peer->network.bytes;

    *peer = (struct peer){.is_unix = false};
    if (getpeername(descriptor, (struct sockaddr *)&found, &length) != 0)
        return;
    if (found.ss_family == AF_UNIX) {
        peer_find_user(descriptor, peer);
        return;
    }
    peer->is_known = network_address_take(&peer->network, (const struct sockaddr *)&found);
    if (!peer->is_known)
        return;
    address_format_socket((const struct sockaddr *)&found, text);
    (void)snprintf(peer->name, PEER_BYTES, "%.79s", text);
    if (bytes[0] == 4)
        peer_set_address(&peer->address, '4', bytes + 1, 4);
    else
        peer_set_address(&peer->address, '6', bytes + 1, 8);
}

bool peer_is_in_group(int descriptor, const struct peer *peer, gid_t group)
{
    gid_t groups[MOST_GROUPS];
    socklen_t length = sizeof groups;

    if (!peer->is_unix || !peer->is_known)
        return false;
    if (peer->group == group)
        return true;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, groups, &length) != 0)
        return false;
    for (size_t i = 0; i < length / sizeof *groups; i++) {
        if (groups[i] == group)
            return true;
    }
    return false;
}

struct text peer_host(const char *name)
{
    const char *colon = strrchr(name, ':');
    struct text host = text_of(name);

    if (!colon || text_starts_with(host, "unix:"))
        return host;
    host.length = (size_t)(colon - name);
    if (host.length >= 2 && host.bytes[0] == '[' && host.bytes[host.length - 1] == ']')
        host = (struct text){.bytes = host.bytes + 1, .length = host.length - 2};
    return host;
}

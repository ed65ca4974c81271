/* SPDX-License-Identifier: MIT */
#include "server/peer.h"

#include "base/address.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void peer_name_unix(int descriptor, char name[PEER_BYTES])
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
        (void)snprintf(name, PEER_BYTES, "unix:uid=%lu", (unsigned long)peer.uid);
}

void peer_name(int descriptor, char name[PEER_BYTES])
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    char text[ADDRESS_TEXT_BYTES];

    name[0] = '\0';
    if (getpeername(descriptor, (struct sockaddr *)&address, &length) != 0)
        return;
    if (address.ss_family == AF_UNIX) {
        peer_name_unix(descriptor, name);
        return;
    }
    address_format_socket((const struct sockaddr *)&address, text);
    (void)snprintf(name, PEER_BYTES, "%.79s", text);
}

static void peer_set_address(
    struct peer_address *address, char kind, const void *bytes, size_t length)
{
    address->bytes[0] = (unsigned char)kind;
    memcpy(address->bytes + 1, bytes, length);
    address->length = (unsigned char)(length + 1);
}

static void peer_set_user(struct peer_address *address, int descriptor)
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0)
        peer_set_address(address, 'u', &peer.uid, sizeof peer.uid);
}

void peer_find_address(int descriptor, struct peer_address *address)
{
    struct sockaddr_storage found = {.ss_family = AF_UNSPEC};
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&found;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&found;
    socklen_t length = sizeof found;

    address->length = 0;
    if (getpeername(descriptor, (struct sockaddr *)&found, &length) != 0)
        return;
    if (found.ss_family == AF_UNIX)
        peer_set_user(address, descriptor);
    else if (found.ss_family == AF_INET)
        peer_set_address(address, '4', &v4->sin_addr, sizeof v4->sin_addr);
    else if (found.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        peer_set_address(address, '4', v6->sin6_addr.s6_addr + 12, 4);
    else if (found.ss_family == AF_INET6)
        peer_set_address(address, '6', v6->sin6_addr.s6_addr, 8);
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

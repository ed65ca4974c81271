/* SPDX-License-Identifier: MIT */
#include "base/networks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define V4_BITS 32
#define V6_BITS 128
#define MAPPED_BITS (V6_BITS - V4_BITS) /* of ::ffff:0:0 */

static int network_address_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct network_address));
}

static void network_address_set_v4(struct network_address *address, const void *bytes)
{
    *address = (struct network_address){.bytes = {4}};
    memcpy(address->bytes + 1, bytes, 4);
}

/* Returns whether the address was one of IPv4. */
static bool network_address_set_v6(struct network_address *address, const struct in6_addr *v6)
{
    if (IN6_IS_ADDR_V4MAPPED(v6)) {
        network_address_set_v4(address, v6->s6_addr + 12);
        return true;
    }
    address->bytes[0] = 6;
    memcpy(address->bytes + 1, v6->s6_addr, 16);
    return false;
}

bool network_address_take(struct network_address *address, const struct sockaddr *socket)
{
    if (socket->sa_family == AF_INET)
        network_address_set_v4(address, &((const struct sockaddr_in *)socket)->sin_addr);
    else if (socket->sa_family == AF_INET6)
        (void)network_address_set_v6(address, &((const struct sockaddr_in6 *)socket)->sin6_addr);
    else
        return false;
    return true;
}

/* ---- parsing ---- */

/* Reads an address, and sets the number of its bits and of those that its notation has in front of
 * them. Returns false if it is none. */
static bool networks_read_address(
    struct network_address *address, const char *text, unsigned *bits, unsigned *in_front)
{
    struct in6_addr v6;
    struct in_addr v4;

    *in_front = 0;
    *bits = V4_BITS;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        network_address_set_v4(address, &v4);
        return true;
    }
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return false;
    if (network_address_set_v6(address, &v6))
        *in_front = MAPPED_BITS;
    else
        *bits = V6_BITS;
    return true;
}

/* Reads the length of a prefix. Returns false if it is not a number up to most. */
static bool networks_read_prefix(unsigned *prefix, const char *text, unsigned most)
{
    const size_t digits = strspn(text, "0123456789");

    *prefix = 0;
    if (digits == 0 || digits > 3 || text[digits] != '\0')
        return false;
    for (const char *at = text; *at; at++)
        *prefix = *prefix * 10 + (unsigned)(*at - '0');
    return *prefix <= most;
}

/* Sets the bits behind the prefix in last. Returns false if one of them is set in first. */
static bool networks_set_range(struct network_range *range, unsigned prefix, unsigned bits)
{
    range->last = range->first;
    for (unsigned bit = prefix; bit < bits; bit++) {
        const unsigned char mask = (unsigned char)(0x80 >> bit % 8);

        if (range->first.bytes[1 + bit / 8] & mask)
            return false;
        range->last.bytes[1 + bit / 8] |= mask;
    }
    return true;
}

/* Parses a copy of the text, which it changes. */
static int networks_parse_copy(
    struct network_range *range, char *copy, const char *text, struct error *error)
{
    char *slash = strchr(copy, '/');
    unsigned bits;
    unsigned in_front;
    unsigned prefix;

    if (slash)
        *slash = '\0';
    if (!networks_read_address(&range->first, copy, &bits, &in_front))
        return error_set(error, ERROR_INPUT,
            "'%s' is not a network; write an address, or one with a prefix: 10.0.0.0/8, fd00::/64",
            text);
    prefix = bits + in_front;
    if (slash && (!networks_read_prefix(&prefix, slash + 1, bits + in_front) || prefix < in_front))
        return error_set(error, ERROR_INPUT,
            "'%s' is not a network: the prefix is a number from %u to %u", text, in_front,
            bits + in_front);
    if (networks_set_range(range, prefix - in_front, bits))
        return 0;
    return error_set(error, ERROR_INPUT,
        "'%s' is not a network: the address has bits behind the prefix; for a single address leave "
        "out the prefix",
        text);
}

static int networks_parse(struct network_range *range, struct text text, struct error *error)
{
    char whole[INET6_ADDRSTRLEN + sizeof "/128"];
    char copy[sizeof whole];

    *range = (struct network_range){.first = {.bytes = {0}}};
    if (text.length >= sizeof whole)
        return error_set(
            error, ERROR_INPUT, "'%.40s…' is not a network: it is too long", text.bytes);
    memcpy(whole, text.bytes, text.length);
    whole[text.length] = '\0';
    memcpy(copy, whole, sizeof whole);
    return networks_parse_copy(range, copy, whole, error);
}

int networks_add(struct networks *networks, struct text text, struct error *error)
{
    struct network_range range;
    struct network_range *ranges;
    int result = networks_parse(&range, text, error);

    if (result != 0)
        return result;
    ranges = realloc(networks->ranges, (networks->n + 1) * sizeof *ranges);
    if (!ranges)
        return error_set_memory(error);
    ranges[networks->n++] = range;
    networks->ranges = ranges;
    return 0;
}

/* ---- the set ---- */

static int network_range_compare(const void *a, const void *b)
{
    const struct network_range *left = a;
    const struct network_range *right = b;

    return network_address_compare(&left->first, &right->first);
}

/* Networks either contain each other or have nothing in common. So of those that overlap, the first
 * or the longest one is kept. */
void networks_finish(struct networks *networks)
{
    size_t kept = 0;

    if (networks->n == 0)
        return;
    qsort(networks->ranges, networks->n, sizeof *networks->ranges, network_range_compare);
    for (size_t i = 1; i < networks->n; i++) {
        struct network_range *last = &networks->ranges[kept];
        const struct network_range *range = &networks->ranges[i];

        if (network_address_compare(&range->first, &last->last) > 0)
            networks->ranges[++kept] = *range;
        else if (network_address_compare(&range->last, &last->last) > 0)
            last->last = range->last;
    }
    networks->n = kept + 1;
}

bool networks_contain(const struct networks *networks, const struct network_address *address)
{
    size_t low = 0;
    size_t high = networks->n;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct network_range *range = &networks->ranges[middle];

        if (network_address_compare(address, &range->first) < 0)
            high = middle;
        else if (network_address_compare(address, &range->last) > 0)
            low = middle + 1;
        else
            return true;
    }
    return false;
}

void networks_free(struct networks *networks)
{
    free(networks->ranges);
    *networks = (struct networks){.ranges = NULL};
}

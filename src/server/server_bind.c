/* SPDX-License-Identifier: MIT */
#include "server/server_bind.h"

#include <string.h>

/* Returns whether an IPv6 listener must leave IPv4 to another listener on the same port. */
static bool server_is_v6_only(const struct server_options *options, const struct address *address)
{
    for (size_t i = 0; i < options->n_listeners; i++) {
        const struct address *other = &options->listeners[i].address;

        if (!other->is_unix && other->port == address->port && !strchr(other->host, ':'))
            return true;
    }
    return false;
}

int server_bind(struct listeners *listeners, struct http_host *http,
    const struct server_options *options, struct error *error)
{
    int result = 0;

    for (size_t i = 0; i < options->n_listeners && result == 0; i++) {
        const struct server_listener *listener = &options->listeners[i];

        result = listeners_bind(listeners, &listener->address, &listener->options,
            server_is_v6_only(options, &listener->address), error);
    }
    for (size_t i = 0; i < options->n_inherited && result == 0; i++)
        result = listeners_adopt(
            listeners, options->inherited[i].descriptor, &options->inherited[i].options, error);
    if (result == 0 && options->n_http > 0)
        result = http_host_bind(http, options->http, options->n_http, error);
    return result;
}

bool server_counts_addresses(const struct server_options *options)
{
    bool counts = options->max_requests_per_second_per_address > 0;

    for (size_t i = 0; i < options->n_listeners; i++)
        counts = counts || options->listeners[i].options.max_connections_per_address > 0;
    for (size_t i = 0; i < options->n_inherited; i++)
        counts = counts || options->inherited[i].options.max_connections_per_address > 0;
    return counts;
}

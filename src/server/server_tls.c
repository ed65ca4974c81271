/* SPDX-License-Identifier: MIT */
#include "server/server_tls.h"

static bool server_tls_is_listened_for(const struct server_options *options)
{
    bool has_tls = false;

    for (size_t i = 0; i < options->n_listeners; i++)
        has_tls = has_tls || options->listeners[i].options.tls;
    for (size_t i = 0; i < options->n_inherited; i++)
        has_tls = has_tls || options->inherited[i].options.tls;
    return has_tls;
}

static bool server_tls_is_connected_with(const struct server_options *options)
{
    const struct address *address = options->forward ? options->forward : options->upstream;

    return address && address->is_tls;
}

/* Refuses files that nothing uses: whoever names them expects more than they do. */
static int server_tls_check(const struct server_options *options, struct error *error)
{
    const bool listens = server_tls_is_listened_for(options);
    const bool connects = server_tls_is_connected_with(options);

    if (options->tls_key && !options->tls_certificate)
        return error_set(error, ERROR_INPUT, "--tls-key: it needs --tls-cert");
    if (listens && !options->tls_certificate)
        return error_set(
            error, ERROR_INPUT, "an address with ',tls' needs --tls-cert, and --tls-key");
    if (options->tls_certificate && !listens && !connects)
        return error_set(error, ERROR_INPUT,
            "--tls-cert: no address has ',tls', and there is no --upstream or --forward with "
            "tls://");
    if (options->tls_client_ca && !listens)
        return error_set(error, ERROR_INPUT, "--tls-client-ca: no address has ',tls'");
    if (options->tls_ca && !connects)
        return error_set(error, ERROR_INPUT,
            "--tls-ca: there is no --upstream or --forward with tls:// (for clients: "
            "--tls-client-ca)");
    return 0;
}

int server_tls_open(
    struct server_tls *tls, const struct server_options *options, struct error *error)
{
    const struct tls_options listeners = {.is_server = true,
        .certificate = options->tls_certificate,
        .key = options->tls_key,
        .ca = options->tls_client_ca};
    const struct tls_options upstream = {
        .certificate = options->tls_certificate, .key = options->tls_key, .ca = options->tls_ca};
    int result = server_tls_check(options, error);

    if (result == 0 && server_tls_is_listened_for(options))
        result = tls_endpoint_create(&tls->listeners, &listeners, options->log, error);
    if (result == 0 && server_tls_is_connected_with(options))
        result = tls_endpoint_create(&tls->upstream, &upstream, options->log, error);
    return result;
}

void server_tls_reload(const struct server_tls *tls)
{
    if (tls->listeners)
        tls_endpoint_reload(tls->listeners);
    if (tls->upstream)
        tls_endpoint_reload(tls->upstream);
}

void server_tls_tick(const struct server_tls *tls, struct metrics *metrics)
{
    /* Both have the same certificate. */
    struct tls_endpoint *endpoint = tls->listeners ? tls->listeners : tls->upstream;

    if (!endpoint)
        return;
    tls_endpoint_tick(endpoint);
    metric_set(&metrics->tls_expires_s, (uint64_t)tls_endpoint_expires_s(endpoint));
}

void server_tls_close(struct server_tls *tls)
{
    tls_endpoint_free(tls->listeners);
    tls_endpoint_free(tls->upstream);
    *tls = (struct server_tls){.listeners = NULL};
}

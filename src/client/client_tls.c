/* SPDX-License-Identifier: MIT */
#include "client/client_tls.h"

#include "client/client_error.h"

#include <stdlib.h>

const struct tls_module *client_tls_module(void)
{
#ifdef PRSERV_TLS
    return &TLS_MODULE;
#else
    return NULL;
#endif
}

/* Returns a name, or that in the environment; an empty one is none. */
static const char *client_tls_choose(const char *name, const char *variable)
{
    if (!name)
        name = getenv(variable);
    return name && name[0] != '\0' ? name : NULL;
}

int client_tls_open(
    struct tls_context **context, const struct prserv_tls *files, struct prserv_error *error)
{
    const struct prserv_tls none = {.ca = NULL};
    const struct prserv_tls *given = files ? files : &none;
    const struct tls_options options = {
        .ca = client_tls_choose(given->ca, "PRSERV_TLS_CA"),
        .certificate = client_tls_choose(given->certificate, "PRSERV_TLS_CERT"),
        .key = client_tls_choose(given->key, "PRSERV_TLS_KEY"),
    };
    const struct tls_module *tls = client_tls_module();
    struct error reason;
    int result;

    *context = NULL;
    if (!tls)
        return client_error_set(
            error, PRSERV_ERROR_ARGUMENT, "this program was built without TLS (-Dtls=disabled)");
    result = tls->context_open(context, &options, &reason);
    if (result == 0)
        return 0;
    return client_error_set(error,
        result == ERROR_MEMORY ? PRSERV_ERROR_MEMORY : PRSERV_ERROR_ARGUMENT, "%s", reason.text);
}

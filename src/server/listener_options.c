/* SPDX-License-Identifier: MIT */
#include "server/listener_options.h"

#include "server/access.h"

#include <stdio.h>

void listener_options_describe(
    const struct listener_options *options, char words[LISTENER_WORDS_BYTES])
{
    static const char *const rights[] = {[LISTENER_FULL] = "",
        [LISTENER_ASSIGN] = ", assign only",
        [LISTENER_READ_ONLY] = ", read-only"};
    const struct access *access = options->access;
    char limit[64] = "";
    char all[LISTENER_WORDS_BYTES + 2];

    if (options->max_connections_per_address > 0)
        (void)snprintf(limit, sizeof limit, ", at most %u connections of an address",
            options->max_connections_per_address);
    (void)snprintf(all, sizeof all, "%s%s%s%s%s%s%s", rights[options->rights],
        options->tls ? ", TLS" : "", options->history ? ", history" : "",
        options->log ? ", log" : "",
        access && !access_list_is_empty(&access->allowed) ? ", for some addresses" : "",
        access && !access_list_is_empty(&access->writers) ? ", read-only but for some addresses"
                                                          : "",
        limit);
    (void)snprintf(words, LISTENER_WORDS_BYTES, "%s", all[0] ? all + 2 : "");
}

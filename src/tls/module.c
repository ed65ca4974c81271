/* SPDX-License-Identifier: MIT */
#include "tls/tls.h"

/* libprserv hides its own copy. */
#ifdef PRSERV_TLS
#define EXPORTED
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

EXPORTED const struct tls_module TLS_MODULE = {
    .context_open = tls_context_open,
    .context_close = tls_context_close,
    .context_expires_s = tls_context_expires_s,
    .open = tls_open,
    .close = tls_close,
    .receive = tls_receive,
    .negotiate = tls_negotiate,
    .read = tls_read,
    .write = tls_write,
    .shut = tls_shut,
    .take_output = tls_take_output,
    .held_bytes = tls_held_bytes,
    .describe_peer = tls_describe_peer,
};

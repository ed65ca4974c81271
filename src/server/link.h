/* One connection to another server, from the client's end: resolves, connects,
 * sends lines, hands messages on. On the loop's thread. */
#ifndef PRSERVD_LINK_H
#define PRSERVD_LINK_H

#include "base/address.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

#include <uv.h>

struct link;

/* None of them is called before link_open has returned, nor after link_close or
 * failed. They may call link_close. */
struct link_events {
    void (*opened)(void *context);
    void (*message)(void *context, struct text message); /* borrowed */
    /* The link is over, and freed: reason is "connection refused" or the like. */
    void (*failed)(void *context, const char *reason);
    void *context;
};

/* Connects within wait_ms, and sends the opening of the protocol. *link is the
 * caller's until failed or link_close. Fails with ERROR_MEMORY or ERROR_SYSTEM. */
ERROR_MUST_CHECK int link_open(struct link **link, uv_loop_t *loop, const struct address *address,
    unsigned wait_ms, const struct link_events *events, struct error *error);

#define LINK_CANT_SEND "nothing can be sent, memory ran out"

/* Sends what is in the buffer, which is taken over and left empty. Fails with ERROR_MEMORY, also
 * for a buffer that has failed, or ERROR_SYSTEM: nothing was sent then, no event follows, and
 * the link is good for link_close. */
ERROR_MUST_CHECK int link_send(struct link *link, struct buffer *lines);

/* Ends the link; no more events. NULL is allowed. */
void link_close(struct link *link);

#endif

/* A connection to a server for a program that may wait: connects, sends, receives, and
 * gives up when the time is over. One thread at a time. Fails with the codes of
 * prserv.h; after an error it is only good for channel_close. */
#ifndef PRSERV_CHANNEL_H
#define PRSERV_CHANNEL_H

#include "base/address.h"
#include "base/buffer.h"
#include "client/prserv.h"
#include "wire/framer.h"

#include <stdbool.h>
#include <stdint.h>

struct channel {
    int descriptor;       /* -1: not connected; non-blocking */
    uint64_t deadline_ms; /* set by channel_hurry */
    struct framer framer;
    bool heard; /* something came since channel_hurry */
};

void channel_init(struct channel *channel);

/* From now on what is done has to be done within this time. */
void channel_hurry(struct channel *channel, unsigned timeout_ms);

/* Connects and sends the opening of the protocol. Resolving a name takes the time that
 * it takes. */
PRSERV_CHECK int channel_open(
    struct channel *channel, const struct address *address, struct prserv_error *error);

/* Is there nothing to be read? Something is when the server closed the connection. Only
 * while it is connected. */
bool channel_is_quiet(const struct channel *channel);

/* Sends everything; what comes meanwhile is kept, so that two sides that both want to
 * send first don't wait for each other. A connection that the server closed is no error
 * here: reading finds out, after what the server had to say. */
PRSERV_CHECK int channel_send(
    struct channel *channel, struct text text, struct prserv_error *error);

/* The next message, or, if last is given, the next piece of one (*last: the message ends
 * with it); borrowed until the next call. */
PRSERV_CHECK int channel_receive(
    struct channel *channel, struct text *received, bool *last, struct prserv_error *error);

/* Ends the connection, if there is one; it may be opened again, with the same deadline. */
void channel_close(struct channel *channel);

#endif

/* How a connection begins: "PRSERVICE 1.0", header lines, an empty line. */
#ifndef PRSERVD_OPENING_H
#define PRSERVD_OPENING_H

#include "base/error.h"
#include "wire/framer.h"

#include <stdbool.h>

/* What a client sends that wants no headers back. */
#define OPENING_CLIENT "PRSERVICE 1.0\nneeds-headers: false\n\n"

#define OPENING_HEADER_BYTES 8192
#define OPENING_HEADER_LINES 100

struct opening {
    bool protocol_seen;
    unsigned headers;   /* header lines read so far */
    bool needs_headers; /* the client waits for the server's headers */
};

/* Reads on. FRAMER_READY: the opening is complete, messages follow. FRAMER_MORE:
 * more bytes are needed. FRAMER_LOST: error says what is wrong with it. */
ERROR_MUST_CHECK enum framer_result opening_read(
    struct opening *opening, struct framer *framer, struct error *error);

#endif

/* SPDX-License-Identifier: MIT */
/* The handshake, with which a client opens a connection: the line PRSERVICE 1.0, header lines, an
 * empty line (doc/protocol.md). */
#ifndef PRSERVD_HANDSHAKE_H
#define PRSERVD_HANDSHAKE_H

#include "base/error.h"
#include "wire/framer.h"

#include <stdbool.h>

/* The handshake of our own clients, which want no headers back. */
#define HANDSHAKE_CLIENT "PRSERVICE 1.0\nneeds-headers: false\n\n"

/* The handshake of a server that asks its upstream. */
#define HANDSHAKE_SERVER "PRSERVICE 1.0\nneeds-headers: false\nx-prserv-upstream: 1\n\n"

/* Headers that the audit log keeps: x-build-host and so on. */
enum handshake_annotation {
    HANDSHAKE_BUILD_HOST,
    HANDSHAKE_BUILD_NAME,
    HANDSHAKE_MACHINE,
    HANDSHAKE_DISTRO,
    HANDSHAKE_LAYERS,
    HANDSHAKE_ANNOTATIONS
};

extern const char *const handshake_annotation_names[HANDSHAKE_ANNOTATIONS]; /* "build-host", … */

#define HANDSHAKE_ANNOTATION_BYTES 1024 /* longer ones are cut, at a character */

#define HANDSHAKE_HEADER_BYTES 8192 /* in the longest line */
#define HANDSHAKE_HEADER_LINES 100

struct handshake {
    bool has_protocol;   /* the protocol line was read */
    unsigned n_headers;  /* header lines that were read */
    bool needs_headers;  /* the client waits for the server's headers */
    bool is_from_server; /* the client is a server that asks its upstream */
    bool is_tls;         /* the client begins with TLS, which its owner does not expect */
    bool is_xml_rpc;     /* the client is too old: its first line is that of XML-RPC */
    char *annotations[HANDSHAKE_ANNOTATIONS]; /* owned (handshake_release); NULL: not sent */
    char *relays;            /* names of the relays on the way, with commas; owned; NULL: none */
    size_t annotation_bytes; /* of them, together, also after their release */
};

/* Returns whether a name is that of an annotation, without "x-". */
bool handshake_is_annotation(struct text name);

/* Frees the annotations. */
void handshake_release(struct handshake *handshake);

/* Appends the annotations as a JSON object in ASCII; nothing if there are none. */
void handshake_write_annotations(const struct handshake *handshake, struct buffer *out);

/* Returns whether a relay of this name is on the way from the client. */
bool handshake_has_relay(const struct handshake *handshake, const char *name);

/* Appends the header lines that a relay sends on: the annotations, and that the client is a server;
 * nothing if there are none. */
void handshake_write_headers(const struct handshake *handshake, struct buffer *out);

/* Reads the lines that have arrived. FRAMER_READY: the handshake is complete, messages follow.
 * FRAMER_MORE: more bytes are needed. FRAMER_LOST: error says what is wrong. */
ERROR_MUST_CHECK enum framer_result handshake_read(
    struct handshake *handshake, struct framer *framer, struct error *error);

#endif

/* SPDX-License-Identifier: MIT */
/* The address of a server: "host:port", "[v6]:port", "tls://host:port" or "unix:///path". */
#ifndef PRSERVD_ADDRESS_H
#define PRSERVD_ADDRESS_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADDRESS_HOST_BYTES 256

struct address {
    bool is_unix;
    bool is_tls;                                          /* not of a unix socket */
    char host[ADDRESS_HOST_BYTES];                        /* a name or a number, without brackets */
    unsigned port;                                        /* 0 to 65535 */
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* of the socket, if is_unix */
};

/* Parses an address in one of these forms. Fails with ERROR_INPUT. */
ERROR_MUST_CHECK int address_parse(struct address *address, const char *text, struct error *error);

/* Sets a host, with or without brackets, and a port. Fails with ERROR_INPUT. */
ERROR_MUST_CHECK int address_set_host(
    struct address *address, const char *host, unsigned port, struct error *error);

/* Parses a port, "0" to "65535". Fails with ERROR_INPUT. */
ERROR_MUST_CHECK int address_parse_port(unsigned *port, const char *text, struct error *error);

#define ADDRESS_TEXT_BYTES 300

/* Writes an address in the form that address_parse reads. */
void address_format(const struct address *address, char text[ADDRESS_TEXT_BYTES]);

/* Writes the address of a socket in that form: "127.0.0.1:8585", "[::1]:8585",
 * "unix:///path". */
void address_format_socket(const struct sockaddr *address, char text[ADDRESS_TEXT_BYTES]);

/* Returns the port of a socket of IPv4 or IPv6. */
unsigned address_port(const struct sockaddr *address);

/* Writes the number alone: "127.0.0.1", "::1". */
void address_format_number(const struct sockaddr *address, char text[ADDRESS_TEXT_BYTES]);

#endif

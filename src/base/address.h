/* Where a server listens or is reached: "host:port", "[v6]:port", "unix:///path". */
#ifndef PRSERVD_ADDRESS_H
#define PRSERVD_ADDRESS_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADDRESS_HOST_BYTES 256

struct address {
    bool is_unix;
    char host[ADDRESS_HOST_BYTES];                        /* name or number, without brackets */
    unsigned port;                                        /* 0 to 65535 */
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* is_unix: the socket's file */
};

/* Reads one of the three forms. Fails with ERROR_INPUT. */
ERROR_MUST_CHECK int address_parse(struct address *address, const char *text, struct error *error);

/* Takes a host (brackets around it are allowed) and a port. Fails with ERROR_INPUT. */
ERROR_MUST_CHECK int address_set_host(
    struct address *address, const char *host, unsigned port, struct error *error);

/* Reads "0" to "65535". Fails with ERROR_INPUT. */
ERROR_MUST_CHECK int address_parse_port(unsigned *port, const char *text, struct error *error);

#define ADDRESS_TEXT_BYTES 300

/* Writes the address as address_parse reads it. */
void address_format(const struct address *address, char text[ADDRESS_TEXT_BYTES]);

/* Writes a socket's address likewise: "127.0.0.1:8585", "[::1]:8585", "unix:///path". */
void address_format_socket(const struct sockaddr *address, char text[ADDRESS_TEXT_BYTES]);

/* Writes only the number: "127.0.0.1", "::1". */
void address_format_number(const struct sockaddr *address, char text[ADDRESS_TEXT_BYTES]);

#endif

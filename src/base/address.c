/* SPDX-License-Identifier: MIT */
#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define UNIX_PREFIX "unix://"
#define TLS_PREFIX "tls://"

int address_parse_port(unsigned *port, const char *text, struct error *error)
{
    unsigned value = 0;
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return error_set(
            error, ERROR_INPUT, "'%s' is not a port; a port is a number from 0 to 65535", text);
    for (const char *at = text; *at; at++)
        value = value * 10 + (unsigned)(*at - '0');
    if (value > 65535)
        return error_set(error, ERROR_INPUT, "%s is not a port; the greatest is 65535", text);
    *port = value;
    return 0;
}

static bool address_is_host(const char *host, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)host[i] <= ' ' || strchr("/,[]", host[i]))
            return false;
    }
    return true;
}

int address_set_host(struct address *address, const char *host, unsigned port, struct error *error)
{
    size_t length = strlen(host);

    memset(address, 0, sizeof *address);
    if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
        host++;
        length -= 2;
    }
    if (length == 0 || length >= sizeof address->host || !address_is_host(host, length))
        return error_set(error, ERROR_INPUT, "'%s' is not a host name or address", host);
    memcpy(address->host, host, length);
    address->port = port;
    return 0;
}

static int address_parse_unix(struct address *address, const char *path, struct error *error)
{
    memset(address, 0, sizeof *address);
    if (path[0] != '/' || path[1] == '\0')
        return error_set(error, ERROR_INPUT,
            "'unix://%s' is not the address of a socket; write unix:///path/of/socket", path);
    if (strlen(path) >= sizeof address->path)
        return error_set(error, ERROR_INPUT, "the path of a unix socket has at most %zu bytes: %s",
            sizeof address->path - 1, path);
    address->is_unix = true;
    memcpy(address->path, path, strlen(path));
    return 0;
}

static int address_parse_tcp(struct address *address, const char *text, struct error *error)
{
    char host[ADDRESS_HOST_BYTES];
    const char *colon = strrchr(text, ':');
    unsigned port = 0;

    if (!colon || colon == text || (size_t)(colon - text) >= sizeof host)
        return error_set(
            error, ERROR_INPUT, "'%s' is not an address; write HOST:PORT or [IPv6]:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (host[0] != '[' && strchr(host, ':'))
        return error_set(error, ERROR_INPUT,
            "'%s' is not an address; write an IPv6 address in brackets: [%s]:PORT", text, text);
    if (address_parse_port(&port, colon + 1, error) != 0)
        return ERROR_INPUT;
    return address_set_host(address, host, port, error);
}

int address_parse(struct address *address, const char *text, struct error *error)
{
    const bool is_tls = strncmp(text, TLS_PREFIX, strlen(TLS_PREFIX)) == 0;
    int result;

    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return address_parse_unix(address, text + strlen(UNIX_PREFIX), error);
    result = address_parse_tcp(address, is_tls ? text + strlen(TLS_PREFIX) : text, error);
    address->is_tls = result == 0 && is_tls;
    return result;
}

void address_format(const struct address *address, char text[ADDRESS_TEXT_BYTES])
{
    if (address->is_unix)
        (void)snprintf(text, ADDRESS_TEXT_BYTES, UNIX_PREFIX "%s", address->path);
    else
        (void)snprintf(text, ADDRESS_TEXT_BYTES,
            strchr(address->host, ':') ? "%s[%s]:%u" : "%s%s:%u", address->is_tls ? TLS_PREFIX : "",
            address->host, address->port);
}

void address_format_number(const struct sockaddr *address, char text[ADDRESS_TEXT_BYTES])
{
    const void *number = address->sa_family == AF_INET6
                             ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                             : (const void *)&((const struct sockaddr_in *)address)->sin_addr;

    if (!inet_ntop(address->sa_family, number, text, ADDRESS_TEXT_BYTES))
        (void)snprintf(text, ADDRESS_TEXT_BYTES, "?");
}

unsigned address_port(const struct sockaddr *address)
{
    return ntohs(address->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

void address_format_socket(const struct sockaddr *address, char text[ADDRESS_TEXT_BYTES])
{
    char number[ADDRESS_TEXT_BYTES];

    if (address->sa_family == AF_UNIX) {
        (void)snprintf(text, ADDRESS_TEXT_BYTES, UNIX_PREFIX "%s",
            ((const struct sockaddr_un *)address)->sun_path);
        return;
    }
    address_format_number(address, number);
    (void)snprintf(text, ADDRESS_TEXT_BYTES,
        address->sa_family == AF_INET6 ? "[%.250s]:%u" : "%.250s:%u", number,
        address_port(address));
}

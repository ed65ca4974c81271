/* SPDX-License-Identifier: MIT */
/* When a server's backlog is full, epoll can't wait for connect() on a Unix socket; connecting to
 * one therefore always blocks. */
#include "bench/target.h"

#include "base/text.h"
#include "bench/sealed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* Closes the descriptor (if not negative) and turns errno into an error about the target. */
static int bench_target_failed(
    const struct bench_target *target, int descriptor, struct error *error)
{
    int reason = errno;

    if (descriptor >= 0)
        (void)close(descriptor);
    if (reason == EMFILE || reason == ENFILE)
        return error_set(error, ERROR_SYSTEM,
            "can't open another socket: %s; reduce --connections or raise the limit of open files",
            strerror(reason));
    if (reason == EADDRNOTAVAIL)
        return error_set(error, ERROR_SYSTEM,
            "no local port is free to connect to %s: closed connections keep theirs for up to a "
            "minute; open fewer connections, or use --source-addresses or a Unix socket",
            target->text);
    if (reason == EINPROGRESS || reason == EAGAIN)
        reason = ETIMEDOUT; /* a blocking connect() reports these when SO_SNDTIMEO expires */
    return error_set(error, ERROR_SYSTEM, "%s: %s", target->text, strerror(reason));
}

/* Chooses the address that a connection comes from, but not its port: connect() takes one that is
 * in use towards another server, or was used before. */
static int bench_target_bind(const struct bench_target *target, size_t number, int descriptor)
{
    const int on = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};

    if (target->n_sources <= 1)
        return 0;
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(number % target->n_sources));
    (void)setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return bind(descriptor, (const struct sockaddr *)&source, sizeof source);
}

int bench_target_connect(
    const struct bench_target *target, size_t number, int *descriptor, struct error *error)
{
    const struct timeval blocking = {.tv_sec = target->timeout_ms / 1000,
        .tv_usec = (suseconds_t)(target->timeout_ms % 1000) * 1000};
    const int on = 1;
    int made = socket(target->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *descriptor = -1;
    if (made < 0 || setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &blocking, sizeof blocking) != 0 ||
        bench_target_bind(target, number, made) != 0 ||
        connect(made, (const struct sockaddr *)&target->address, target->length) != 0 ||
        fcntl(made, F_SETFL, O_NONBLOCK) != 0)
        return bench_target_failed(target, made, error);
    if (target->address.ss_family != AF_UNIX)
        (void)setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *descriptor = made;
    return 0;
}

int bench_target_start(
    const struct bench_target *target, size_t number, int *descriptor, struct error *error)
{
    int made;

    if (target->address.ss_family == AF_UNIX)
        return bench_target_connect(target, number, descriptor, error);
    made = socket(target->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *descriptor = -1;
    if (made < 0 || bench_target_bind(target, number, made) != 0 ||
        (connect(made, (const struct sockaddr *)&target->address, target->length) != 0 &&
            errno != EINPROGRESS))
        return bench_target_failed(target, made, error);
    *descriptor = made;
    return 0;
}

static int bench_target_try_address(struct bench_target *target, struct error *error)
{
    int descriptor;
    int result = bench_target_connect(target, 0, &descriptor, error);

    if (result == 0)
        (void)close(descriptor);
    return result;
}

static int bench_target_find_unix(
    struct bench_target *target, const struct address *named, struct error *error)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&target->address;

    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, named->path, sizeof address->sun_path);
    target->length = sizeof *address;
    return bench_target_try_address(target, error);
}

static int bench_target_find_tcp(
    struct bench_target *target, const struct address *named, struct error *error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    char port[8];
    int result;

    (void)snprintf(port, sizeof port, "%u", named->port);
    result = getaddrinfo(named->host, port, &hints, &addresses);
    if (result != 0)
        return error_set(error, ERROR_SYSTEM, "%s: %s", target->text, gai_strerror(result));
    result = ERROR_SYSTEM;
    for (const struct addrinfo *each = addresses; each && result != 0; each = each->ai_next) {
        memcpy(&target->address, each->ai_addr, each->ai_addrlen);
        target->length = each->ai_addrlen;
        result = bench_target_try_address(target, error);
    }
    freeaddrinfo(addresses);
    return result;
}

/* Checks whether connections can come from several addresses. */
static int bench_target_check_sources(const struct address *named, struct error *error)
{
    struct in_addr address;

    if (!named->is_unix && inet_pton(AF_INET, named->host, &address) == 1 &&
        (ntohl(address.s_addr) & IN_CLASSA_NET) == (INADDR_LOOPBACK & IN_CLASSA_NET))
        return 0;
    return error_set(error, ERROR_INPUT,
        "--source-addresses needs a server at 127.0.0.1, or another address of 127.0.0.0/8");
}

int bench_target_resolve(struct bench_target *target, const char *address, unsigned timeout_ms,
    unsigned n_sources, struct error *error)
{
    struct address named;

    memset(target, 0, sizeof *target);
    if (address_parse(&named, address, error) != 0)
        return ERROR_INPUT;
    address_format(&named, target->text);
    text_make_printable(target->text);
    target->timeout_ms = timeout_ms;
    target->n_sources = n_sources;
    if (n_sources > 1 && bench_target_check_sources(&named, error) != 0)
        return ERROR_INPUT;
    memcpy(target->host, named.host, sizeof target->host);
    if (named.is_tls && sealed_prepare(&target->tls, error) != 0)
        return ERROR_INPUT;
    return named.is_unix ? bench_target_find_unix(target, &named, error)
                         : bench_target_find_tcp(target, &named, error);
}

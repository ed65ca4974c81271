/* A unix socket's connect() can't be waited for with epoll when the server's queue is
 * full, so it always waits. */
#include "cli/bench_target.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* errno as an error about the target; closes the descriptor, if there is one. */
static int failed(const struct bench_target *target, int descriptor, struct error *error)
{
    int reason = errno;

    if (descriptor >= 0)
        (void)close(descriptor);
    if (reason == EMFILE || reason == ENFILE)
        return error_set(error, ERROR_SYSTEM,
            "no more sockets: %s; take fewer --connections or raise the limit of open files",
            strerror(reason));
    if (reason == EADDRNOTAVAIL)
        return error_set(error, ERROR_SYSTEM,
            "no local port is left to connect to %s: closed connections keep theirs for a "
            "minute; make fewer, or use a unix socket",
            target->text);
    if (reason == EINPROGRESS || reason == EAGAIN)
        reason = ETIMEDOUT; /* what a blocking connect says when SO_SNDTIMEO is over */
    return error_set(error, ERROR_SYSTEM, "%s: %s", target->text, strerror(reason));
}

static int open_socket(const struct bench_target *target, int flags)
{
    return socket(target->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

static int reach(const struct bench_target *target, int descriptor)
{
    return connect(descriptor, (const struct sockaddr *)&target->address, target->length);
}

int bench_target_connect(const struct bench_target *target, int *descriptor, struct error *error)
{
    const struct timeval patience = {.tv_sec = target->timeout_ms / 1000,
        .tv_usec = (suseconds_t)(target->timeout_ms % 1000) * 1000};
    const int on = 1;
    int made = open_socket(target, 0);

    *descriptor = -1;
    if (made < 0 || setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        reach(target, made) != 0 || fcntl(made, F_SETFL, O_NONBLOCK) != 0)
        return failed(target, made, error);
    if (target->address.ss_family != AF_UNIX)
        (void)setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *descriptor = made;
    return 0;
}

int bench_target_start(const struct bench_target *target, int *descriptor, struct error *error)
{
    int made;

    if (target->address.ss_family == AF_UNIX)
        return bench_target_connect(target, descriptor, error);
    made = open_socket(target, SOCK_NONBLOCK);
    *descriptor = -1;
    if (made < 0 || (reach(target, made) != 0 && errno != EINPROGRESS))
        return failed(target, made, error);
    *descriptor = made;
    return 0;
}

static int try_address(struct bench_target *target, struct error *error)
{
    int descriptor;
    int result = bench_target_connect(target, &descriptor, error);

    if (result == 0)
        (void)close(descriptor);
    return result;
}

static int find_unix(struct bench_target *target, const struct address *named, struct error *error)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&target->address;

    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, named->path, sizeof address->sun_path);
    target->length = sizeof *address;
    return try_address(target, error);
}

static int find_tcp(struct bench_target *target, const struct address *named, struct error *error)
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
        result = try_address(target, error);
    }
    freeaddrinfo(addresses);
    return result;
}

int bench_target_find(
    struct bench_target *target, const char *address, unsigned timeout_ms, struct error *error)
{
    struct address named;

    memset(target, 0, sizeof *target);
    if (address_parse(&named, address, error) != 0)
        return ERROR_INPUT;
    address_format(&named, target->text);
    text_make_printable(target->text);
    target->timeout_ms = timeout_ms;
    return named.is_unix ? find_unix(target, &named, error) : find_tcp(target, &named, error);
}

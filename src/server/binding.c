/* SPDX-License-Identifier: MIT */
#include "server/binding.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 4096 /* long, because clients give up when a connection is refused */
#define MAX_FREE_PORT_TRIES 10

/* To notice a client whose machine is gone. */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 1
#define KEEPALIVE_PROBES 10

/* Adds a listener without a socket. Returns NULL if there is no memory. */
static struct listener *binding_add(struct listener_list *listeners)
{
    struct listener *listener = calloc(1, sizeof *listener);

    if (!listener)
        return NULL;
    listener->descriptor = -1;
    TAILQ_INSERT_TAIL(listeners, listener, entry);
    return listener;
}

/* Returns whether the file of the socket's name is still this socket, not a successor's. */
static bool binding_is_in_place(const struct listener *listener)
{
    struct stat status;

    return lstat(listener->path, &status) == 0 && status.st_dev == listener->path_device &&
           status.st_ino == listener->path_inode;
}

void binding_remove_file(const struct listener *listener)
{
    if (listener->path[0] && binding_is_in_place(listener))
        (void)unlink(listener->path);
}

void binding_close(struct listener *listener)
{
    binding_remove_file(listener);
    if (listener->descriptor >= 0)
        (void)close(listener->descriptor);
}

/* Removes the listeners added after last, or all if it is NULL. */
static void binding_close_after(struct listener_list *listeners, const struct listener *last)
{
    struct listener *added;

    while ((added = TAILQ_LAST(listeners, listener_list)) != last) {
        TAILQ_REMOVE(listeners, added, entry);
        binding_close(added);
        free(added);
    }
}

/* Describes the error in errno. */
static int binding_refuse(const char *name, struct error *error)
{
    if (errno == EADDRINUSE)
        return error_set(error, ERROR_SYSTEM,
            "can't listen on %s: the address is in use; is another server running there?", name);
    return error_set(error, ERROR_SYSTEM, "can't listen on %s: %s", name, strerror(errno));
}

/* ---- unix sockets ---- */

/* Returns whether the file of that name is a socket which an ended server left behind. */
static bool binding_is_stale(const struct sockaddr_un *address)
{
    struct stat status;
    int descriptor;
    bool stale;

    if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return false;
    stale = connect(descriptor, (const struct sockaddr *)address, sizeof *address) != 0 &&
            errno == ECONNREFUSED;
    (void)close(descriptor);
    return stale;
}

/* Notes the file, which is removed at the end. */
static void binding_name_path(struct listener *listener, const char *path)
{
    struct stat status;

    if (lstat(path, &status) != 0)
        return;
    (void)snprintf(listener->path, sizeof listener->path, "%s", path);
    listener->path_device = status.st_dev;
    listener->path_inode = status.st_ino;
}

static int binding_open_unix(
    struct listener *listener, const struct address *address, struct error *error)
{
    struct sockaddr_un bound = {.sun_family = AF_UNIX};
    int result;

    if (!listener)
        return error_set_memory(error);
    memcpy(bound.sun_path, address->path, sizeof bound.sun_path);
    listener->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->descriptor < 0)
        return binding_refuse(address->path, error);
    result = bind(listener->descriptor, (struct sockaddr *)&bound, sizeof bound);
    if (result != 0 && errno == EADDRINUSE && binding_is_stale(&bound) &&
        unlink(bound.sun_path) == 0)
        result = bind(listener->descriptor, (struct sockaddr *)&bound, sizeof bound);
    if (result != 0)
        return binding_refuse(address->path, error);
    binding_name_path(listener, bound.sun_path);
    address_format_socket((struct sockaddr *)&bound, listener->name);
    return listen(listener->descriptor, BACKLOG) == 0 ? 0 : binding_refuse(address->path, error);
}

/* ---- TCP ---- */

void binding_set_client_options(int descriptor)
{
    const int on = 1;
    const int idle_s = KEEPALIVE_IDLE_S;
    const int interval_s = KEEPALIVE_INTERVAL_S;
    const int probes = KEEPALIVE_PROBES;

    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    (void)setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

static void binding_set_port(struct sockaddr *address, unsigned port)
{
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
}

/* Binds one address, with *port, and sets *port to the port it got. After a failure
 * *missing_family says whether this machine lacks addresses of this family. */
static int binding_open_tcp(struct listener *listener, const struct addrinfo *address,
    unsigned *port, bool v6_only, bool *missing_family, struct error *error)
{
    struct sockaddr_storage storage;
    struct sockaddr *bound = (struct sockaddr *)&storage;
    socklen_t length = sizeof storage;
    const int on = 1;
    const int v6 = v6_only;
    int descriptor = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    listener->descriptor = descriptor;
    memcpy(&storage, address->ai_addr, address->ai_addrlen);
    binding_set_port(bound, *port);
    *missing_family = descriptor < 0 && errno == EAFNOSUPPORT;
    address_format_socket(bound, listener->name);
    if (descriptor < 0)
        return binding_refuse(listener->name, error);
    (void)setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->ai_family == AF_INET6)
        (void)setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &v6, sizeof v6);
    binding_set_client_options(descriptor);
    if (bind(descriptor, bound, address->ai_addrlen) != 0 || listen(descriptor, BACKLOG) != 0 ||
        getsockname(descriptor, bound, &length) != 0) {
        *missing_family = errno == EADDRNOTAVAIL;
        return binding_refuse(listener->name, error);
    }
    *port = address_port(bound);
    address_format_socket(bound, listener->name);
    return 0;
}

/* Returns whether the same address stands before it in the list: some name services repeat. */
static bool binding_is_repeated(const struct addrinfo *first, const struct addrinfo *address)
{
    for (; first != address; first = first->ai_next) {
        if (first->ai_addrlen == address->ai_addrlen &&
            memcmp(first->ai_addr, address->ai_addr, first->ai_addrlen) == 0)
            return true;
    }
    return false;
}

/* Binds all addresses. Those of a family that this machine lacks are skipped, if others work. */
static int binding_open_each(struct listener_list *listeners, const struct addrinfo *addresses,
    unsigned port, bool v6_only, struct log *log, struct error *error)
{
    struct error skipped = {.text = ""};
    bool any = false;

    for (const struct addrinfo *each = addresses; each; each = each->ai_next) {
        const struct listener *last = TAILQ_LAST(listeners, listener_list);
        struct listener *listener;
        bool missing_family = false;

        if (binding_is_repeated(addresses, each))
            continue;
        listener = binding_add(listeners);
        if (!listener)
            return error_set_memory(error);
        if (binding_open_tcp(listener, each, &port, v6_only || addresses->ai_next, &missing_family,
                error) == 0) {
            any = true;
            continue;
        }
        if (!missing_family)
            return ERROR_SYSTEM;
        skipped = *error;
        binding_close_after(listeners, last);
    }
    if (any && skipped.text[0])
        log_write(log, LOG_WARNING, "Skipped an address: %s", skipped.text);
    return any ? 0 : ERROR_SYSTEM;
}

static int binding_open_name(struct listener_list *listeners, const struct addrinfo *resolved,
    unsigned port, bool v6_only, struct log *log, struct error *error)
{
    const struct listener *last = TAILQ_LAST(listeners, listener_list);
    int tries_left = port == 0 ? MAX_FREE_PORT_TRIES : 1;
    int result;

    do { /* a port that is free on the first address may be in use on the next */
        binding_close_after(listeners, last);
        result = binding_open_each(listeners, resolved, port, v6_only, log, error);
    } while (result != 0 && --tries_left > 0);
    return result;
}

int binding_resolve(const struct address *address, struct addrinfo **resolved, struct error *error)
{
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int result;

    *resolved = NULL;
    if (address->is_unix)
        return 0;
    result = getaddrinfo(address->host, "0", &hints, resolved);
    if (result == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM, "can't listen on %s: %s", address->host,
        result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
}

int binding_open(struct listener_list *listeners, const struct address *address,
    const struct addrinfo *resolved, bool v6_only, struct log *log, struct error *error)
{
    const struct listener *last = TAILQ_LAST(listeners, listener_list);
    int result;

    if (address->is_unix)
        result = binding_open_unix(binding_add(listeners), address, error);
    else
        result = binding_open_name(listeners, resolved, address->port, v6_only, log, error);
    if (result != 0)
        binding_close_after(listeners, last);
    return result;
}

/* ---- inherited sockets ---- */

static bool binding_is_served(int descriptor, const struct sockaddr *address)
{
    int kind = 0;
    socklen_t length = sizeof kind;

    return getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &kind, &length) == 0 &&
           kind == SOCK_STREAM &&
           (address->sa_family == AF_INET || address->sa_family == AF_INET6 ||
               address->sa_family == AF_UNIX);
}

/* Checks the socket. listen(2) is called again, for the length of the backlog. */
static int binding_check_inherited(struct listener *listener, struct error *error)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    struct sockaddr *bound = (struct sockaddr *)&storage;
    socklen_t length = sizeof storage;

    (void)snprintf(
        listener->name, sizeof listener->name, "the inherited descriptor %d", listener->descriptor);
    if (getsockname(listener->descriptor, bound, &length) != 0)
        return binding_refuse(listener->name, error);
    if (!binding_is_served(listener->descriptor, bound))
        return error_set(error, ERROR_SYSTEM,
            "can't listen on %s: it is not a TCP or unix stream socket (ListenStream=)",
            listener->name);
    listener->is_inherited = true;
    listener->has_earlier_clients = bound->sa_family != AF_UNIX;
    if (listener->has_earlier_clients)
        binding_set_client_options(listener->descriptor);
    if (listen(listener->descriptor, BACKLOG) != 0)
        return binding_refuse(listener->name, error);
    address_format_socket(bound, listener->name);
    return 0;
}

int binding_adopt(struct listener_list *listeners, int descriptor, struct error *error)
{
    const struct listener *last = TAILQ_LAST(listeners, listener_list);
    struct listener *listener = binding_add(listeners);
    int result;

    if (!listener) {
        (void)close(descriptor);
        return error_set_memory(error);
    }
    listener->descriptor = descriptor;
    result = binding_check_inherited(listener, error);
    if (result != 0)
        binding_close_after(listeners, last);
    return result;
}

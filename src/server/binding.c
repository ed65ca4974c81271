#include "server/binding.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 4096 /* clients take a refused connection for the end */
#define FREE_PORT_TRIES 10

/* ---- one of them ---- */

/* Without a socket yet. NULL when memory ran out. */
static struct binding *add(struct binding_list *bindings)
{
    struct binding *binding = calloc(1, sizeof *binding);

    if (!binding)
        return NULL;
    binding->descriptor = -1;
    TAILQ_INSERT_TAIL(bindings, binding, link);
    return binding;
}

/* Is what has the socket's name still this one, and not a successor's? */
static bool is_in_place(const struct binding *binding)
{
    struct stat status;

    return lstat(binding->path, &status) == 0 && status.st_dev == binding->path_device &&
           status.st_ino == binding->path_inode;
}

void binding_close(struct binding *binding)
{
    if (binding->path[0] && is_in_place(binding))
        (void)unlink(binding->path);
    if (binding->descriptor >= 0)
        (void)close(binding->descriptor);
    free(binding);
}

/* Those that were added after this one, or all if it is NULL. */
static void close_after(struct binding_list *bindings, const struct binding *last)
{
    struct binding *added;

    while ((added = TAILQ_LAST(bindings, binding_list)) != last) {
        TAILQ_REMOVE(bindings, added, link);
        binding_close(added);
    }
}

/* The system said no, with errno. */
static int refuse(const char *name, struct error *error)
{
    if (errno == EADDRINUSE)
        return error_set(error, ERROR_SYSTEM,
            "can't listen on %s: the address is in use; is another server running there?", name);
    return error_set(error, ERROR_SYSTEM, "can't listen on %s: %s", name, strerror(errno));
}

/* ---- unix sockets ---- */

/* Something is there under the socket's name. Is it what a dead server left? */
static bool is_stale(const struct sockaddr_un *address)
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

/* The file is to be removed at the end. */
static void name_path(struct binding *binding, const char *path)
{
    struct stat status;

    if (lstat(path, &status) != 0)
        return;
    (void)snprintf(binding->path, sizeof binding->path, "%s", path);
    binding->path_device = status.st_dev;
    binding->path_inode = status.st_ino;
}

static int open_unix(struct binding *binding, const struct address *address, struct error *error)
{
    struct sockaddr_un bound = {.sun_family = AF_UNIX};
    int code;

    memcpy(bound.sun_path, address->path, sizeof bound.sun_path);
    binding->descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (binding->descriptor < 0)
        return refuse(address->path, error);
    code = bind(binding->descriptor, (struct sockaddr *)&bound, sizeof bound);
    if (code != 0 && errno == EADDRINUSE && is_stale(&bound) && unlink(bound.sun_path) == 0)
        code = bind(binding->descriptor, (struct sockaddr *)&bound, sizeof bound);
    if (code != 0)
        return refuse(address->path, error);
    name_path(binding, bound.sun_path);
    address_format_socket((struct sockaddr *)&bound, binding->name);
    return listen(binding->descriptor, BACKLOG) == 0 ? 0 : refuse(address->path, error);
}

/* ---- TCP ---- */

static void set_port(struct sockaddr *address, unsigned port)
{
    if (address->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
}

static unsigned get_port(const struct sockaddr *address)
{
    return ntohs(address->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

/* Binds one address, with *port, and sets *port to the one it got. On failure
 * *missing_family says whether this machine has no such addresses at all. */
static int open_tcp(struct binding *binding, const struct addrinfo *address, unsigned *port,
    bool v6_only, bool *missing_family, struct error *error)
{
    struct sockaddr_storage storage;
    struct sockaddr *bound = (struct sockaddr *)&storage;
    socklen_t length = sizeof storage;
    const int on = 1;
    const int v6 = v6_only;
    int descriptor = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    binding->descriptor = descriptor;
    memcpy(&storage, address->ai_addr, address->ai_addrlen);
    set_port(bound, *port);
    *missing_family = descriptor < 0 && errno == EAFNOSUPPORT;
    address_format_socket(bound, binding->name);
    if (descriptor < 0)
        return refuse(binding->name, error);
    (void)setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->ai_family == AF_INET6)
        (void)setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &v6, sizeof v6);
    if (bind(descriptor, bound, address->ai_addrlen) != 0 || listen(descriptor, BACKLOG) != 0 ||
        getsockname(descriptor, bound, &length) != 0) {
        *missing_family = errno == EADDRNOTAVAIL;
        return refuse(binding->name, error);
    }
    *port = get_port(bound);
    address_format_socket(bound, binding->name);
    return 0;
}

/* The same address again, as some name services answer? */
static bool is_repeated(const struct addrinfo *first, const struct addrinfo *address)
{
    for (; first != address; first = first->ai_next) {
        if (first->ai_addrlen == address->ai_addrlen &&
            memcmp(first->ai_addr, address->ai_addr, first->ai_addrlen) == 0)
            return true;
    }
    return false;
}

/* All of them; one whose family this machine lacks is passed over, if another one works. */
static int open_each(struct binding_list *bindings, const struct addrinfo *addresses, unsigned port,
    bool v6_only, struct log *log, struct error *error)
{
    struct error passed_over = {.text = ""};
    bool any = false;

    for (const struct addrinfo *each = addresses; each; each = each->ai_next) {
        const struct binding *last = TAILQ_LAST(bindings, binding_list);
        struct binding *binding;
        bool missing_family = false;

        if (is_repeated(addresses, each))
            continue;
        binding = add(bindings);
        if (!binding)
            return error_set_memory(error);
        if (open_tcp(binding, each, &port, v6_only || addresses->ai_next, &missing_family, error) ==
            0) {
            any = true;
            continue;
        }
        if (!missing_family)
            return ERROR_SYSTEM;
        passed_over = *error;
        close_after(bindings, last);
    }
    if (any && passed_over.text[0])
        log_write(log, LOG_WARNING, "Passed over: %s", passed_over.text);
    return any ? 0 : ERROR_SYSTEM;
}

/* A port that is free on the first address may be taken on the next: then another. */
static int open_free_port(struct binding_list *bindings, const struct addrinfo *addresses,
    bool v6_only, struct log *log, struct error *error)
{
    const struct binding *last = TAILQ_LAST(bindings, binding_list);
    int result = ERROR_SYSTEM;

    for (int tries = 0; tries < FREE_PORT_TRIES && result != 0; tries++) {
        close_after(bindings, last);
        result = open_each(bindings, addresses, 0, v6_only, log, error);
    }
    return result;
}

static int open_name(struct binding_list *bindings, const struct address *address, bool v6_only,
    struct log *log, struct error *error)
{
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    int result = getaddrinfo(address->host, "0", &hints, &addresses);

    if (result != 0)
        return error_set(error, ERROR_SYSTEM, "can't listen on %s: %s", address->host,
            result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
    if (address->port == 0)
        result = open_free_port(bindings, addresses, v6_only, log, error);
    else
        result = open_each(bindings, addresses, address->port, v6_only, log, error);
    freeaddrinfo(addresses);
    return result;
}

int binding_open(struct binding_list *bindings, const struct address *address, bool v6_only,
    struct log *log, struct error *error)
{
    const struct binding *last = TAILQ_LAST(bindings, binding_list);
    int result;

    if (address->is_unix) {
        struct binding *binding = add(bindings);

        result = binding ? open_unix(binding, address, error) : error_set_memory(error);
    } else {
        result = open_name(bindings, address, v6_only, log, error);
    }
    if (result != 0)
        close_after(bindings, last);
    return result;
}

/* ---- taking over ---- */

static bool is_served(int descriptor, const struct sockaddr *address)
{
    int kind = 0;
    socklen_t length = sizeof kind;

    return getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &kind, &length) == 0 &&
           kind == SOCK_STREAM &&
           (address->sa_family == AF_INET || address->sa_family == AF_INET6 ||
               address->sa_family == AF_UNIX);
}

/* listen(2) again makes its backlog as long as that of ours. */
static int check_inherited(struct binding *binding, struct error *error)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    struct sockaddr *bound = (struct sockaddr *)&storage;
    socklen_t length = sizeof storage;

    (void)snprintf(
        binding->name, sizeof binding->name, "the inherited descriptor %d", binding->descriptor);
    if (getsockname(binding->descriptor, bound, &length) != 0)
        return refuse(binding->name, error);
    if (!is_served(binding->descriptor, bound))
        return error_set(error, ERROR_SYSTEM,
            "can't listen on %s: it is no TCP or unix stream socket (ListenStream=)",
            binding->name);
    if (listen(binding->descriptor, BACKLOG) != 0)
        return refuse(binding->name, error);
    address_format_socket(bound, binding->name);
    return 0;
}

int binding_adopt(struct binding_list *bindings, int descriptor, struct error *error)
{
    const struct binding *last = TAILQ_LAST(bindings, binding_list);
    struct binding *binding = add(bindings);
    int result;

    if (!binding) {
        (void)close(descriptor);
        return error_set_memory(error);
    }
    binding->descriptor = descriptor;
    result = check_inherited(binding, error);
    if (result != 0)
        close_after(bindings, last);
    return result;
}

#include "server/listener.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 4096      /* clients take a refused connection for the end */
#define ACCEPT_AT_ONCE 64 /* then others have their turn */
#define PAUSE_MS 100      /* until accepting is tried again when descriptors ran out */
#define FREE_PORT_TRIES 10

struct listener {
    TAILQ_ENTRY(listener) link;
    struct listeners *listeners;
    int descriptor;
    uv_poll_t poll;
    bool read_only;
    char name[ADDRESS_TEXT_BYTES];
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* unix: removed at the end */
    dev_t path_device;
    ino_t path_inode;
};

struct listeners {
    uv_loop_t *loop;
    struct listeners_events events;
    struct log *log;
    TAILQ_HEAD(listener_list, listener) all;
    uv_timer_t pause;
    bool paused;
    bool exhausted;   /* the log was told; until everybody who waited was accepted */
    unsigned handles; /* that are not closed yet */
};

/* ---- accepting ---- */

static void clients_came(uv_poll_t *poll, int status, int events);

static void pause_over(uv_timer_t *timer)
{
    listeners_resume(timer->data);
}

static void pause_accepting(struct listeners *listeners, int reason)
{
    struct listener *listener;

    if (listeners->paused)
        return;
    if (!listeners->exhausted)
        log_often(listeners->log, LOG_WARNING,
            "Can't accept more connections for now: %s; raise the limit of open files (ulimit -n)",
            strerror(reason));
    listeners->paused = listeners->exhausted = true;
    TAILQ_FOREACH (listener, &listeners->all, link)
        (void)uv_poll_stop(&listener->poll);
    (void)uv_timer_start(&listeners->pause, pause_over, PAUSE_MS, 0);
}

void listeners_resume(struct listeners *listeners)
{
    struct listener *listener;

    if (!listeners->paused)
        return;
    listeners->paused = false;
    (void)uv_timer_stop(&listeners->pause);
    TAILQ_FOREACH (listener, &listeners->all, link)
        (void)uv_poll_start(&listener->poll, UV_READABLE, clients_came);
}

static void clients_came(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    struct listeners *listeners = listener->listeners;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        int descriptor = accept4(listener->descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (descriptor >= 0) {
            listeners->events.accepted(listeners->events.context, descriptor, listener->read_only);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(listeners, errno);
        else if (errno == EAGAIN)
            listeners->exhausted = false;
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

void listeners_start(struct listeners *listeners)
{
    struct listener *listener;

    TAILQ_FOREACH (listener, &listeners->all, link) {
        (void)uv_poll_start(&listener->poll, UV_READABLE, clients_came);
        log_write(listeners->log, LOG_INFO, "Listening on %s%s", listener->name,
            listener->read_only ? " (read-only)" : "");
    }
}

/* ---- binding ---- */

static int add(struct listeners *listeners, int descriptor, bool read_only,
    const struct sockaddr *bound, struct error *error)
{
    struct listener *listener = calloc(1, sizeof *listener);

    if (!listener || uv_poll_init(listeners->loop, &listener->poll, descriptor) != 0) {
        free(listener);
        (void)close(descriptor);
        return error_set_memory(error);
    }
    listener->poll.data = listener;
    listener->listeners = listeners;
    listener->descriptor = descriptor;
    listener->read_only = read_only;
    address_format_socket(bound, listener->name);
    listeners->handles++;
    TAILQ_INSERT_TAIL(&listeners->all, listener, link);
    return 0;
}

/* The system said no, with errno. */
static int refuse(int descriptor, const char *name, struct error *error)
{
    int reason = errno;

    if (descriptor >= 0)
        (void)close(descriptor);
    if (reason == EADDRINUSE)
        return error_set(error, ERROR_SYSTEM,
            "can't listen on %s: the address is in use; is another server running there?", name);
    return error_set(error, ERROR_SYSTEM, "can't listen on %s: %s", name, strerror(reason));
}

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
static void name_path(struct listener *listener, const char *path)
{
    struct stat status;

    if (lstat(path, &status) != 0)
        return;
    (void)snprintf(listener->path, sizeof listener->path, "%s", path);
    listener->path_device = status.st_dev;
    listener->path_inode = status.st_ino;
}

static int bind_unix(
    struct listeners *listeners, const struct address *address, bool read_only, struct error *error)
{
    struct sockaddr_un bound = {.sun_family = AF_UNIX};
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int code;

    memcpy(bound.sun_path, address->path, sizeof bound.sun_path);
    if (descriptor < 0)
        return refuse(descriptor, address->path, error);
    code = bind(descriptor, (struct sockaddr *)&bound, sizeof bound);
    if (code != 0 && errno == EADDRINUSE && is_stale(&bound) && unlink(bound.sun_path) == 0)
        code = bind(descriptor, (struct sockaddr *)&bound, sizeof bound);
    if (code != 0)
        return refuse(descriptor, address->path, error);
    if (listen(descriptor, BACKLOG) != 0)
        code = refuse(descriptor, address->path, error);
    else
        code = add(listeners, descriptor, read_only, (struct sockaddr *)&bound, error);
    if (code == 0)
        name_path(TAILQ_LAST(&listeners->all, listener_list), bound.sun_path);
    else
        (void)unlink(bound.sun_path); /* bind(2) has just made it */
    return code;
}

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
static int bind_tcp(struct listeners *listeners, const struct addrinfo *address, unsigned *port,
    bool read_only, bool v6_only, bool *missing_family, struct error *error)
{
    struct sockaddr_storage storage;
    struct sockaddr *bound = (struct sockaddr *)&storage;
    socklen_t length = sizeof storage;
    char name[ADDRESS_TEXT_BYTES];
    const int on = 1;
    const int v6 = v6_only;
    int descriptor = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(&storage, address->ai_addr, address->ai_addrlen);
    set_port(bound, *port);
    address_format_socket(bound, name);
    *missing_family = descriptor < 0 && errno == EAFNOSUPPORT;
    if (descriptor < 0)
        return refuse(descriptor, name, error);
    (void)setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->ai_family == AF_INET6)
        (void)setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &v6, sizeof v6);
    if (bind(descriptor, bound, address->ai_addrlen) != 0 || listen(descriptor, BACKLOG) != 0 ||
        getsockname(descriptor, bound, &length) != 0) {
        *missing_family = errno == EADDRNOTAVAIL;
        return refuse(descriptor, name, error);
    }
    *port = get_port(bound);
    return add(listeners, descriptor, read_only, bound, error);
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

static void remove_listener(struct listener *listener);

/* Binds all of them; one whose family this machine lacks is passed over, if another
 * one works. */
static int bind_each(struct listeners *listeners, const struct addrinfo *addresses, unsigned port,
    bool read_only, bool v6_only, struct error *error)
{
    struct error passed_over = {.text = ""};
    bool any = false;

    for (const struct addrinfo *each = addresses; each; each = each->ai_next) {
        bool missing_family = false;
        int result;

        if (is_repeated(addresses, each))
            continue;
        result = bind_tcp(listeners, each, &port, read_only, v6_only || addresses->ai_next,
            &missing_family, error);
        if (result != 0 && !missing_family)
            return result;
        if (result == 0)
            any = true;
        else
            passed_over = *error;
    }
    if (any && passed_over.text[0])
        log_write(listeners->log, LOG_WARNING, "Passed over: %s", passed_over.text);
    return any ? 0 : ERROR_SYSTEM;
}

/* A port that is free on the first address may be taken on the next: then another. */
static int bind_free_port(struct listeners *listeners, const struct addrinfo *addresses,
    bool read_only, bool v6_only, struct error *error)
{
    struct listener *last = TAILQ_LAST(&listeners->all, listener_list);
    int result = ERROR_SYSTEM;

    for (int tries = 0; tries < FREE_PORT_TRIES && result != 0; tries++) {
        struct listener *added;

        result = bind_each(listeners, addresses, 0, read_only, v6_only, error);
        while (result != 0 && (added = TAILQ_LAST(&listeners->all, listener_list)) != last)
            remove_listener(added);
    }
    return result;
}

int listeners_bind(struct listeners *listeners, const struct address *address, bool read_only,
    bool v6_only, struct error *error)
{
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    int result;

    if (address->is_unix)
        return bind_unix(listeners, address, read_only, error);
    result = getaddrinfo(address->host, "0", &hints, &addresses);
    if (result != 0)
        return error_set(error, ERROR_SYSTEM, "can't listen on %s: %s", address->host,
            result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
    if (address->port == 0)
        result = bind_free_port(listeners, addresses, read_only, v6_only, error);
    else
        result = bind_each(listeners, addresses, address->port, read_only, v6_only, error);
    freeaddrinfo(addresses);
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
int listeners_adopt(
    struct listeners *listeners, int descriptor, bool read_only, struct error *error)
{
    struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
    struct sockaddr *bound = (struct sockaddr *)&storage;
    socklen_t length = sizeof storage;
    char name[40];

    (void)snprintf(name, sizeof name, "the inherited descriptor %d", descriptor);
    if (getsockname(descriptor, bound, &length) != 0)
        return refuse(descriptor, name, error);
    if (!is_served(descriptor, bound)) {
        (void)close(descriptor);
        return error_set(error, ERROR_SYSTEM,
            "can't listen on %s: it is no TCP or unix stream socket (ListenStream=)", name);
    }
    if (listen(descriptor, BACKLOG) != 0)
        return refuse(descriptor, name, error);
    return add(listeners, descriptor, read_only, bound, error);
}

/* ---- start and end ---- */

int listeners_create(struct listeners **result, uv_loop_t *loop,
    const struct listeners_events *events, struct log *log, struct error *error)
{
    struct listeners *listeners = calloc(1, sizeof *listeners);

    *result = NULL;
    if (!listeners)
        return error_set_memory(error);
    listeners->loop = loop;
    listeners->events = *events;
    listeners->log = log;
    TAILQ_INIT(&listeners->all);
    (void)uv_timer_init(loop, &listeners->pause);
    listeners->pause.data = listeners;
    listeners->handles = 1;
    *result = listeners;
    return 0;
}

static void handle_closed(struct listeners *listeners)
{
    if (--listeners->handles == 0)
        free(listeners);
}

static void timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void poll_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    handle_closed(listener->listeners);
    free(listener);
}

/* Is what has the socket's name still this one, and not a successor's? */
static bool is_in_place(const struct listener *listener)
{
    struct stat status;

    return lstat(listener->path, &status) == 0 && status.st_dev == listener->path_device &&
           status.st_ino == listener->path_inode;
}

static void remove_listener(struct listener *listener)
{
    TAILQ_REMOVE(&listener->listeners->all, listener, link);
    if (listener->path[0] && is_in_place(listener))
        (void)unlink(listener->path);
    uv_close((uv_handle_t *)&listener->poll, poll_closed);
    (void)close(listener->descriptor);
}

void listeners_close(struct listeners *listeners)
{
    struct listener *listener;

    if (!listeners)
        return;
    while ((listener = TAILQ_FIRST(&listeners->all)))
        remove_listener(listener);
    uv_close((uv_handle_t *)&listeners->pause, timer_closed);
}

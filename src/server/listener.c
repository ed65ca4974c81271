/* SPDX-License-Identifier: MIT */
#include "server/listener.h"

#include "server/access.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define ACCEPT_PER_TURN 64 /* of one listener, before the loop goes on */
#define PAUSE_MS 100       /* until accepting is tried again when descriptors ran out */
#define NO_DESCRIPTOR "the clients use all descriptors; raise the limit of open files (ulimit -n)"

/* ---- accepting ---- */

static void listeners_on_clients(uv_poll_t *poll, int status, int events);

static void listeners_on_pause_over(uv_timer_t *timer)
{
    listeners_resume(timer->data);
}

static void listeners_pause_accepting(struct listeners *listeners, const char *reason)
{
    struct listener *listener;

    if (listeners->is_paused)
        return;
    if (!listeners->is_exhausted)
        log_often(listeners->log, LOG_WARNING, "Can't accept more connections for now: %s", reason);
    listeners->is_paused = listeners->is_exhausted = true;
    TAILQ_FOREACH (listener, &listeners->all, entry)
        (void)uv_poll_stop(&listener->poll);
    (void)uv_timer_start(&listeners->pause_timer, listeners_on_pause_over, PAUSE_MS, 0);
}

void listeners_resume(struct listeners *listeners)
{
    struct listener *listener;

    if (!listeners->is_paused)
        return;
    listeners->is_paused = false;
    (void)uv_timer_stop(&listeners->pause_timer);
    TAILQ_FOREACH (listener, &listeners->all, entry)
        (void)uv_poll_start(&listener->poll, UV_READABLE, listeners_on_clients);
}

static bool listeners_lacks_descriptors(const struct listeners *listeners)
{
    const struct listeners_events *events = &listeners->events;

    return descriptor_reserve_is_reached(&listeners->reserve, events->count(events->context));
}

static bool listeners_is_full(const struct listeners *listeners)
{
    const struct listeners_events *events = &listeners->events;

    return listeners_lacks_descriptors(listeners) || events->is_full(events->context);
}

static bool listeners_has_clients(const struct listener *listener)
{
    struct pollfd clients = {.fd = listener->descriptor, .events = POLLIN};

    return poll(&clients, 1, 0) == 1;
}

/* Closes another connection, for a client that waits. Returns false, and pauses if need be, if no
 * client may be accepted now. */
static bool listeners_make_room(const struct listener *listener)
{
    struct listeners *listeners = listener->listeners;
    const struct listeners_events *events = &listeners->events;

    if (!listeners_has_clients(listener)) {
        listeners->is_exhausted = false;
        return false;
    }
    if (events->make_room(events->context) && !listeners_is_full(listeners))
        return true;
    listeners_pause_accepting(listeners, listeners_lacks_descriptors(listeners)
                                             ? NO_DESCRIPTOR
                                             : "there are as many as --max-connections allows");
    return false;
}

/* Accepts a client. Returns false if there is none, or none can be accepted now. */
static bool listeners_accept(struct listener *listener)
{
    struct listeners *listeners = listener->listeners;
    const struct listeners_events *events = &listeners->events;
    int descriptor = accept4(listener->descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (descriptor >= 0) {
        if (listener->has_earlier_clients)
            binding_set_client_options(descriptor);
        events->accepted(events->context, descriptor, &listener->options);
        return true;
    }
    if (errno == EMFILE || errno == ENFILE)
        listeners_pause_accepting(listeners, NO_DESCRIPTOR);
    else if (errno == ENOBUFS || errno == ENOMEM)
        listeners_pause_accepting(listeners, strerror(errno));
    else if (errno == EAGAIN)
        listener->has_earlier_clients = listeners->is_exhausted = false;
    return errno == EINTR || errno == ECONNABORTED;
}

/* Accepts the clients that wait. Whoever else has an inherited socket can make it block, so it is
 * asked for clients first. */
static void listeners_on_clients(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        if (listener->is_inherited && !listeners_has_clients(listener)) {
            listener->has_earlier_clients = listener->listeners->is_exhausted = false;
            return;
        }
        if (listeners_is_full(listener->listeners) && !listeners_make_room(listener))
            return;
        if (!listeners_accept(listener))
            return;
    }
}

static void listeners_log_address(const struct listener *listener)
{
    char words[LISTENER_WORDS_BYTES];

    listener_options_describe(&listener->options, words);
    log_write(listener->listeners->log, LOG_INFO, "Listening on %s%s%s%s", listener->name,
        words[0] ? " (" : "", words, words[0] ? ")" : "");
}

void listeners_start(struct listeners *listeners)
{
    struct listener *listener;

    descriptor_reserve_init(&listeners->reserve);
    TAILQ_FOREACH (listener, &listeners->all, entry) {
        (void)uv_poll_start(&listener->poll, UV_READABLE, listeners_on_clients);
        listeners_log_address(listener);
    }
}

/* ---- adding ---- */

static bool listeners_is_unix(const struct listener *listener)
{
    return strncmp(listener->name, "unix:", strlen("unix:")) == 0;
}

/* Makes listeners of the sockets that were bound last. */
static int listeners_add_bound(
    struct listeners *listeners, const struct listener_options *options, struct error *error)
{
    struct listener *listener;

    TAILQ_FOREACH (listener, &listeners->all, entry) {
        if (listener->listeners)
            continue;
        if (uv_poll_init(listeners->loop, &listener->poll, listener->descriptor) != 0)
            return error_set_memory(error);
        listener->listeners = listeners;
        listener->poll.data = listener;
        listener->options = *options;
        if (options->tls && listeners_is_unix(listener))
            return error_set(error, ERROR_INPUT,
                "%s: ',tls' is for TCP; a unix socket does not leave this machine", listener->name);
        /* Who may connect is decided here, not by the file. */
        if (listeners_is_unix(listener) && listener->path[0] != '\0' && options->access &&
            !access_list_is_empty(&options->access->allowed))
            (void)chmod(listener->path, 0666);
        if (access_check(options->access, listeners_is_unix(listener), listener->name, error) != 0)
            return ERROR_INPUT;
    }
    return 0;
}

int listeners_bind(struct listeners *listeners, const struct address *address,
    const struct listener_options *options, bool v6_only, struct error *error)
{
    struct addrinfo *resolved;
    int result = binding_resolve(address, &resolved, error);

    if (result != 0)
        return result;
    (void)pthread_mutex_lock(&listeners->files);
    result = binding_open(&listeners->all, address, resolved, v6_only, listeners->log, error);
    if (result == 0)
        result = listeners_add_bound(listeners, options, error);
    (void)pthread_mutex_unlock(&listeners->files);
    if (resolved)
        freeaddrinfo(resolved);
    return result;
}

int listeners_adopt(struct listeners *listeners, int descriptor,
    const struct listener_options *options, struct error *error)
{
    int result;

    (void)pthread_mutex_lock(&listeners->files);
    result = binding_adopt(&listeners->all, descriptor, error);
    if (result == 0)
        result = listeners_add_bound(listeners, options, error);
    (void)pthread_mutex_unlock(&listeners->files);
    return result;
}

/* ---- start and end ---- */

void listeners_init(struct listeners *listeners, uv_loop_t *loop, struct log *log,
    const struct listeners_events *events)
{
    *listeners = (struct listeners){.loop = loop, .log = log, .events = *events};
    TAILQ_INIT(&listeners->all);
    (void)pthread_mutex_init(&listeners->files, NULL);
    (void)uv_timer_init(loop, &listeners->pause_timer);
    listeners->pause_timer.data = listeners;
}

void listeners_remove_files(struct listeners *listeners)
{
    const struct listener *listener;

    (void)pthread_mutex_lock(&listeners->files); /* and kept: no file is created any more */
    TAILQ_FOREACH (listener, &listeners->all, entry)
        binding_remove_file(listener);
}

static void listeners_on_poll_closed(uv_handle_t *poll)
{
    free(poll->data);
}

void listeners_close(struct listeners *listeners)
{
    struct listener *listener;

    while ((listener = TAILQ_FIRST(&listeners->all))) {
        TAILQ_REMOVE(&listeners->all, listener, entry);
        if (listener->listeners)
            uv_close((uv_handle_t *)&listener->poll, listeners_on_poll_closed);
        binding_close(listener);
        if (!listener->listeners)
            free(listener);
    }
    if (!uv_is_closing((uv_handle_t *)&listeners->pause_timer))
        uv_close((uv_handle_t *)&listeners->pause_timer, NULL);
}

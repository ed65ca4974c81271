#include "server/listener.h"

#include "server/binding.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define ACCEPT_AT_ONCE 64 /* then others have their turn */
#define PAUSE_MS 100      /* until accepting is tried again when descriptors ran out */

struct listener {
    TAILQ_ENTRY(listener) link;
    struct listeners *listeners;
    struct binding *binding; /* owned */
    uv_poll_t poll;
    bool read_only;
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
        int descriptor =
            accept4(listener->binding->descriptor, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

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
        log_write(listeners->log, LOG_INFO, "Listening on %s%s", listener->binding->name,
            listener->read_only ? " (read-only)" : "");
    }
}

/* ---- what is listened on ---- */

static int add(
    struct listeners *listeners, struct binding *binding, bool read_only, struct error *error)
{
    struct listener *listener = calloc(1, sizeof *listener);

    if (!listener || uv_poll_init(listeners->loop, &listener->poll, binding->descriptor) != 0) {
        free(listener);
        binding_close(binding);
        return error_set_memory(error);
    }
    listener->poll.data = listener;
    listener->listeners = listeners;
    listener->binding = binding;
    listener->read_only = read_only;
    listeners->handles++;
    TAILQ_INSERT_TAIL(&listeners->all, listener, link);
    return 0;
}

static int add_all(
    struct listeners *listeners, struct binding_list *bindings, bool read_only, struct error *error)
{
    struct binding *binding;
    int result = 0;

    while ((binding = TAILQ_FIRST(bindings))) {
        TAILQ_REMOVE(bindings, binding, link);
        if (result == 0)
            result = add(listeners, binding, read_only, error);
        else
            binding_close(binding);
    }
    return result;
}

int listeners_bind(struct listeners *listeners, const struct address *address, bool read_only,
    bool v6_only, struct error *error)
{
    struct binding_list bindings = TAILQ_HEAD_INITIALIZER(bindings);
    int result = binding_open(&bindings, address, v6_only, listeners->log, error);

    return result == 0 ? add_all(listeners, &bindings, read_only, error) : result;
}

int listeners_adopt(
    struct listeners *listeners, int descriptor, bool read_only, struct error *error)
{
    struct binding_list bindings = TAILQ_HEAD_INITIALIZER(bindings);
    int result = binding_adopt(&bindings, descriptor, error);

    return result == 0 ? add_all(listeners, &bindings, read_only, error) : result;
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

static void remove_listener(struct listener *listener)
{
    TAILQ_REMOVE(&listener->listeners->all, listener, link);
    uv_close((uv_handle_t *)&listener->poll, poll_closed);
    binding_close(listener->binding);
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

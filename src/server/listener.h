/* SPDX-License-Identifier: MIT */
/* The listeners of a server: accepts the clients that connect to them. On the loop's thread.
 *
 * accept(2) is called here and not by libuv, which accepts and closes connections when
 * descriptors run out. Here another connection makes room for the client, or the client waits in
 * the backlog until one does. */
#ifndef PRSERVD_LISTENER_H
#define PRSERVD_LISTENER_H

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "server/binding.h"
#include "server/descriptor_reserve.h"
#include "server/listener_options.h"

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

struct listeners_events {
    /* A client has connected. Takes the descriptor over. */
    void (*accepted)(void *context, int descriptor, const struct listener_options *options);
    /* Closes a connection, because a client waits and only the reserve of descriptors is left, or
     * is_full. Returns false if none can be closed now. */
    bool (*make_room)(void *context);
    /* Returns whether there are as many connections as there may be. */
    bool (*is_full)(void *context);
    size_t (*count)(void *context); /* returns the number of connections */
    void *context;
};

struct listeners {
    uv_loop_t *loop;
    struct log *log;
    struct listeners_events events;
    struct descriptor_reserve reserve;
    struct listener_list all; /* added to while files is held */
    pthread_mutex_t files;
    uv_timer_t pause_timer;
    bool is_paused;
    bool is_exhausted; /* whether that was logged; until all waiting clients are accepted */
};

/* Starts an empty set of listeners. */
void listeners_init(struct listeners *listeners, uv_loop_t *loop, struct log *log,
    const struct listeners_events *events);

/* Adds a listener for each address of the name; see binding_open, also for its errors. Listeners
 * added before are kept when it fails. */
ERROR_MUST_CHECK int listeners_bind(struct listeners *listeners, const struct address *address,
    const struct listener_options *options, bool v6_only, struct error *error);

/* Adds a listener for a socket that another process has bound and keeps open: after
 * listeners_close it lives on, with the clients in its backlog and a unix socket's file. Takes
 * the descriptor over, also when it fails; see binding_adopt. */
ERROR_MUST_CHECK int listeners_adopt(struct listeners *listeners, int descriptor,
    const struct listener_options *options, struct error *error);

/* Begins to accept clients, and logs the addresses. */
void listeners_start(struct listeners *listeners);

/* Accepts again after a pause, because a descriptor became free. */
void listeners_resume(struct listeners *listeners);

/* Removes the files of unix sockets, because the process is about to end: a thread that adds a
 * listener meanwhile waits for that. From any thread, while nobody closes listeners. */
void listeners_remove_files(struct listeners *listeners);

/* Closes the sockets; the loop has to run on until that is done. May be called again. */
void listeners_close(struct listeners *listeners);

#endif

/* A whole server: loop, listeners, connections, upstream, executor. */
#ifndef PRSERVD_SERVER_H
#define PRSERVD_SERVER_H

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

struct server_listener {
    struct address address;
    bool read_only;
};

/* A socket that another process bound, and holds: it outlives the server. */
struct server_inherited {
    int descriptor;
    bool read_only;
};

enum server_phase {
    SERVER_SERVING,   /* after the start, and after a reload */
    SERVER_RELOADING, /* SIGHUP */
    SERVER_STOPPING,  /* SIGTERM, SIGINT */
};

struct server_options {
    const char *file;      /* see store.h; borrowed */
    const char *file_read; /* where look-ups and exports go instead; NULL: nowhere else */
    bool read_only;
    enum store_sync sync;
    size_t max_message_bytes;
    size_t max_memory_bytes; /* for requests and answers, of all clients together */
    const struct server_listener *listeners;
    size_t n_listeners;
    const struct server_inherited *inherited; /* the descriptors become the server's */
    size_t n_inherited;
    void (*tell)(enum server_phase phase); /* on the loop's thread */
    const struct address *upstream;        /* NULL: none */
    struct log *log;
};

struct server;

/* Binds the addresses and opens the database: when this returns 0, clients can connect
 * and will be served. The options are borrowed as long as the server lives. */
ERROR_MUST_CHECK int server_create(
    struct server **server, const struct server_options *options, struct error *error);

/* Logs the addresses; from now on signals are heeded. */
void server_start(struct server *server);

/* Serves until SIGTERM or SIGINT; SIGHUP reopens the log. */
void server_run(struct server *server);

/* NULL is allowed. Returns false if the system is still busy with something that can't
 * be called off (a name that does not resolve): then the process has to end with
 * _exit, which does not wait for it. */
bool server_free(struct server *server);

#endif

/* SPDX-License-Identifier: MIT */
/* A whole server: the loop, listeners, connections, upstream and executor. */
#ifndef PRSERVD_SERVER_H
#define PRSERVD_SERVER_H

#include "base/address.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "server/listener_options.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

struct server_listener {
    struct address address;
    struct listener_options options;
};

/* A socket bound by another process, which keeps it open: it outlives the server. */
struct server_inherited {
    int descriptor;
    char odd_name[32]; /* a name that is no word of listener_words.h: for the log; "": none */
    struct listener_options options;
};

struct server_options {
    const char *file;      /* the database (store.h); borrowed */
    const char *file_read; /* another one for look-ups and exports; NULL: the same */
    bool read_only;
    bool history; /* every listener has ',history' */
    enum store_sync sync;
    bool stale_ok;               /* servers below are answered from a standby */
    unsigned patience_ms;        /* how long requests wait for what is away (base/outage.h) */
    bool new_database;           /* these three as in struct store_options */
    const char *accept_rollback; /* borrowed */
    const char *state_dir;       /* borrowed */
    bool audit;                  /* writes the audit log, unless read_only */
    unsigned audit_keep_days;
    size_t max_message_bytes;
    size_t max_memory_bytes; /* for requests and answers of all clients together */
    /* 0: no limit, each. */
    unsigned max_connections;
    unsigned max_requests_per_second_per_address;
    unsigned idle_timeout_s;
    /* Names of PEM files (tls/tls.h); NULL: not given. All borrowed. */
    const char *tls_certificate; /* for listeners with TLS, and for an upstream that asks for one */
    const char *tls_key;
    const char *tls_client_ca; /* of the clients; NULL: they need no certificate */
    const char *tls_ca;        /* of the upstream; NULL: the system's */
    const struct server_listener *listeners;
    size_t n_listeners;
    const struct server_inherited *inherited; /* the descriptors become the server's */
    size_t n_inherited;
    /* Called within server_open if it has to wait for the database; NULL: not wanted. */
    void (*tell_waiting)(void *context, const char *text);
    void *tell_context;
    /* Called on the loop's thread about once a second while the loop turns, with a line for people
     * about the server. NULL: not wanted. */
    void (*on_tick)(const char *summary);
    void (*on_loss)(void);          /* on any thread; as in struct store_options */
    const struct address *upstream; /* NULL: none */
    /* The central server of a relay, which has no database: what is said about one above is not
     * used. NULL: this server is none. */
    const struct address *forward;
    const char *annotations;    /* header lines for the central server; borrowed */
    const struct address *http; /* addresses of the HTTP interface; borrowed */
    size_t n_http;
    const char *commit; /* of this program; borrowed */
    struct log *log;
};

struct server;

/* Prepares the process. To be called before it has a second thread. */
void server_prepare_process(void);

/* Creates a server. The options are borrowed as long as the server lives. */
ERROR_MUST_CHECK int server_create(
    struct server **server, const struct server_options *options, struct error *error);

/* Binds the addresses, then opens the database, which may take long: when this returns 0, clients
 * can connect and will be served. If an address can't be bound, the database has not been touched.
 * After an error only server_free may be called. */
ERROR_MUST_CHECK int server_open(struct server *server, struct error *error);

/* Removes the files of the unix sockets that the server has bound, because the process is about to
 * end; it binds no more. From any thread, from server_create to server_start. */
void server_remove_sockets(struct server *server);

/* Appends the addresses that the server listens on, a line each. From server_open on. */
void server_write_addresses(const struct server *server, struct buffer *out);

/* Begins to accept connections, and logs the addresses. */
void server_start(struct server *server);

/* Serves until server_stop is called and no connection is left: SERVER_STOP_MS later at most,
 * unless a disk that does not respond holds up the loop. */
void server_run(struct server *server);

/* Reads certificates and keys again, for the connections that begin later. From any thread, between
 * server_open and server_free. */
void server_reload(struct server *server);

/* Asks the server to stop. From any thread, also before server_run. */
void server_stop(struct server *server);

#define SERVER_STOP_MS 3000

/* Frees the server. Returns false if the system is still busy with something that can't be
 * cancelled (a name that does not resolve): then the process has to end with _exit, which
 * does not wait for it. NULL is allowed. */
bool server_free(struct server *server);

#endif

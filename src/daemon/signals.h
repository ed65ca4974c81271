/* SPDX-License-Identifier: MIT */
/* SIGTERM, SIGINT and SIGHUP, from the start of a server to its end.
 *
 *     STARTING ──signals_serve──→ SERVING ──SIGTERM──→ STOPPING
 *        │                                                │
 *        └──SIGTERM──→ the process ends ←── too late ─────┘
 *
 * A thread of its own handles them. The main thread may wait for a lock or for a database, in
 * SQLite or libpq, or for a disk that does not respond: a signal would interrupt none of these. */
#ifndef PRSERVD_SIGNALS_H
#define PRSERVD_SIGNALS_H

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/address_file.h"
#include "daemon/parent.h"
#include "daemon/pidfile.h"
#include "server/server.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum signals_phase { SIGNALS_STARTING, SIGNALS_SERVING, SIGNALS_STOPPING };

/* All pointers are borrowed until signals_end. */
struct signals_options {
    struct log *log;
    int report;   /* descriptor for daemonize_report; -1: none */
    pid_t parent; /* the server ends with this process; 0: with none */
    const struct server_inherited *inherited;
    size_t n_inherited;
};

struct signals {
    struct signals_options options; /* guarded by mutex, as what follows up to arrived */
    pthread_mutex_t mutex;
    enum signals_phase phase;
    struct pidfile pidfile;
    struct address_file address_file;
    struct parent parent;
    struct server *server; /* NULL: none */
    uint64_t stop_by_ms;   /* while STOPPING */
    int arrived;           /* signalfd */
    int over;              /* eventfd: the thread has to end */
    pthread_t thread;
};

/* Blocks the signals in the calling thread, whose threads inherit that, and starts to handle them.
 *
 * SIGHUP reopens the log. SIGTERM and SIGINT end the process with status 0: at once while STARTING;
 * otherwise they stop the server, and the thread ends the process if that takes more than 4 s: then
 * it shuts all sockets, removes the pid file and logs which syncs are not finished. If even the log
 * can't be written, the process ends after 5 s. The end of the parent is the same as SIGTERM. Fails
 * with ERROR_SYSTEM. */
ERROR_MUST_CHECK int signals_begin(
    struct signals *signals, const struct signals_options *options, struct error *error);

/* Creates the pid file, or removes it; see pidfile_create. */
ERROR_MUST_CHECK int signals_create_pidfile(
    struct signals *signals, const char *path, struct error *error);
void signals_remove_pidfile(struct signals *signals);

/* Writes the file of --address-file, or removes it; see address_file_write. */
ERROR_MUST_CHECK int signals_write_address_file(
    struct signals *signals, const char *path, struct text text, struct error *error);
void signals_remove_address_file(struct signals *signals);

/* Names the server that is to be stopped. NULL: none any more. */
void signals_set_server(struct signals *signals, struct server *server);

/* The start is over. */
void signals_serve(struct signals *signals);

/* Calls daemonize_report, unless that has happened. Returns whether there was anybody to report to.
 */
bool signals_report(struct signals *signals, const char *failure);

/* Ends the thread. Signals that arrive later stay pending. */
void signals_end(struct signals *signals);

#endif

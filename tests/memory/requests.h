/* SPDX-License-Identifier: MIT */
/* A server in this process, and requests of each kind, for programs whose allocations fail. A wrong
 * answer ends the process. */
#ifndef PRSERVD_MEMORY_REQUESTS_H
#define PRSERVD_MEMORY_REQUESTS_H

#include "client/prserv.h"
#include "server/server.h"

#include <pthread.h>
#include <stdbool.h>

/* ---- a server ---- */

struct serving {
    struct server *server;
    pthread_t thread;
};

/* Returns options for a test; the arguments are borrowed. file: NULL for a relay. */
struct server_options serving_options(const char *file, const struct server_inherited *inherited);

/* Starts a server on a thread of its own; stops it. */
void serving_start(struct serving *serving, const struct server_options *options);
void serving_stop(struct serving *serving);

/* Removes a database, with its mark and its audit log. */
void remove_database(const char *file);

/* ---- requests ---- */

#define BATCH 3

struct asked {
    char version[40];
    char checksums[BATCH][80];
    char values[BATCH][32]; /* answered values */
};

/* Asks requests of each kind for the package of this run. Returns whether all were answered. */
bool ask_all(struct prserv *server, unsigned long run, struct asked *asked);

/* Returns whether a call has failed, and checks its error. */
bool is_error(int result, const struct prserv_error *error);

/* Checks, while nothing fails, that each answered row is stored and no value was given twice. */
void check_database(const char *file, const struct asked *asked);

#endif
